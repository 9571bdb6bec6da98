"""What moves credits and cargo: each deed wholly, or refused with nothing changed."""

import math
from typing import Any

from workers.fleet.route import FUEL_A_UNIT
from workers.fleet.universe.agent import Agent
from workers.fleet.universe.clock import stamp
from workers.fleet.universe.contract import Contract
from workers.fleet.universe.error import Code, Refusal
from workers.fleet.universe.galaxy import Galaxy
from workers.fleet.universe.good import FUEL
from workers.fleet.universe.ship import Ship


def purchase(galaxy: Galaxy, agent: Agent, ship: Ship, good: str, units: int) -> dict[str, Any]:
    ship.moored()
    market = galaxy.market(ship.waypoint.symbol)
    price, _ = market.quote(good, units, Code.NOT_SOLD)
    ship.room(units)
    agent.afford(price * units)
    agent.credits -= price * units
    ship.shift(good, units)
    transaction = entry(ship, "PURCHASE", good, units, price)
    market.traded(transaction, units)
    return transaction


def sell(galaxy: Galaxy, agent: Agent, ship: Ship, good: str, units: int) -> dict[str, Any]:
    ship.moored()
    market = galaxy.market(ship.waypoint.symbol)
    _, price = market.quote(good, units, Code.NOT_BOUGHT)
    ship.holds(good, units)
    agent.credits += price * units
    ship.shift(good, -units)
    transaction = entry(ship, "SELL", good, units, price)
    market.traded(transaction, -units)
    return transaction


def refuel(galaxy: Galaxy, agent: Agent, ship: Ship, units: int | None) -> dict[str, Any]:
    """Fills the tank, or adds so many of its units; the market counts by the hundred, and begins a new one."""
    ship.moored()
    market = galaxy.markets.get(ship.waypoint.symbol)
    if market is None:
        raise Refusal(
            Code.NO_FUEL_SOLD, f"No fuel is sold at {ship.waypoint.symbol}.", waypointSymbol=ship.waypoint.symbol
        )
    room = ship.model.tank - ship.fuel
    added = room if units is None else min(units, room)
    bought = math.ceil(added / FUEL_A_UNIT)
    price, _ = market.quote(FUEL.symbol, bought, Code.NOT_SOLD)
    agent.afford(price * bought)
    agent.credits -= price * bought
    ship.fuel += added
    transaction = entry(ship, "PURCHASE", FUEL.symbol, bought, price)
    market.traded(transaction, bought)
    return transaction


def jettison(ship: Ship, good: str, units: int) -> None:
    ship.arrived()
    ship.holds(good, units)
    ship.shift(good, -units)


def deliver(contract: Contract, ship: Ship, good: str, units: int) -> None:
    ship.moored()
    contract.deliverable(good, ship.waypoint.symbol, units)
    ship.holds(good, units)
    ship.shift(good, -units)
    contract.delivered += units


def entry(ship: Ship, kind: str, good: str, units: int, price: int) -> dict[str, Any]:
    return {
        "waypointSymbol": ship.waypoint.symbol,
        "shipSymbol": ship.symbol,
        "tradeSymbol": good,
        "type": kind,
        "units": units,
        "pricePerUnit": price,
        "totalPrice": price * units,
        "timestamp": stamp(ship.clock.now()),
    }

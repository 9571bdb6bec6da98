"""The API's paths: what each asks of the universe, and in what shape it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workers.fleet.universe import trade
from workers.fleet.universe.agent import Agent
from workers.fleet.universe.clock import stamp
from workers.fleet.universe.contract import Contract
from workers.fleet.universe.error import Code, Refusal
from workers.fleet.universe.ship import Ship
from workers.fleet.universe.world import Universe

PAGE, LARGEST = 10, 20
Answer = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A request that has been understood. Who has no token is nobody, and gets no further than what is open."""

    universe: Universe
    caller: Agent | None
    path: tuple[str, ...]
    body: Mapping[str, Any]
    query: Mapping[str, str]

    @property
    def agent(self) -> Agent:
        if self.caller is None:
            raise Refusal(Code.TOKEN_MISSING, "A token is needed.")
        return self.caller

    @property
    def ship(self) -> Ship:
        return self.agent.ship(self.path[0])

    @property
    def contract(self) -> Contract:
        return self.agent.contract(self.path[0])

    def text(self, name: str) -> str:
        value = self.body.get(name)
        if not isinstance(value, str) or not value:
            raise Refusal(Code.INVALID, f"{name} must be a text.", **{name: value})
        return value

    def units(self) -> int:
        value = self.body.get("units")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Refusal(Code.INVALID, "units must be a whole number above 0.", units=value)
        return value

    def page(self, rows: list[Answer]) -> Answer:
        number, limit = self._number("page", 1), self._number("limit", PAGE)
        if number < 1 or not 1 <= limit <= LARGEST:
            raise Refusal(Code.INVALID, f"page is at least 1, limit is 1 to {LARGEST}.", page=number, limit=limit)
        first = (number - 1) * limit
        return {"data": rows[first : first + limit], "meta": {"total": len(rows), "page": number, "limit": limit}}

    def _number(self, name: str, default: int) -> int:
        value = self.query.get(name, str(default))
        if not value.isdecimal():
            raise Refusal(Code.INVALID, f"{name} must be a number.", **{name: value})
        return int(value)


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    answer: Callable[[Call], Answer]
    status: int = 200
    open: bool = False  # to those without a token


def status(call: Call) -> Answer:
    """With the time in the reset date: a universe of our own may begin anew many times a day."""
    universe = call.universe
    counts = {"agents": len(universe.agents), "waypoints": len(universe.galaxy.waypoints), "systems": 1}
    ships = sum(len(agent.ships) for agent in universe.agents.values())
    return {
        "status": "A universe of our own is up.",
        "version": "v2.3.0",
        "resetDate": stamp(universe.clock.start),
        "description": "Not the SpaceTraders API: its paths and mechanics on one machine.",
        "stats": {**counts, "ships": ships},
        "announcements": [],
        "serverResets": {"next": "", "frequency": "at each start"},
    }


def register(call: Call) -> Answer:
    agent = call.universe.register(call.text("symbol"))
    (contract,) = agent.contracts.values()
    ships = [ship.as_json() for ship in agent.ships.values()]
    known = {"token": agent.token, "agent": agent.as_json(), "contract": contract.as_json(), "ships": ships}
    return {"data": {**known, "faction": {"symbol": "COSMIC", "name": "Cosmic Engineers"}}}


def my_agent(call: Call) -> Answer:
    return {"data": call.agent.as_json()}


def my_ships(call: Call) -> Answer:
    return call.page([ship.as_json() for ship in call.agent.ships.values()])


def my_ship(call: Call) -> Answer:
    return {"data": call.ship.as_json()}


def orbit(call: Call) -> Answer:
    call.ship.orbit()
    return {"data": {"nav": call.ship.nav_json()}}


def dock(call: Call) -> Answer:
    call.ship.dock()
    return {"data": {"nav": call.ship.nav_json()}}


def navigate(call: Call) -> Answer:
    goal = call.universe.galaxy.waypoint(call.text("waypointSymbol"), Code.OUTSIDE_SYSTEM)
    call.ship.navigate(goal)
    return {"data": flight(call.ship)}


def set_mode(call: Call) -> Answer:
    call.ship.set_mode(call.text("flightMode"))
    return {"data": flight(call.ship)}


def flight(ship: Ship) -> Answer:
    return {"nav": ship.nav_json(), "fuel": ship.fuel_json(), "events": []}


def refuel(call: Call) -> Answer:
    units = call.units() if "units" in call.body else None
    transaction = trade.refuel(call.universe.galaxy, call.agent, call.ship, units)
    return {"data": {"agent": call.agent.as_json(), "fuel": call.ship.fuel_json(), "transaction": transaction}}


def purchase(call: Call) -> Answer:
    return traded(call, trade.purchase(call.universe.galaxy, call.agent, call.ship, call.text("symbol"), call.units()))


def sell(call: Call) -> Answer:
    return traded(call, trade.sell(call.universe.galaxy, call.agent, call.ship, call.text("symbol"), call.units()))


def traded(call: Call, transaction: Answer) -> Answer:
    return {"data": {"agent": call.agent.as_json(), "cargo": call.ship.cargo_json(), "transaction": transaction}}


def jettison(call: Call) -> Answer:
    trade.jettison(call.ship, call.text("symbol"), call.units())
    return {"data": {"cargo": call.ship.cargo_json()}}


def negotiate(call: Call) -> Answer:
    """Only where the faction is: at its headquarters."""
    call.ship.moored()
    here = call.ship.waypoint
    if here != call.universe.galaxy.headquarters:
        raise Refusal(Code.NO_FACTION, f"No faction is at {here.symbol}.", waypointSymbol=here.symbol)
    return {"data": {"contract": call.agent.negotiate().as_json()}}


def my_contracts(call: Call) -> Answer:
    return call.page([contract.as_json() for contract in call.agent.contracts.values()])


def my_contract(call: Call) -> Answer:
    return {"data": call.contract.as_json()}


def accept(call: Call) -> Answer:
    return paid(call, call.contract.accept())


def fulfill(call: Call) -> Answer:
    return paid(call, call.contract.fulfill())


def paid(call: Call, payment: int) -> Answer:
    call.agent.credits += payment
    return {"data": {"agent": call.agent.as_json(), "contract": call.contract.as_json()}}


def deliver(call: Call) -> Answer:
    ship = call.agent.ship(call.text("shipSymbol"))
    trade.deliver(call.contract, ship, call.text("tradeSymbol"), call.units())
    return {"data": {"contract": call.contract.as_json(), "cargo": ship.cargo_json()}}


def waypoints(call: Call) -> Answer:
    system(call)
    trait, kind = call.query.get("traits"), call.query.get("type")
    found = [
        waypoint.as_json()
        for waypoint in call.universe.galaxy.waypoints.values()
        if (trait is None or trait in waypoint.traits) and kind in (None, waypoint.type)
    ]
    return call.page(found)


def waypoint(call: Call) -> Answer:
    system(call)
    return {"data": call.universe.galaxy.waypoint(call.path[1]).as_json()}


def market(call: Call) -> Answer:
    system(call)
    call.universe.galaxy.waypoint(call.path[1])
    return {"data": call.universe.galaxy.market(call.path[1]).as_json(seen=call.agent.present(call.path[1]))}


def system(call: Call) -> None:
    if call.path[0] != call.universe.galaxy.system:
        raise Refusal(Code.NOT_FOUND, f"There is no system {call.path[0]}.", systemSymbol=call.path[0])


NAME = "([A-Za-z0-9_-]+)"
SHIP, CONTRACT = f"/my/ships/{NAME}", f"/my/contracts/{NAME}"
WAYPOINTS = f"/systems/{NAME}/waypoints"
CREATED = 201
ROUTES = (
    Route("GET", "/?", status, open=True),
    Route("POST", "/register", register, CREATED, open=True),
    Route("GET", "/my/agent", my_agent),
    Route("GET", "/my/ships", my_ships),
    Route("GET", SHIP, my_ship),
    Route("POST", f"{SHIP}/orbit", orbit),
    Route("POST", f"{SHIP}/dock", dock),
    Route("POST", f"{SHIP}/navigate", navigate),
    Route("PATCH", f"{SHIP}/nav", set_mode),
    Route("POST", f"{SHIP}/refuel", refuel),
    Route("POST", f"{SHIP}/purchase", purchase, CREATED),
    Route("POST", f"{SHIP}/sell", sell, CREATED),
    Route("POST", f"{SHIP}/jettison", jettison),
    Route("POST", f"{SHIP}/negotiate/contract", negotiate, CREATED),
    Route("GET", "/my/contracts", my_contracts),
    Route("GET", CONTRACT, my_contract),
    Route("POST", f"{CONTRACT}/accept", accept),
    Route("POST", f"{CONTRACT}/deliver", deliver),
    Route("POST", f"{CONTRACT}/fulfill", fulfill),
    Route("GET", WAYPOINTS, waypoints),
    Route("GET", f"{WAYPOINTS}/{NAME}", waypoint),
    Route("GET", f"{WAYPOINTS}/{NAME}/market", market),
)

"""One system, its waypoints and its markets, all of it made from a seed."""

import string
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from workers.fleet.route import system_of
from workers.fleet.universe.clock import Clock
from workers.fleet.universe.error import Code, Refusal
from workers.fleet.universe.good import FUEL, GOODS, Good
from workers.fleet.universe.market import Listing, Market

RADIUS = 200  # a cruise across it takes a light freighter's tank
HOMES = ("PLANET", "MOON", "ORBITAL_STATION", "ASTEROID_BASE")
BARREN = ("ASTEROID", "GAS_GIANT", "ENGINEERED_ASTEROID")
FUEL_STATION = "FUEL_STATION"
ORBITAL = 5  # each so manyth is where the one before it is
DRY = 4  # each so manyth market sells no fuel
EXPORTS, IMPORTS = 3, 5  # goods that each market makes, and needs
WORTH = {"EXPORT": 0.7, "EXCHANGE": 1.0, "IMPORT": 1.4}
LUCK = 0.1  # how far prices of one good differ between two markets of one kind
VOLUMES = (20, 40, 60, 80)  # units that are traded at once
FUEL_VOLUME = 1_000  # nobody's tank moves the price
ACTIVITIES = ("WEAK", "GROWING", "STRONG", "RESTRICTED")


@dataclass(frozen=True)
class Waypoint:
    symbol: str
    type: str
    x: int
    y: int
    traits: tuple[str, ...]

    @property
    def system(self) -> str:
        return system_of(self.symbol)

    def end(self) -> dict[str, Any]:
        """As the end of a route."""
        return {"symbol": self.symbol, "type": self.type, "systemSymbol": self.system, "x": self.x, "y": self.y}

    def as_json(self) -> dict[str, Any]:
        traits = [{"symbol": trait, "name": trait.title(), "description": f"{trait.title()}."} for trait in self.traits]
        return {**self.end(), "orbitals": [], "traits": traits, "modifiers": [], "isUnderConstruction": False}


class Galaxy:
    """The first waypoint has the headquarters of all agents; the first `markets` ones trade, the next sells fuel."""

    def __init__(self, seed: int, clock: Clock, *, waypoints: int, markets: int, recovery: float) -> None:
        chance = Random(f"galaxy {seed}")  # noqa: S311 - made to be foreseen
        letters = "".join(chance.choices(string.ascii_uppercase, k=2))
        self.system = f"X1-{letters}{chance.randint(10, 99)}"
        places = orbiting([place(chance, self.system, number, markets) for number in range(waypoints)])
        self.waypoints = {waypoint.symbol: waypoint for waypoint in places}
        known = supplied(chance, [waypoint.symbol for waypoint in places[:markets]])
        known |= {waypoint.symbol: [fuel()] for waypoint in places if waypoint.type == FUEL_STATION}
        self.markets = {symbol: Market(symbol, listings, clock, recovery) for symbol, listings in known.items()}

    @property
    def headquarters(self) -> Waypoint:
        return next(iter(self.waypoints.values()))

    @property
    def towns(self) -> list[str]:
        """Where more than fuel is traded."""
        return [symbol for symbol in self.markets if self.waypoints[symbol].type != FUEL_STATION]

    def waypoint(self, symbol: str, absent: Code = Code.NOT_FOUND) -> Waypoint:
        if symbol not in self.waypoints:
            raise Refusal(absent, f"There is no waypoint {symbol} in {self.system}.", waypointSymbol=symbol)
        return self.waypoints[symbol]

    def market(self, waypoint: str) -> Market:
        if waypoint not in self.markets:
            raise Refusal(Code.NO_MARKET, f"There is no market at {waypoint}.", waypointSymbol=waypoint)
        return self.markets[waypoint]


def place(chance: Random, system: str, number: int, markets: int) -> Waypoint:
    symbol = f"{system}-{string.ascii_uppercase[number % 26]}{number + 1}"
    x, y = (chance.randint(-RADIUS, RADIUS) for _ in "xy")
    if number < markets:
        return Waypoint(symbol, chance.choice(HOMES), x, y, ("MARKETPLACE",))
    kind = chance.choice(BARREN)
    if number == markets:
        return Waypoint(symbol, FUEL_STATION, x, y, ("MARKETPLACE",))
    return Waypoint(symbol, kind, x, y, ("BARREN",))


def orbiting(places: list[Waypoint]) -> list[Waypoint]:
    """Some of them where the one before is, as a moon."""
    return [
        replace(each, x=places[number - 1].x, y=places[number - 1].y) if number % ORBITAL == ORBITAL - 1 else each
        for number, each in enumerate(places)
    ]


def supplied(chance: Random, symbols: list[str]) -> dict[str, list[Listing]]:
    """Listings of each market: what one exports, another one imports, if there is another."""
    exports = {symbol: chance.sample(sorted(GOODS), EXPORTS) for symbol in symbols}
    made = sorted({good for goods in exports.values() for good in goods})
    imports = {symbol: set(chance.sample(made, min(IMPORTS, len(made)))) - set(exports[symbol]) for symbol in symbols}
    for good in made:
        others = [symbol for symbol in symbols if good not in exports[symbol]]
        if others and not any(good in goods for goods in imports.values()):
            imports[chance.choice(others)].add(good)
    volumes = {good: chance.choice(VOLUMES) for good in made}
    return {
        symbol: [
            *(listing(chance, GOODS[good], "EXPORT", volumes[good]) for good in exports[symbol]),
            *(listing(chance, GOODS[good], "IMPORT", volumes[good]) for good in sorted(imports[symbol])),
            *([] if number % DRY == DRY - 1 else [fuel()]),
        ]
        for number, symbol in enumerate(symbols)
    }


def fuel() -> Listing:
    return Listing(FUEL, "EXCHANGE", FUEL.price, FUEL_VOLUME)


def listing(chance: Random, good: Good, kind: str, volume: int) -> Listing:
    worth = good.price * WORTH[kind] * chance.uniform(1 - LUCK, 1 + LUCK)
    return Listing(good, kind, worth, volume, chance.choice(ACTIVITIES))

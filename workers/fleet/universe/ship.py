"""A ship: where it is, what it carries, what it burns."""

from dataclasses import dataclass, field
from typing import Any

from workers.fleet import route
from workers.fleet.universe.clock import Clock, stamp
from workers.fleet.universe.error import Code, Refusal
from workers.fleet.universe.galaxy import Waypoint
from workers.fleet.universe.good import FUEL, GOODS, Good


@dataclass(frozen=True)
class Model:
    role: str
    frame: str
    engine: str
    speed: int
    hold: int
    tank: int


FRIGATE = Model("COMMAND", "FRAME_FRIGATE", "ENGINE_ION_DRIVE_II", speed=36, hold=40, tank=400)
FREIGHTER = Model("HAULER", "FRAME_LIGHT_FREIGHTER", "ENGINE_ION_DRIVE_I", speed=15, hold=80, tank=600)
PROBE = Model("SATELLITE", "FRAME_PROBE", "ENGINE_IMPULSE_DRIVE_I", speed=9, hold=0, tank=0)


@dataclass
class Ship:
    """Its route's end is where it is, or will be at `arrival`."""

    symbol: str
    model: Model
    clock: Clock
    origin: Waypoint
    waypoint: Waypoint
    fuel: int
    departure: float = 0.0
    arrival: float = 0.0
    docked: bool = True
    mode: str = "CRUISE"
    cargo: dict[str, int] = field(default_factory=dict)
    burnt: dict[str, Any] | None = None

    @classmethod
    def new(cls, symbol: str, model: Model, clock: Clock, home: Waypoint) -> "Ship":
        now = clock.now()
        return cls(symbol, model, clock, home, home, model.tank, departure=now, arrival=now)

    @property
    def status(self) -> str:
        if self.clock.now() < self.arrival:
            return "IN_TRANSIT"
        return "DOCKED" if self.docked else "IN_ORBIT"

    @property
    def load(self) -> int:
        return sum(self.cargo.values())

    def arrived(self) -> None:
        """Refuses what cannot be done in flight."""
        if self.status == "IN_TRANSIT":
            left = self.arrival - self.clock.now()
            raise Refusal(
                Code.IN_TRANSIT,
                f"Ship {self.symbol} is in flight to {self.waypoint.symbol}, and arrives in {left:.1f} seconds.",
                departureSymbol=self.origin.symbol,
                destinationSymbol=self.waypoint.symbol,
                arrival=stamp(self.arrival),
                secondsToArrival=left,
            )

    def moored(self) -> None:
        """Refuses what only a docked ship may do."""
        self.arrived()
        if not self.docked:
            raise Refusal(Code.NOT_DOCKED, f"Ship {self.symbol} is not docked.", waypointSymbol=self.waypoint.symbol)

    def dock(self) -> None:
        self.arrived()
        self.docked = True

    def orbit(self) -> None:
        self.arrived()
        self.docked = False

    def set_mode(self, mode: str) -> None:
        self.arrived()
        if mode not in route.DURATION:
            raise Refusal(Code.INVALID, f"There is no flight mode {mode}.", flightMode=mode)
        self.mode = mode

    def navigate(self, goal: Waypoint) -> None:
        """Fuel is burnt at once, as the arrival is known at once."""
        self.arrived()
        if self.docked:
            raise Refusal(
                Code.NOT_IN_ORBIT, f"Ship {self.symbol} is not in orbit.", waypointSymbol=self.waypoint.symbol
            )
        if goal == self.waypoint:
            raise Refusal(
                Code.ALREADY_THERE, f"Ship {self.symbol} is at {goal.symbol} already.", waypointSymbol=goal.symbol
            )
        length = route.distance(self.waypoint.end(), goal.end())
        need = route.fuel(length, self.mode) if self.model.tank else 0
        if need > self.fuel:
            message = f"Ship {self.symbol} has {self.fuel} units of fuel and needs {need}."
            raise Refusal(Code.FUEL, message, shipSymbol=self.symbol, fuelRequired=need, fuelAvailable=self.fuel)
        self.departure = self.clock.now()
        self.arrival = self.clock.after(route.seconds(length, self.model.speed, self.mode))
        self.origin, self.waypoint = self.waypoint, goal
        self.fuel -= need
        self.burnt = {"amount": need, "timestamp": stamp(self.departure)}

    def room(self, units: int) -> None:
        """Refuses what does not fit."""
        if self.load + units > self.model.hold:
            message = f"Ship {self.symbol} carries {self.load} of {self.model.hold} units; {units} more do not fit."
            data = {"cargoCapacity": self.model.hold, "cargoUnits": self.load, "unitsToAdd": units}
            raise Refusal(Code.CARGO_EXCEEDS, message, shipSymbol=self.symbol, **data)

    def holds(self, good: str, units: int) -> None:
        """Refuses what it does not carry."""
        aboard = self.cargo.get(good, 0)
        data = {"shipSymbol": self.symbol, "tradeSymbol": good, "cargoUnits": aboard, "unitsToRemove": units}
        if not aboard:
            raise Refusal(Code.CARGO_MISSING, f"Ship {self.symbol} carries no {good}.", **data)
        if units > aboard:
            raise Refusal(Code.CARGO_UNITS, f"Ship {self.symbol} carries {aboard} units of {good}.", **data)

    def shift(self, good: str, units: int) -> None:
        """Take units aboard, or (negative) put them off."""
        self.cargo[good] = self.cargo.get(good, 0) + units
        if not self.cargo[good]:
            del self.cargo[good]

    def as_json(self) -> dict[str, Any]:
        model = self.model
        return {
            "symbol": self.symbol,
            "registration": {"name": self.symbol, "factionSymbol": "COSMIC", "role": model.role},
            "nav": self.nav_json(),
            "frame": {"symbol": model.frame, "name": model.frame, "fuelCapacity": model.tank},
            "engine": {"symbol": model.engine, "name": model.engine, "speed": model.speed},
            "modules": [],
            "mounts": [],
            "cooldown": {"shipSymbol": self.symbol, "totalSeconds": 0, "remainingSeconds": 0},
            "cargo": self.cargo_json(),
            "fuel": self.fuel_json(),
        }

    def nav_json(self) -> dict[str, Any]:
        return {
            "systemSymbol": self.waypoint.system,
            "waypointSymbol": self.waypoint.symbol,
            "route": {
                "origin": self.origin.end(),
                "destination": self.waypoint.end(),
                "departureTime": stamp(self.departure),
                "arrival": stamp(self.arrival),
            },
            "status": self.status,
            "flightMode": self.mode,
        }

    def cargo_json(self) -> dict[str, Any]:
        inventory = [{**named(good).as_json(), "units": units} for good, units in self.cargo.items()]
        return {"capacity": self.model.hold, "units": self.load, "inventory": inventory}

    def fuel_json(self) -> dict[str, Any]:
        fuel = {"current": self.fuel, "capacity": self.model.tank}
        return fuel if self.burnt is None else fuel | {"consumed": self.burnt}


def named(good: str) -> Good:
    return FUEL if good == FUEL.symbol else GOODS[good]

"""A ship's next step: a flight is a `later`, and holds no slot."""

import logging
from datetime import datetime
from typing import Any

from lifecycle import later
from workers.fleet.charts import Places
from workers.fleet.deeds import FUEL, FUEL_PRICE, Deeds, aboard, after
from workers.fleet.errors import FleetError, Refused
from workers.fleet.hulls import IN_TRANSIT
from workers.fleet.ledger import Overspent
from workers.fleet.office import Office
from workers.fleet.prices import Price
from workers.fleet.route import distance, fuel, system_of
from workers.fleet.shapes import Ship
from workers.fleet.tables import now

log = logging.getLogger(__name__)
SOON = 1.0  # seconds: the least until a ship is asked again whether it has arrived


class NoSuchPlace(FleetError):
    """A flight was asked for to where no chart has anything."""


class Vessel:
    """The ship that the container holds, as the API told it at the start of this run."""

    def __init__(self, office: Office, deeds: Deeds, ship: Ship) -> None:
        self.office, self.deeds, self.ship = office, deeds, ship

    @classmethod
    def read(cls, office: Office, deeds: Deeds, symbol: str) -> "Vessel":
        ship = office.api.ship(symbol)
        office.hulls.note(ship)
        return cls(office, deeds, ship)

    @property
    def symbol(self) -> str:
        return self.ship["symbol"]

    @property
    def waypoint(self) -> str:
        return self.ship["nav"]["waypointSymbol"]

    @property
    def places(self) -> Places:
        return self.office.charts.places(system_of(self.waypoint))

    @property
    def room(self) -> int:
        """Units that fit into its hold."""
        return self.ship["cargo"]["capacity"] - self.ship["cargo"]["units"]

    @property
    def arrival(self) -> datetime | None:
        """When its flight ends; None for a ship that is somewhere."""
        nav = self.ship["nav"]
        return datetime.fromisoformat(nav["route"]["arrival"]) if nav["status"] == IN_TRANSIT else None

    def units(self, good: str) -> int:
        return aboard(self.ship, good)

    def not_ready(self) -> Any:
        """What the body is to return if nothing can be done with the ship now: it flies, or an order is on its way."""
        if self.arrival is not None:
            return later(until(self.arrival, now()))
        if left := self.office.inquiry.unclear(self.ship):
            return later(left)
        self.office.inquiry.count(self.ship, self.office.here.id)
        return None

    def head(self, goal: str, **state: Any) -> Any:
        """None at the goal; else it flies there, and this is what the body is to return."""
        if self.waypoint == goal:
            return None
        need = self._burns(goal)
        if need and self.ship["fuel"]["current"] < self._wanted(goal, need):
            self._refuel()
        mode = "CRUISE" if not need or self.ship["fuel"]["current"] > need else "DRIFT"  # which burns the last unit
        if self.ship["nav"]["flightMode"] != mode:
            self.office.api.flight_mode(self.symbol, mode)
        self._orbit()
        self._told(self.office.api.navigate(self.symbol, goal))
        self.office.hulls.note(self.ship)
        log.info("%s flies to %s", self.symbol, goal)
        return later(duration(self.ship), **state)

    def dock(self) -> None:
        if self.ship["nav"]["status"] != "DOCKED":
            self._told(self.office.api.dock(self.symbol))

    def scan(self) -> list[Price]:
        """What the market here asks and offers; the books know it from then on."""
        return self.office.prices.write(self.office.api.market(self.waypoint))

    def _burns(self, goal: str) -> int:
        places = self.places
        for waypoint in (self.waypoint, goal):
            if waypoint not in places:
                raise NoSuchPlace(f"{self.symbol} is at {self.waypoint}, and its system has no waypoint {waypoint}")
        return fuel(distance(places[self.waypoint], places[goal])) if self.ship["fuel"]["capacity"] else 0

    def _wanted(self, goal: str, need: int) -> int:
        """Enough to come back from where no fuel is sold, and one unit to drift with."""
        flights = 1 if FUEL in self.office.prices.at(goal) else 2
        return min(flights * need + 1, self.ship["fuel"]["capacity"])

    def _refuel(self) -> None:
        """Where fuel is sold and can be paid; else the ship drifts, which takes longer and hardly any fuel."""
        seen = self.office.prices.at(self.waypoint)
        if not self.places[self.waypoint]["is_market"] or (seen and FUEL not in seen):
            return
        self.dock()
        try:
            self.ship = self.deeds.refuel(self.ship, seen[FUEL].buy if seen else FUEL_PRICE)
        except (Refused, Overspent) as refusal:
            log.warning("%s is not refuelled: %s", self.symbol, refusal)

    def _orbit(self) -> None:
        if self.ship["nav"]["status"] == "DOCKED":
            self._told(self.office.api.orbit(self.symbol))

    def _told(self, answer: Any) -> None:
        self.ship = after(self.ship, answer)


def duration(ship: Ship) -> float:
    """Seconds of a flight that begins: both its times are by the API's clock, which need not be ours."""
    route = ship["nav"]["route"]
    flight = datetime.fromisoformat(route["arrival"]) - datetime.fromisoformat(route["departureTime"])
    return max(flight.total_seconds(), 0.0)


def until(arrival: datetime, at: datetime) -> float:
    """Seconds until a ship in flight is asked again; where our clock is ahead of its arrival, ever more."""
    return max(abs((arrival - at).total_seconds()), SOON)

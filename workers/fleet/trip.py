"""One trip of an arbitrage worker, a step each time its ship has arrived; what is aboard says which step is next."""

import logging
from typing import Any

from lifecycle import later
from workers.fleet.errors import FleetError
from workers.fleet.inquiry import ANYBODY
from workers.fleet.ledger import BUY, Busy, Cargo, Overspent
from workers.fleet.office import Office
from workers.fleet.opportunities import Opportunity, margin
from workers.fleet.pace import FRESH, PATIENCE
from workers.fleet.prices import Price, dearest, of_good
from workers.fleet.route import system_of
from workers.fleet.triplog import TripLog
from workers.fleet.vessel import Vessel
from workers.fleet.workflows import Workflows

log = logging.getLogger(__name__)
WORTH_A_FLIGHT = 1_000  # credits: what an earlier trip has left aboard is sold for so much, else thrown away
REST = ""  # the lot of cargo that an earlier container has bought


class NotOurs(FleetError):
    """The ship carries cargo of an open contract."""


class NothingGained(FleetError):
    """The margin has gone until the ship was there, or nothing may be spent."""


class Trip:
    """A ship that the container holds, and the opportunity that it was sent for."""

    def __init__(self, office: Office, vessel: Vessel, expected: Opportunity, min_margin: float) -> None:
        self.office, self.vessel, self.expected, self.min_margin = office, vessel, expected, min_margin
        self.log = TripLog(office.lifecycle.database, office.account.player_id)

    def go_on(self) -> Any:
        """What the body is to return: a `later`, or what the trip came to."""
        self.log.ready(self.office.here.id, self.vessel.ship)
        own = self.office.ledger.of_lot(self.office.here.id)
        if any(entry.kind == BUY for entry in own):
            return self._sell() if self.vessel.units(self.expected.good) else self._end()
        cargo = self.office.ledger.cargo([self.vessel.symbol]).get(self.vessel.symbol, [])
        self._refuse_contracts(cargo)
        return self._clear(cargo[0]) if cargo else self._buy()

    def _buy(self) -> Any:
        """There, if it is still worth it."""
        if flight := self.vessel.head(self.expected.buy_at):
            return flight
        try:
            self._buy_here()
        except (Busy, Overspent):  # another was faster: what is left, and at what price?
            return later(PATIENCE)
        return self._sell()

    def _buy_here(self) -> None:
        good = self.expected.good
        if not self.vessel.room:
            raise NothingGained(f"{self.vessel.symbol} has no room for {good}")
        newest = self.office.ledger.newest(self.vessel.waypoint, good)
        here = self._scanned()
        self._validate(here)
        units = min(self.vessel.room, here.volume, self._sells_at_once(), self._affordable(here))
        if units < 1:
            raise NothingGained(f"nothing may be spent on {good} now")
        self.vessel.ship = self.vessel.deeds.buy(self.vessel.ship, good, units, here.buy, newest=newest)
        self.vessel.scan()  # as our own order has left it: whoever reads the books next must not count on the old price

    def _sell(self) -> Any:
        """All of it, as much at once as the market takes."""
        if flight := self.vessel.head(self.expected.sell_at):
            return flight
        self._sell_here(self.expected.good, self.vessel.units(self.expected.good))
        return self._end()

    def _clear(self, cargo: Cargo) -> Any:
        """What an earlier trip has left aboard: sold where most is paid for it, or thrown away."""
        best = self._buyer(cargo)
        whose = {"purpose": cargo.purpose, "lot": REST}
        if best is None:
            self.vessel.ship = self.vessel.deeds.jettison(self.vessel.ship, cargo.good, cargo.units, **whose)
        elif flight := self.vessel.head(best.waypoint):
            return flight
        else:
            self._sell_here(cargo.good, cargo.units, **whose)
        return self.go_on()

    def _sell_here(self, good: str, units: int, **whose: str) -> None:
        """So many, and no more: the rest of the good may be aboard for another purpose."""
        self.vessel.dock()
        while units:
            here = of_good(self.vessel.scan(), good)
            if here is None:
                raise NothingGained(f"{self.vessel.waypoint} does not trade in {good}")
            ship, most = self.vessel.ship, min(units, here.volume)
            self.vessel.ship = self.vessel.deeds.sell(ship, good, most, here.sell, **whose)
            units -= most
        self.vessel.scan()

    def _end(self) -> dict[str, Any]:
        came = self.log.close(self.office.here.id, self.office.ledger.of_lot(self.office.here.id))
        log.info("%s has gained %s credits with %s", self.vessel.symbol, came["actual_net_profit"], self.expected.good)
        return came

    def _scanned(self) -> Price:
        self.vessel.dock()
        here = of_good(self.vessel.scan(), self.expected.good)
        if here is None:
            raise NothingGained(f"{self.vessel.waypoint} does not trade in {self.expected.good}")
        return here

    def _validate(self, here: Price) -> None:
        """Read again what is paid where it is to be sold: scouts may have been there since."""
        there = self._there()
        sell = there.sell if there is not None else 0
        self.log.validated(self.office.here.id, here.buy, sell)
        if margin(here.buy, sell) < self.min_margin:
            lane = self.expected.lane
            raise NothingGained(f"{lane}: the margin is {margin(here.buy, sell):.1f} % now")

    def _sells_at_once(self) -> int:
        there = self._there()
        return self.expected.units if there is None else there.volume

    def _there(self) -> Price | None:
        """What is paid where it is to be sold; an old price is better than none."""
        return self.office.prices.last(self.expected.sell_at, self.expected.good)

    def _affordable(self, here: Price) -> int:
        return self.office.ledger.affordable(self.office.here.id, here.buy)

    def _buyer(self, cargo: Cargo) -> Price | None:
        """Who pays most for it, and enough, by what was seen lately; else by what was ever seen."""
        system = system_of(self.vessel.waypoint)
        for seconds in (FRESH, None):
            best = dearest(self.office.prices.fresh(system, seconds), cargo.good)
            if best is not None and best.sell * cargo.units >= WORTH_A_FLIGHT:
                return best
        return None

    def _refuse_contracts(self, cargo: list[Cargo]) -> None:
        open_ones = Workflows(self.office.lifecycle.database, self.office.account).purposes()
        for each in cargo:
            if each.purpose != ANYBODY and each.purpose in open_ones:
                raise NotOurs(f"{self.vessel.symbol} carries {each.units} {each.good} of {each.purpose}")

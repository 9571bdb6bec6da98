"""One contract, a step each time its ship has arrived; the API and what is aboard say which step is next."""

import logging
from datetime import datetime
from typing import Any

from lifecycle import finish, later
from workers.fleet.deeds import Deeds
from workers.fleet.errors import Refused
from workers.fleet.ledger import Busy, Overspent
from workers.fleet.office import Office
from workers.fleet.pace import FRESH, PATIENCE
from workers.fleet.prices import Price, cheapest, of_good
from workers.fleet.route import system_of
from workers.fleet.shapes import Contract, Delivery
from workers.fleet.tables import now
from workers.fleet.trip import REST
from workers.fleet.vessel import Vessel
from workers.fleet.workflows import EXPIRED, FULFILLED, Workflow, Workflows, purpose

log = logging.getLogger(__name__)
HAS_ONE = 4511  # the API's code: there is a contract already


class Errand:
    """The contract of a workflow, and the ship that its container holds."""

    def __init__(self, office: Office, vessel: Vessel, flow: Workflow) -> None:
        self.office, self.vessel, self.flow = office, vessel, flow
        self.flows = Workflows(office.lifecycle.database, office.account)

    def go_on(self) -> Any:
        """What the body is to return: a `later`, or what the contract came to."""
        contract = self._contract()
        if contract is None:
            return self._negotiate()
        if contract["fulfilled"]:
            return self._over(contract, FULFILLED)
        if is_late(contract):
            self._over(contract, EXPIRED)
            return finish("the time of the contract is over")
        if not contract["accepted"]:
            if why := obstacle(self.office, contract):
                return finish(why)
            self._deeds(contract).accept(self.vessel.ship, contract)
        for delivery in contract["terms"]["deliver"]:
            if delivery["unitsFulfilled"] < delivery["unitsRequired"]:
                return self._bring(contract, delivery)
        self._deeds(contract).fulfill(self.vessel.ship, contract)
        return self._over(contract, FULFILLED)

    def _contract(self) -> Contract | None:
        """The workflow's own; else the one that the API has. A lost answer is found here."""
        if self.flow.contract is not None:
            return self.office.api.contract(self.flow.contract)
        contracts = self.office.api.contracts()
        running = next((each for each in contracts if not each["fulfilled"] and not is_late(each)), None)
        if running is not None:
            self.flows.name(self.flow, running["id"])
        return running

    def _negotiate(self) -> Any:
        """A new one, where the faction is."""
        if flight := self.vessel.head(self.office.account.headquarters):
            return flight
        self.vessel.dock()
        try:
            self.office.api.negotiate(self.vessel.symbol)
        except Refused as refusal:
            if refusal.code != HAS_ONE:
                raise
            return later(PATIENCE)
        return self.go_on()

    def _bring(self, contract: Contract, delivery: Delivery) -> Any:
        """Buy as much as is missing and fits, then deliver; over again until nothing is missing."""
        good, missing = delivery["tradeSymbol"], delivery["unitsRequired"] - delivery["unitsFulfilled"]
        ready = self._aboard(contract, good)
        if ready >= missing or (ready and not self.vessel.room):
            return self._deliver(contract, delivery)
        if not self.vessel.room:
            self._clear(contract)
        best = cheapest(self.office.prices.fresh(system_of(self.vessel.waypoint), FRESH), good)
        if best is None:
            return self._deliver(contract, delivery) if ready else finish(f"nobody has seen {good} lately")
        if flight := self.vessel.head(best.waypoint):
            return flight
        self._buy(contract, good, missing)
        if not self._aboard(contract, good):
            return finish(f"nothing may be spent on {good} now")
        return self._deliver(contract, delivery)

    def _clear(self, contract: Contract) -> None:
        """Throw away what earlier containers have left in a hold that is full; nobody works on it, else it had one."""
        for each in self.office.ledger.cargo([self.vessel.symbol]).get(self.vessel.symbol, []):
            if each.purpose != purpose(contract["id"]):
                whose = {"purpose": each.purpose, "lot": REST}
                self.vessel.ship = self._deeds(contract).jettison(self.vessel.ship, each.good, each.units, **whose)

    def _buy(self, contract: Contract, good: str, missing: int) -> None:
        """As much as is missing, fits, is sold and may be spent; a trip's purchases are one lot."""
        self.vessel.dock()
        deeds = self._deeds(contract)
        while wanted := min(missing - self._aboard(contract, good), self.vessel.room):
            try:
                newest = self.office.ledger.newest(self.vessel.waypoint, good)
                here = of_good(self.vessel.scan(), good)
                most = 0 if here is None else min(here.volume, self.office.ledger.affordable(deeds.lot, here.buy))
                if here is None or most < 1:
                    return
                self.vessel.ship = deeds.buy(self.vessel.ship, good, min(wanted, most), here.buy, newest=newest)
            except (Busy, Overspent):  # another was faster
                return
        self.vessel.scan()  # as our own orders have left it

    def _deliver(self, contract: Contract, delivery: Delivery) -> Any:
        good, missing = delivery["tradeSymbol"], delivery["unitsRequired"] - delivery["unitsFulfilled"]
        if flight := self.vessel.head(delivery["destinationSymbol"]):
            return flight
        self.vessel.dock()
        units = min(self._aboard(contract, good), missing)
        self.vessel.ship = self._deeds(contract).deliver(self.vessel.ship, contract, good, units)
        log.info("%s has delivered %d of %d %s", self.vessel.symbol, units, missing, good)
        return later(0)

    def _aboard(self, contract: Contract, good: str) -> int:
        """Units that came aboard for this contract: what an earlier trip of another has left is not ours."""
        cargo = self.office.ledger.cargo([self.vessel.symbol]).get(self.vessel.symbol, [])
        return sum(each.units for each in cargo if (each.good, each.purpose) == (good, purpose(contract["id"])))

    def _over(self, contract: Contract, status: str) -> dict[str, Any]:
        self.flows.close(self.flow, status)
        own = self.office.ledger.of_purpose(purpose(contract["id"]))
        return {"contract": contract["id"], "status": status, "profit": sum(entry.amount for entry in own)}

    def _deeds(self, contract: Contract) -> Deeds:
        """What is delivered so far counts the trips: each may take its share of the credits."""
        trip = sum(delivery["unitsFulfilled"] for delivery in contract["terms"]["deliver"])
        return self.office.deeds(purpose(contract["id"]), f"{contract['id']}:{trip}")


def obstacle(office: Office, contract: Contract) -> str | None:
    """Why nothing can be bought for a contract now; None if something can, or need not be."""
    left = (each for each in contract["terms"]["deliver"] if each["unitsFulfilled"] < each["unitsRequired"])
    delivery = None if is_late(contract) else next(left, None)
    if delivery is None:
        return None
    best = source(office, contract)
    if best is None:
        return f"nobody has seen {delivery['tradeSymbol']} lately"
    if office.ledger.affordable(REST, best.buy) < 1:
        return f"nothing may be spent on {delivery['tradeSymbol']} now"
    return None


def source(office: Office, contract: Contract) -> Price | None:
    """Where the first good that is missing is cheapest, in the system of the headquarters, if it is known."""
    left = (each for each in contract["terms"]["deliver"] if each["unitsFulfilled"] < each["unitsRequired"])
    good = next((each["tradeSymbol"] for each in left), "")
    return cheapest(office.prices.fresh(system_of(office.account.headquarters), FRESH), good)


def is_late(contract: Contract) -> bool:
    """Its time is over: to be accepted, or to be fulfilled."""
    to_accept = contract.get("deadlineToAccept") or contract["expiration"]
    until = contract["terms"]["deadline"] if contract["accepted"] else to_accept
    return datetime.fromisoformat(until) <= now()

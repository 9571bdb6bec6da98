"""Orders that change what we own: each is written down before it is given, and no stop comes between it and its row."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lifecycle import shield
from workers.fleet.client import Client
from workers.fleet.errors import NotSent, Refused
from workers.fleet.ledger import ACCEPT, BUY, DELIVER, FULFILL, JETTISON, REFUEL, SELL, Entry, Ledger, set_aside
from workers.fleet.route import FUEL_A_UNIT
from workers.fleet.shapes import Contract, Ship

FUEL = "FUEL"
FUEL_PRICE = 200  # credits, set aside at least for each unit while a ship refuels
SPENT = {BUY, REFUEL}

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deeds:
    """What one container does with the ship that it holds; each method gives the ship as it is afterwards.

    Raises Refused and NotSent with nothing done; else Unreachable with its entry left RESERVED, for an inquiry to
    close; and Overspent, where the account's guards allow no such expense, with no order given. fence: raises where the
    ship is not its own.
    """

    api: Client
    ledger: Ledger
    container_id: str
    purpose: str
    lot: str
    fence: Callable[[str], None]

    def buy(self, ship: Ship, good: str, units: int, price: int, *, newest: int) -> Ship:
        """price: what a unit was seen to cost, after that newest purchase; a little more is set aside. Raises Busy."""
        held = set_aside(units, price)
        entry = self._entry(BUY, ship, good=good, units=units, aboard=units, held=held, price=price)
        return self._do(entry, ship, lambda: self.api.purchase(ship["symbol"], good, units), newest)

    def sell(self, ship: Ship, good: str, units: int, price: int, **whose: str) -> Ship:
        """whose: the purpose and the lot of cargo that this container did not buy."""
        entry = self._entry(SELL, ship, good=good, units=units, aboard=-units, price=price, **whose)
        return self._do(entry, ship, lambda: self.api.sell(ship["symbol"], good, units))

    def jettison(self, ship: Ship, good: str, units: int, **whose: str) -> Ship:
        """Throw cargo away."""
        entry = self._entry(JETTISON, ship, good=good, units=units, aboard=-units, **whose)
        return self._do(entry, ship, lambda: self.api.jettison(ship["symbol"], good, units))

    def refuel(self, ship: Ship, price: int) -> Ship:
        """Fill its tank. price: what a unit was seen to cost, perhaps long ago."""
        tank = ship["fuel"]
        units = math.ceil((tank["capacity"] - tank["current"]) / FUEL_A_UNIT)
        held = max(units * FUEL_PRICE, set_aside(units, price))
        entry = self._entry(REFUEL, ship, units=units, held=held, before=tank["current"], price=price)
        return self._do(entry, ship, lambda: self.api.refuel(ship["symbol"]))

    def accept(self, ship: Ship, contract: Contract) -> Ship:
        """Its first payment is ours."""
        paid = contract["terms"]["payment"]["onAccepted"]
        entry = self._entry(ACCEPT, ship, contract=contract["id"], price=paid)
        return self._do(entry, ship, lambda: self.api.accept(contract["id"]))

    def deliver(self, ship: Ship, contract: Contract, good: str, units: int) -> Ship:
        """Where the contract wants it."""
        entry = self._entry(DELIVER, ship, good=good, units=units, aboard=-units, contract=contract["id"])
        return self._do(entry, ship, lambda: self.api.deliver(contract["id"], ship["symbol"], good, units))

    def fulfill(self, ship: Ship, contract: Contract) -> Ship:
        """The rest of its payment is ours."""
        paid = contract["terms"]["payment"]["onFulfilled"]
        entry = self._entry(FULFILL, ship, contract=contract["id"], price=paid)
        return self._do(entry, ship, lambda: self.api.fulfill(contract["id"]))

    def _entry(self, kind: str, ship: Ship, **values: Any) -> Entry:
        whose = {"container_id": self.container_id, "purpose": self.purpose, "lot": self.lot}
        where = {"ship": ship["symbol"], "waypoint": ship["nav"]["waypointSymbol"]}
        before = {"before": aboard(ship, values["good"])} if "good" in values else {}
        return Entry(kind=kind, **{**whose, **where, **before, **values})

    def _do(self, entry: Entry, ship: Ship, order: Callable[[], Answer], newest: int | None = None) -> Ship:
        """Write it down, give the order, write down its answer: no stop is raised in between."""
        self.fence(entry.ship)
        with shield():
            entry = self.ledger.reserve(entry, newest=newest)
            try:
                answer = order()
            except (Refused, NotSent) as refusal:
                self.ledger.void(entry, str(refusal))
                raise
            book(self.ledger, entry, answer.get("transaction"))
        return after(ship, answer)


def book(ledger: Ledger, entry: Entry, transaction: Answer | None, *, guess: bool = False) -> None:
    """What an order came to: a trade by its transaction, a contract's payment by its terms."""
    if transaction is None:
        paid = entry.price if entry.kind in {ACCEPT, FULFILL} else 0
        ledger.settle(entry, paid)
        return
    total = transaction["totalPrice"]
    amount = -total if entry.kind in SPENT else total
    price, at = transaction["pricePerUnit"], datetime.fromisoformat(transaction["timestamp"])
    ledger.settle(entry, amount, price=price, at=None if guess else at, guess=guess)


def after(ship: Ship, answer: Answer) -> Ship:
    """The ship with what an answer says of it."""
    told = {part: answer[part] for part in ("nav", "cargo", "fuel") if part in answer}
    return {**ship, **told}


def aboard(ship: Ship, good: str) -> int:
    """Units of a good in its hold."""
    return sum(item["units"] for item in ship["cargo"]["inventory"] if item["symbol"] == good)

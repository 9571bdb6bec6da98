"""What became of orders that were not answered: the ship, its market and its contract know; nothing is done twice."""

from datetime import datetime
from typing import Any

from workers.fleet.client import Client
from workers.fleet.deeds import FUEL, aboard, book
from workers.fleet.ledger import (
    ACCEPT,
    BUY,
    DELIVER,
    FOUND,
    FULFILL,
    JETTISON,
    MISSING,
    REFUEL,
    SELL,
    Cargo,
    Entry,
    Ledger,
)
from workers.fleet.pace import ANSWER
from workers.fleet.shapes import Ship, Transaction
from workers.fleet.tables import now

ANYBODY = "arbitrage"  # whose cargo is that which no entry knows
TRADES = {BUY: "PURCHASE", REFUEL: "PURCHASE", SELL: "SELL"}
GRACE = 1.0  # seconds, between a look at the ship and one at the clock


class Inquiry:
    """Asks the API about one account's entries."""

    def __init__(self, api: Client, ledger: Ledger) -> None:
        self._api, self._ledger = api, ledger

    def unclear(self, ship: Ship) -> float:
        """Close the entries that a lost answer or a killed process has left of a ship that we hold.

        The seconds for which an order may still be on its way: until then nothing else may be done with the ship.
        """
        return max((self._close(entry, ship) for entry in self._ledger.left(ship["symbol"])), default=0.0)

    def close(self, entry: Entry) -> None:
        """As `unclear`, of a ship that nobody holds."""
        self._close(entry, self._api.ship(entry.ship))

    def count(self, ship: Ship, container_id: str) -> None:
        """Have the books hold what is aboard: a hand may have traded without them."""
        known = self._ledger.cargo([ship["symbol"]]).get(ship["symbol"], [])
        for good in sorted({*(each.good for each in known), *(item["symbol"] for item in ship["cargo"]["inventory"])}):
            books = [each for each in known if each.good == good]
            off = aboard(ship, good) - sum(each.units for each in books)
            if off > 0:
                self._correct(ship, Cargo(good, books[0].purpose if books else ANYBODY, off), container_id)
            for each in books:  # of which purpose, nobody knows
                if (gone := min(each.units, -off)) > 0:
                    self._correct(ship, Cargo(good, each.purpose, -gone), container_id)
                    off += gone

    def _correct(self, ship: Ship, off: Cargo, container_id: str) -> None:
        """Write down so many units more, or (negative) less."""
        whose = {"container_id": container_id, "purpose": off.purpose, "lot": "", "ship": ship["symbol"]}
        kind = FOUND if off.units > 0 else MISSING
        self._ledger.write(Entry(kind=kind, good=off.good, units=abs(off.units), aboard=off.units, **whose), "counted")

    def _close(self, entry: Entry, ship: Ship) -> float:
        if self._was_executed(entry, ship):
            transaction = self._transaction(entry) if entry.kind in TRADES else None
            guess = transaction is None and entry.kind in TRADES
            book(self._ledger, entry, _guessed(entry) if guess else transaction, guess=guess)
            return 0.0
        if (left := ANSWER + GRACE - self._ledger.waited(entry)) > 0:
            return left
        self._ledger.void(entry, "not executed")
        return 0.0

    def _was_executed(self, entry: Entry, ship: Ship) -> bool:
        """Only its holder moves a ship's cargo, one order after the other."""
        if entry.kind in {BUY, SELL, DELIVER, JETTISON}:
            return aboard(ship, str(entry.good)) != entry.before
        if entry.kind == REFUEL:
            return ship["fuel"]["current"] > entry.before
        if self._ledger.has(entry.kind, str(entry.contract)):  # another order of ours has done it
            return False
        contract = self._api.contract(str(entry.contract))
        return bool({ACCEPT: contract["accepted"], FULFILL: contract["fulfilled"]}[entry.kind])

    def _transaction(self, entry: Entry) -> Transaction | None:
        """What the market remembers of it: the newest of this ship that no entry knows."""
        known = self._ledger.last_transaction(entry.ship)
        found = self._api.market(str(entry.waypoint)).get("transactions", ())
        ours = [each for each in found if _is(each, entry) and (known is None or _at(each) > known)]
        return max(ours, key=_at, default=None)


def _is(transaction: Transaction, entry: Entry) -> bool:
    said = (transaction["shipSymbol"], transaction["tradeSymbol"], transaction["type"])
    return said == (entry.ship, entry.good or FUEL, TRADES[entry.kind])


def _at(transaction: Transaction) -> datetime:
    return datetime.fromisoformat(transaction["timestamp"])


def _guessed(entry: Entry) -> dict[str, Any]:
    """At the price that was seen; the next correction of the books finds the difference."""
    total = entry.price * entry.units
    return {"totalPrice": total, "pricePerUnit": entry.price, "timestamp": now().isoformat()}

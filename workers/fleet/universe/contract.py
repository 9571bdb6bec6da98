"""A contract: goods to be brought somewhere, for money at its acceptance and more at its end."""

from dataclasses import dataclass
from random import Random
from typing import Any

from workers.fleet.universe.clock import Clock, stamp
from workers.fleet.universe.error import Code, Refusal
from workers.fleet.universe.galaxy import Galaxy
from workers.fleet.universe.good import GOODS

DAY = 86_400.0
TO_ACCEPT, TO_FULFILL = 1 * DAY, 7 * DAY
UNITS = (20, 120)
PAYMENT = (1.6, 2.4)  # times what the goods are worth
ADVANCE = 0.25


@dataclass
class Contract:
    """An offer until it is accepted; over when it is fulfilled, or its time is."""

    id: str
    number: int
    clock: Clock
    good: str
    destination: str
    units: int
    advance: int
    reward: int
    accept_by: float
    deadline: float
    accepted: bool = False
    fulfilled: bool = False
    delivered: int = 0

    @property
    def open(self) -> bool:
        """Stands in the way of another one."""
        return not self.fulfilled and self.clock.now() < (self.deadline if self.accepted else self.accept_by)

    def accept(self) -> int:
        """What is paid at once."""
        if self.accepted:
            raise Refusal(Code.ALREADY_ACCEPTED, f"Contract {self.id} is accepted already.", contractId=self.id)
        self._in_time()
        self.accepted = True
        return self.advance

    def deliverable(self, good: str, waypoint: str, units: int) -> None:
        """Refuses what the contract does not ask for."""
        self._running()
        if good != self.good:
            raise Refusal(
                Code.NOT_IN_TERMS, f"Contract {self.id} asks for no {good}.", contractId=self.id, tradeSymbol=good
            )
        if waypoint != self.destination:
            message = f"Contract {self.id} is delivered at {self.destination}."
            raise Refusal(Code.WRONG_DESTINATION, message, contractId=self.id, destinationSymbol=self.destination)
        if units > self.units - self.delivered:
            message = f"Contract {self.id} has {self.delivered} of {self.units} units; {units} more are too many."
            counts = {"unitsRequired": self.units, "unitsFulfilled": self.delivered}
            raise Refusal(Code.DELIVERED, message, contractId=self.id, **counts)

    def fulfill(self) -> int:
        """What is paid in the end."""
        self._running()
        if self.delivered < self.units:
            message = f"Contract {self.id} has {self.delivered} of {self.units} units."
            raise Refusal(Code.NOT_DELIVERED, message, contractId=self.id)
        self.fulfilled = True
        return self.reward

    def as_json(self) -> dict[str, Any]:
        delivery = {"tradeSymbol": self.good, "destinationSymbol": self.destination}
        counts = {"unitsRequired": self.units, "unitsFulfilled": self.delivered}
        until = stamp(self.accept_by)
        told = {"expiration": until, **({"deadlineToAccept": until} if self.number % 2 else {})}  # need not be there
        return {
            "id": self.id,
            "factionSymbol": "COSMIC",
            "type": "PROCUREMENT",
            "terms": {
                "deadline": stamp(self.deadline),
                "payment": {"onAccepted": self.advance, "onFulfilled": self.reward},
                "deliver": [{**delivery, **counts}],
            },
            "accepted": self.accepted,
            "fulfilled": self.fulfilled,
            **told,
        }

    def _running(self) -> None:
        if self.fulfilled:
            raise Refusal(Code.ALREADY_FULFILLED, f"Contract {self.id} is fulfilled.", contractId=self.id)
        if not self.accepted:
            raise Refusal(Code.NOT_ACCEPTED, f"Contract {self.id} is not accepted.", contractId=self.id)
        self._in_time()

    def _in_time(self) -> None:
        if not self.open:
            raise Refusal(Code.DEADLINE, f"The time of contract {self.id} is over.", contractId=self.id)


def offer(symbol: str, number: int, chance: Random, galaxy: Galaxy, clock: Clock) -> Contract:
    """Of a good that some market exports, to a market that does not."""
    exports = {
        (market.symbol, good): listing
        for market in galaxy.markets.values()
        for good, listing in market.listings.items()
        if listing.kind == "EXPORT"
    }
    good = chance.choice(sorted({good for _, good in exports}))
    others = [symbol for symbol in galaxy.towns if (symbol, good) not in exports]
    units = chance.randint(*UNITS)
    pay = round(GOODS[good].price * units * chance.uniform(*PAYMENT))
    advance = round(pay * ADVANCE)
    return Contract(
        id=f"{symbol.lower()}-contract-{number}",
        number=number,
        clock=clock,
        good=good,
        destination=chance.choice(others or galaxy.towns),
        units=units,
        advance=advance,
        reward=pay - advance,
        accept_by=clock.after(TO_ACCEPT),
        deadline=clock.after(TO_FULFILL),
    )

"""What a waypoint buys and sells, and what trade does to its prices."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

from workers.fleet.route import nearest
from workers.fleet.universe.clock import Clock
from workers.fleet.universe.error import Code, Refusal
from workers.fleet.universe.good import Good

STEP = 0.05  # of the price, for each trade volume that is bought or sold
SPREAD = 0.05  # we pay so much more than a unit is worth, and receive so much less
SUPPLIES = ("SCARCE", "LIMITED", "MODERATE", "HIGH", "ABUNDANT")
STOCK = {"EXPORT": 3.5, "EXCHANGE": 2.5, "IMPORT": 0.5}  # the place in SUPPLIES where nobody trades
STOCK_A_PRESSURE = 3.0  # how far a price that is e times as high is from there
KEPT = 20  # transactions that a market shows


@dataclass
class Listing:
    """One good at one market. Its pressure is the logarithm of what trade has done to the price, and fades."""

    good: Good
    kind: str
    worth: float
    volume: int
    activity: str | None = None
    pressure: float = 0.0
    at: float = 0.0

    def press(self, units: int, age: float, recovery: float) -> None:
        """Bought units raise the price, sold ones (negative) lower it, for the next."""
        self.pressure = self.pressure_at(age, recovery) + STEP * units / self.volume
        self.at = age

    def pressure_at(self, age: float, recovery: float) -> float:
        return self.pressure * math.exp(-(age - self.at) / recovery)

    def prices(self, pressure: float) -> tuple[int, int]:
        """What we pay for a unit, what we receive: always less."""
        price = self.worth * math.exp(pressure)
        pay = max(2, nearest(price * (1 + SPREAD)))
        return pay, max(1, min(nearest(price * (1 - SPREAD)), pay - 1))

    def supply(self, pressure: float) -> str:
        stock = STOCK[self.kind] - STOCK_A_PRESSURE * pressure
        return SUPPLIES[min(max(math.floor(stock), 0), len(SUPPLIES) - 1)]

    def as_json(self, pressure: float) -> dict[str, Any]:
        pay, receive = self.prices(pressure)
        shown = {
            "symbol": self.good.symbol,
            "type": self.kind,
            "tradeVolume": self.volume,
            "supply": self.supply(pressure),
            "purchasePrice": pay,
            "sellPrice": receive,
        }
        return shown if self.activity is None else shown | {"activity": self.activity}


class Market:
    """Prices recover: after `recovery` seconds of the universe, a third of what trade has done to them is left."""

    def __init__(self, symbol: str, listings: list[Listing], clock: Clock, recovery: float) -> None:
        self.symbol, self._clock, self._recovery = symbol, clock, recovery
        self.listings = {listing.good.symbol: listing for listing in listings}
        self.transactions: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def prices(self, good: str) -> tuple[int, int]:
        listing = self.listings[good]
        return listing.prices(self._pressure(listing))

    def quote(self, good: str, units: int, absent: Code) -> tuple[int, int]:
        """The prices of a trade of so many units, if it may be; else why not."""
        listing = self.listings.get(good)
        if listing is None:
            raise Refusal(
                absent, f"{self.symbol} does not trade in {good}.", waypointSymbol=self.symbol, tradeSymbol=good
            )
        if units > listing.volume:
            message = f"{self.symbol} trades at most {listing.volume} units of {good} at once."
            raise Refusal(Code.TRADE_VOLUME, message, tradeSymbol=good, units=units, tradeVolume=listing.volume)
        return self.prices(good)

    def traded(self, transaction: dict[str, Any], units: int) -> None:
        """Keep it, and move the price."""
        listing = self.listings[transaction["tradeSymbol"]]
        listing.press(units, self._clock.age(), self._recovery)
        self.transactions.append(transaction)

    def as_json(self, *, seen: bool) -> dict[str, Any]:
        """Anyone knows what is traded; only who is there sees at what prices."""
        kinds = {"exports": "EXPORT", "imports": "IMPORT", "exchange": "EXCHANGE"}
        known = {
            name: [listing.good.as_json() for listing in self.listings.values() if listing.kind == kind]
            for name, kind in kinds.items()
        }
        market = {"symbol": self.symbol, **known}
        if seen:
            market["transactions"] = list(self.transactions)
            market["tradeGoods"] = [item.as_json(self._pressure(item)) for item in self.listings.values()]
        return market

    def _pressure(self, listing: Listing) -> float:
        return listing.pressure_at(self._clock.age(), self._recovery)

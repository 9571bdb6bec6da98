"""What markets ask and offer, as it was last seen, and how it came to that."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from workers.fleet.account import Account
from workers.fleet.route import system_of
from workers.fleet.shapes import Market
from workers.fleet.tables import history, now, prices
from workers.fleet.upsert import upsert

p = prices.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One good at one market: `buy` is what we pay for a unit, `sell` what we receive."""

    waypoint: str
    good: str
    buy: int
    sell: int
    volume: int
    supply: str | None = None
    activity: str | None = None
    seen_at: datetime | None = None


COLUMNS = [p[name] for name in Price.__dataclass_fields__]


class Prices:
    """The prices that one account has seen."""

    def __init__(self, database: Any, account: Account) -> None:
        self._database, self._account = database, account

    def write(self, market: Market) -> list[Price]:
        """Keep what a market shows to a ship that is there; history gets what has changed."""
        seen = seen_in(market)
        with self._database.begin() as connection:
            known = {price.good: price for price in self._read(connection, p.waypoint == market["symbol"])}
            upsert(connection, prices, [self._row(price) for price in seen])
            changed = [price for price in seen if not _same(known.get(price.good), price)]
            if changed:
                connection.execute(history.insert(), [self._line(price) for price in changed])
        return seen

    def fresh(self, system: str, seconds: float | None = None) -> list[Price]:
        """Prices of a system that were seen within so many seconds, if any are named: older ones are not traded on."""
        since = sa.true() if seconds is None else p.seen_at >= now() - timedelta(seconds=seconds)
        with self._database.read() as connection:
            return self._read(connection, sa.and_(p.system == system, since))

    def at(self, waypoint: str) -> dict[str, Price]:
        """By good, what one market was last seen to ask and offer; empty for one that nobody has seen."""
        with self._database.read() as connection:
            return {price.good: price for price in self._read(connection, p.waypoint == waypoint)}

    def last(self, waypoint: str, good: str) -> Price | None:
        """The one that was seen last, however long ago."""
        return self.at(waypoint).get(good)

    def _read(self, connection: sa.Connection, which: sa.ColumnElement[bool]) -> list[Price]:
        query = sa.select(*COLUMNS).where(p.agent_id == self._account.id, which).order_by(p.waypoint, p.good)
        return [Price(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name

    def _row(self, price: Price) -> dict[str, Any]:
        values = {name: getattr(price, name) for name in Price.__dataclass_fields__}
        return {**values, "agent_id": self._account.id, "system": system_of(price.waypoint)}

    def _line(self, price: Price) -> dict[str, Any]:
        values = {name: getattr(price, name) for name in ("waypoint", "good", "buy", "sell", "seen_at")}
        return {**values, "agent_id": self._account.id}


def seen_in(market: Market) -> list[Price]:
    """What a market shows; nothing without a ship of ours there."""
    at = now()
    return [
        Price(
            waypoint=market["symbol"],
            good=good["symbol"],
            buy=good["purchasePrice"],
            sell=good["sellPrice"],
            volume=good["tradeVolume"],
            supply=good.get("supply"),
            activity=good.get("activity"),
            seen_at=at,
        )
        for good in market.get("tradeGoods", ())
    ]


def of_good(found: Iterable[Price], good: str) -> Price | None:
    """Its price among those of one market."""
    return next((price for price in found if price.good == good), None)


def cheapest(found: Iterable[Price], good: str) -> Price | None:
    """Where a good costs least."""
    return min((price for price in found if price.good == good), key=lambda price: price.buy, default=None)


def dearest(found: Iterable[Price], good: str) -> Price | None:
    """Where most is paid for a good."""
    return max((price for price in found if price.good == good), key=lambda price: price.sell, default=None)


def _same(known: Price | None, price: Price) -> bool:
    return known is not None and (known.buy, known.sell) == (price.buy, price.sell)

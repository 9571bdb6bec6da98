"""`arbitrage_execution_logs`: each run of a worker, begun with what is expected, closed with what it came to."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from workers.fleet.account import Account
from workers.fleet.ledger import BUY, REFUEL, SELL, Entry
from workers.fleet.opportunities import Opportunity, margin
from workers.fleet.shapes import Ship
from workers.fleet.tables import logs, now

g = logs.c
UNDER_WAY = "under way"


class TripLog:
    """The rows of one account."""

    def __init__(self, database: Any, account: Account) -> None:
        self._database, self._account = database, account

    def begin(self, container_id: str, expected: Opportunity, ship: Ship) -> None:
        """Once for a container, however often its body runs: until it is closed, it is no success."""
        values = {**_expected(expected), **_of_ship(ship)}
        row = {"container_id": container_id, "player_id": self._account.player_id, "executed_at": now(), **values}
        try:
            with self._database.begin() as connection:
                connection.execute(logs.insert().values(**row, success=False, error_message=UNDER_WAY))
        except IntegrityError:
            return

    def validated(self, container_id: str, buy: int, sell: int) -> None:
        """What the prices were when the ship was there."""
        self._update(container_id, {"buy_price_at_validation": buy, "sell_price_at_validation": sell})

    def close(self, container_id: str, own: Sequence[Entry], error: str | None = None) -> dict[str, Any]:
        """How it ended, and what its entries come to; the result of the container."""
        row = self._row(container_id)
        if row is None:  # it failed before it had a ship
            return {}
        came = _came_to(own, (now() - row.executed_at).total_seconds(), row.profit_margin)
        self._update(container_id, {**came, "success": error is None, "error_message": error})
        return came

    def under_way(self) -> list[str]:
        """Containers whose rows are not closed."""
        mine = sa.and_(g.player_id == self._account.player_id, g.error_message == UNDER_WAY)
        with self._database.read() as connection:
            return list(connection.execute(sa.select(g.container_id).where(mine).order_by(g.id)).scalars())

    def _row(self, container_id: str) -> Any:
        query = sa.select(g.executed_at, g.profit_margin).where(g.container_id == container_id)
        with self._database.read() as connection:
            return connection.execute(query).first()

    def _update(self, container_id: str, values: dict[str, Any]) -> None:
        with self._database.begin() as connection:
            connection.execute(logs.update().where(g.container_id == container_id).values(values))


def _expected(expected: Opportunity) -> dict[str, Any]:
    return {
        "good_symbol": expected.good,
        "buy_market": expected.buy_at,
        "sell_market": expected.sell_at,
        "buy_price": expected.buy_price,
        "sell_price": expected.sell_price,
        "profit_margin": round(expected.margin, 2),
        "distance": expected.distance,
        "estimated_profit": expected.profit,
        "buy_supply": expected.supply,
        "sell_activity": expected.activity,
        "current_score": expected.score,
    }


def _of_ship(ship: Ship) -> dict[str, Any]:
    return {
        "ship_symbol": ship["symbol"],
        "cargo_capacity": ship["cargo"]["capacity"],
        "cargo_used": ship["cargo"]["units"],
        "fuel_current": ship["fuel"]["current"],
        "fuel_capacity": ship["fuel"]["capacity"],
        "current_location": ship["nav"]["waypointSymbol"],
    }


def _came_to(own: Sequence[Entry], seconds: float, expected_margin: float) -> dict[str, Any]:
    """Sums of a container's own entries."""
    bought, sold, fuel = ([entry for entry in own if entry.kind == kind] for kind in (BUY, SELL, REFUEL))
    units, sold_units = (sum(entry.units for entry in some) for some in (bought, sold))
    cost, revenue = -sum(entry.amount for entry in bought), sum(entry.amount for entry in sold)
    burnt = -sum(entry.amount for entry in fuel)
    paid, got = (round(cost / units) if units else None), (round(revenue / sold_units) if sold_units else None)
    profit = revenue - cost - burnt
    return {
        "units_purchased": units,
        "units_sold": sold_units,
        "purchase_cost": cost,
        "sale_revenue": revenue,
        "fuel_cost": burnt,
        "buy_price_actual": paid,
        "sell_price_actual": got,
        "actual_net_profit": profit,
        "actual_duration_seconds": round(seconds),
        "profit_per_second": round(profit / seconds, 4) if seconds > 0 else None,
        "profit_per_unit": round(profit / sold_units, 2) if sold_units else None,
        "margin_accuracy": None if paid is None or got is None else round(margin(paid, got) - expected_margin, 2),
    }

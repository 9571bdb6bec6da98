"""`arbitrage_execution_logs`: each run of a worker, begun with what is expected, closed with what it came to."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from workers.fleet.ledger import BUY, REFUEL, SELL, Entry
from workers.fleet.opportunities import Opportunity, margin
from workers.fleet.shapes import Ship
from workers.fleet.tables import logs, now
from workers.fleet.upsert import insert_once

g = logs.c
UNDER_WAY = "under way"


class TripLog:
    """The rows of one player."""

    def __init__(self, database: Any, player_id: int) -> None:
        self._database, self._player_id = database, player_id

    def begin(self, container_id: str, expected: Opportunity, ship: str) -> None:
        """Once for a container, however often its body runs: until it is closed, it is no success."""
        row = {"container_id": container_id, "player_id": self._player_id, "executed_at": now(), "ship_symbol": ship}
        values = {**row, **_expected(expected), "success": False, "error_message": UNDER_WAY}
        with self._database.begin() as connection:
            insert_once(connection, logs, values, "container_id")

    def ready(self, container_id: str, ship: Ship) -> None:
        """How the ship was when it could first be used."""
        self._update(container_id, _of_ship(ship), g.current_location.is_(None))

    def validated(self, container_id: str, buy: int, sell: int) -> None:
        """What the prices were when the ship was there."""
        self._update(container_id, {"buy_price_at_validation": buy, "sell_price_at_validation": sell})

    def close(self, container_id: str, own: Sequence[Entry], error: str | None = None) -> dict[str, Any]:
        """How it ended, the first time, and what its entries come to; the result of the container."""
        row = self._row(container_id)
        came = _came_to(own, (now() - row.executed_at).total_seconds(), row.profit_margin)
        self._update(container_id, {**came, "success": error is None, "error_message": error})
        return came

    def under_way(self) -> list[str]:
        """Containers whose rows are not closed."""
        mine = sa.and_(g.player_id == self._player_id, g.error_message == UNDER_WAY)
        with self._database.read() as connection:
            return list(connection.execute(sa.select(g.container_id).where(mine).order_by(g.id)).scalars())

    def _row(self, container_id: str) -> Any:
        query = sa.select(g.executed_at, g.profit_margin).where(g.container_id == container_id)
        with self._database.read() as connection:
            return connection.execute(query).one()

    def _update(self, container_id: str, values: dict[str, Any], *if_so: sa.ColumnElement[bool]) -> None:
        """What is closed stays as it is."""
        open_one = sa.and_(g.container_id == container_id, g.error_message == UNDER_WAY, *if_so)
        with self._database.begin() as connection:
            connection.execute(logs.update().where(open_one).values(values))


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

"""Where things are: the waypoints of a system, asked for once in an era."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from workers.fleet.account import Account
from workers.fleet.client import Client
from workers.fleet.route import distance
from workers.fleet.tables import waypoints
from workers.fleet.upsert import upsert

w = waypoints.c
MARKETPLACE = "MARKETPLACE"
FUEL_STATION = "FUEL_STATION"

Places = Mapping[str, Mapping[str, Any]]


class Charts:
    """The waypoints that an account knows."""

    def __init__(self, api: Client, database: Any, account: Account) -> None:
        self._api, self._database, self._account = api, database, account

    def places(self, system: str) -> Places:
        """Each with `symbol`, `type`, `x`, `y` and `is_market`."""
        return self._read(system) or self._ask(system)

    def markets(self, system: str) -> list[str]:
        """Where goods are traded; a fuel station trades in nothing else."""
        places = self.places(system).values()
        return sorted(place["symbol"] for place in places if place["is_market"] and place["type"] != FUEL_STATION)

    def _read(self, system: str) -> Places:
        columns = (w.symbol, w.type, w.x, w.y, w.is_market)
        query = sa.select(*columns).where(w.agent_id == self._account.id, w.system == system)
        with self._database.read() as connection:
            return {row.symbol: dict(row._mapping) for row in connection.execute(query)}  # noqa: SLF001 - public

    def _ask(self, system: str) -> Places:
        rows = [
            {
                "agent_id": self._account.id,
                "symbol": found["symbol"],
                "system": system,
                "type": found["type"],
                "x": found["x"],
                "y": found["y"],
                "is_market": any(trait["symbol"] == MARKETPLACE for trait in found["traits"]),
            }
            for found in self._api.waypoints(system)
        ]
        with self._database.begin() as connection:
            upsert(connection, waypoints, rows)
        return {row["symbol"]: row for row in rows}


def nearest_first(places: Places, start: str, goals: list[str]) -> list[str]:
    """By the distance from one waypoint; equally near ones by name."""
    return sorted(goals, key=lambda goal: (distance(places[start], places[goal]), goal))

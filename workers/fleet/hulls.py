"""The agent's ships, listed once in a while for all containers, and who of them is free."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from workers.fleet.account import Account
from workers.fleet.client import PAGE, Client
from workers.fleet.errors import Unreachable
from workers.fleet.shapes import Ship
from workers.fleet.tables import NOBODY, agents, now, ships
from workers.fleet.upsert import upsert

log = logging.getLogger(__name__)
a, s = agents.c, ships.c
KIND = "ship:"  # of resource
HAULER = "HAULER"
PROBE = "SATELLITE"
IN_TRANSIT = "IN_TRANSIT"
A_PAGE = 5.0  # seconds: a list takes a tenth of the API's two requests a second at most


@dataclass(frozen=True, slots=True)
class Hull:
    """One ship, as it was last seen; in flight, `waypoint` is already its goal."""

    symbol: str
    role: str
    system: str
    waypoint: str
    status: str
    capacity: int


COLUMNS = [s[name] for name in Hull.__dataclass_fields__]


class Hulls:
    """The ships of one account."""

    def __init__(self, api: Client, lifecycle: Any, account: Account) -> None:
        self._api, self._lifecycle, self._account = api, lifecycle, account
        self._database = lifecycle.database

    def all(self, max_age: float) -> list[Hull]:
        """Every ship; the API is asked by one caller within `max_age` seconds, the others read what that one wrote.

        A large fleet is listed more seldom: in between, those who fly a ship note how it is. So it is where the API
        cannot list them, as happens for hours when it has lost its way with one ship.
        """
        known = self._count()
        if self._may_ask(paced(max_age, known)):
            self._ask(known)
        query = sa.select(*COLUMNS).where(s.agent_id == self._account.id).order_by(s.symbol)
        with self._database.read() as connection:
            return [Hull(*row) for row in connection.execute(query)]

    def note(self, ship: Ship) -> None:
        """How one of them is, as the API has just told who holds it."""
        with self._database.begin() as connection:
            upsert(connection, ships, [self._row(ship)])

    def holders(self) -> dict[str, str]:
        """Which container holds which ship."""
        return {
            held.resource.removeprefix(KIND): held.container_id
            for held in self._lifecycle.assignments()
            if held.resource.startswith(KIND) and _player(held.player_id) == self._account.player_id
        }

    def _ask(self, known: int) -> None:
        try:
            self._write(self._api.ships())
        except BaseException as error:
            self._forget()
            if not known or not isinstance(error, Unreachable):
                raise
            log.warning("ships as they were last seen: %s", error)

    def _count(self) -> int:
        with self._database.read() as connection:
            mine = sa.select(sa.func.count()).where(s.agent_id == self._account.id)
            return int(connection.execute(mine).scalar_one())

    def _may_ask(self, max_age: float) -> bool:
        """True for one caller of many: a guarded update says whose turn it is."""
        at = now()
        old = sa.or_(a.ships_seen_at.is_(None), a.ships_seen_at < at - timedelta(seconds=max_age))
        mine = agents.update().where(a.id == self._account.id, old).values(ships_seen_at=at)
        with self._database.begin() as connection:
            return bool(connection.execute(mine).rowcount == 1)

    def _forget(self) -> None:
        """Nobody has listed them: the next caller does."""
        with self._database.begin() as connection:
            connection.execute(agents.update().where(a.id == self._account.id).values(ships_seen_at=None))

    def _write(self, found: list[Ship]) -> None:
        """Those that are not listed any more are gone."""
        symbols = [ship["symbol"] for ship in found]
        with self._database.begin() as connection:
            upsert(connection, ships, [self._row(ship) for ship in found])
            connection.execute(ships.delete().where(s.agent_id == self._account.id, s.symbol.not_in(symbols)))

    def _row(self, ship: Ship) -> dict[str, Any]:
        return {
            "agent_id": self._account.id,
            "symbol": ship["symbol"],
            "role": ship["registration"]["role"],
            "system": ship["nav"]["systemSymbol"],
            "waypoint": ship["nav"]["waypointSymbol"],
            "status": ship["nav"]["status"],
            "capacity": ship["cargo"]["capacity"],
            "seen_at": now(),
        }


def paced(max_age: float, count: int) -> float:
    """Seconds between two lists of so many ships: the first page is free, each further one costs its time."""
    return max(max_age, A_PAGE * ((count - 1) // PAGE))


def carriers(hulls: list[Hull], only: list[str]) -> list[Hull]:
    """Those that carry cargo: of these symbols, if any are named; else haulers, and where there are none, any."""
    able = [hull for hull in hulls if hull.capacity > 0 and (not only or hull.symbol in only)]
    return able if only else ([hull for hull in able if hull.role == HAULER] or able)


def _player(player_id: int | None) -> int:
    return NOBODY if player_id is None else player_id

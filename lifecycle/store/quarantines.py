"""Resources whose holders fail again and again with one error: what is counted knows no policy, who asks brings it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lifecycle.domain.policy import MAX_SECONDS, Quarantine
from lifecycle.domain.signature import signature
from lifecycle.errors import ResourceQuarantined
from lifecycle.store.clock import now
from lifecycle.store.tables import assignments, quarantines

q, a = quarantines.c, assignments.c
BATCH = 10_000  # resources in one statement
HELD = sa.and_(a.container_id == sa.bindparam("the_id"), a.released_at.is_(None))
KEYS = {True: ([q.resource], q.player_id.is_(None)), False: ([q.player_id, q.resource], q.player_id.is_not(None))}
DIALECTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def _strike(dialect: str, *, nobody: bool) -> Any:
    """One upsert; each kind of owner has its own unique index."""
    error = sa.bindparam("its_error", type_=sa.Text)
    failed = sa.select(a.resource, a.player_id, error, sa.literal_column("1"), now()).where(HELD)
    columns = ["resource", "player_id", "error", "failures", "failed_at"]
    made = DIALECTS[dialect](quarantines).from_select(columns, failed)
    new = made.excluded
    values = {
        "failures": sa.case((q.error == new.error, q.failures + 1), else_=1),
        "error": new.error,
        "failed_at": new.failed_at,
    }
    key, where = KEYS[nobody]
    return made.on_conflict_do_update(index_elements=key, index_where=where, set_=values)


STRIKE = {(dialect, nobody): _strike(dialect, nobody=nobody) for dialect in DIALECTS for nobody in (True, False)}
LIFT = {
    nobody: quarantines.delete().where(
        q.player_id.is_(None) if nobody else q.player_id == sa.bindparam("the_player"),
        q.resource.in_(sa.select(a.resource).where(HELD)),
    )
    for nobody in (True, False)
}


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One resource that is refused until a time; after it, the next holder is a probe."""

    resource: str
    player_id: int | None
    error: str
    failures: int
    until: datetime
    is_over: bool
    """True if the time has come, by the database's clock."""


def strike(connection: sa.Connection, container_id: str, player_id: int | None, error: str) -> None:
    """Count a failure of every resource that the container holds; another error than the last one begins at 1.

    As its body fails, though it may hold them until its last child has ended.
    """
    told = {"the_id": container_id, "its_error": signature(error)}
    connection.execute(STRIKE[connection.dialect.name, player_id is None], told)


def lift(connection: sa.Connection, container_id: str, player_id: int | None) -> None:
    """Forget the failures of every resource that the container holds."""
    told = {"the_id": container_id} if player_id is None else {"the_id": container_id, "the_player": player_id}
    connection.execute(LIFT[player_id is None], told)


def forget(connection: sa.Connection, resource: str, player_id: int | None) -> bool:
    """Forget the failures of one resource; False if there were none."""
    return connection.execute(quarantines.delete().where(_owned_by(player_id), q.resource == resource)).rowcount == 1


def refuse(connection: sa.Connection, wanted: Iterable[tuple[str, int | None]], quarantine: Quarantine) -> None:
    """Raise ResourceQuarantined for the first of `wanted` (resource, player) whose time has not come.

    Ask after they are taken: a spawner that waited for a holder's ending must see its failure.
    """
    asked = sorted(wanted, key=lambda each: each[0])
    for first in range(0, len(asked), BATCH):
        for found in _read(connection, quarantine, _any_of(asked[first : first + BATCH])):
            if not found.is_over:
                raise ResourceQuarantined(found.resource, found.until, found.error)


def listed(
    connection: sa.Connection, quarantine: Quarantine, *, player_id: int | None = None, resource: str | None = None
) -> list[Quarantined]:
    """What nobody holds and is refused now, or waits for its probe: for a player, of a name, or all; by name."""
    asked = {q.player_id: player_id, q.resource: resource}
    same = sa.and_(a.resource == q.resource, a.player_id.is_not_distinct_from(q.player_id), a.released_at.is_(None))
    is_held = sa.exists(sa.select(sa.literal(1)).where(same))
    return _read(
        connection, quarantine, ~is_held, *(column == value for column, value in asked.items() if value is not None)
    )


def _any_of(asked: Iterable[tuple[str, int | None]]) -> sa.ColumnElement[bool]:
    named: dict[int | None, list[str]] = {}
    for resource, player_id in asked:
        named.setdefault(player_id, []).append(resource)
    return sa.or_(*(sa.and_(_owned_by(player_id), q.resource.in_(names)) for player_id, names in named.items()))


def _owned_by(player_id: int | None) -> sa.ColumnElement[bool]:
    return q.player_id.is_(None) if player_id is None else q.player_id == player_id


def _read(connection: sa.Connection, quarantine: Quarantine, *which: sa.ColumnElement[bool]) -> list[Quarantined]:
    columns = (q.resource, q.player_id, q.error, q.failures, q.failed_at, now().label("at"))
    query = sa.select(*columns).where(q.failures >= quarantine.after, *which).order_by(q.resource, q.id)
    return [_as_value(row, quarantine) for row in connection.execute(query)]


def _as_value(row: Any, quarantine: Quarantine) -> Quarantined:
    wait = quarantine.seconds(row.failures) or 0.0
    until = row.failed_at + timedelta(seconds=min(wait, MAX_SECONDS))
    return Quarantined(row.resource, row.player_id, row.error, row.failures, until, row.at >= until)

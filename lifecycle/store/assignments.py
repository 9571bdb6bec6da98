"""Who holds which resource: held from the spawn until the container has ended."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lifecycle.domain.policy import Quarantine
from lifecycle.errors import ResourceHeld
from lifecycle.store import quarantines
from lifecycle.store.clock import now
from lifecycle.store.tables import assignments, containers, live

a = assignments.c
TAKE = {
    name: made.on_conflict_do_nothing().values(assigned_at=now()).returning(a.resource, a.container_id)
    for name, made in (
        ("postgresql", postgresql.insert(assignments)),
        ("sqlite", sqlite.insert(assignments)),
    )
}
_held = sa.select(a.container_id).where(a.released_at.is_(None)).subquery("held")  # no `id`, see HOLDS
_mine = sa.select(sa.literal(1)).select_from(_held).where(_held.c.container_id == containers.c.id)
HOLDS = sa.exists(_mine.correlate(containers)).label("holds")
"""A column of `containers`, as it were; SQLite's RETURNING says only `id` for it, which must not be another table's."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One resource held by one container."""

    resource: str
    player_id: int | None
    container_id: str
    assigned_at: datetime


def assign(connection: sa.Connection, wanted: Iterable[tuple[str, str, int | None]], *, quarantine: Quarantine) -> None:
    """Take every resource of `wanted` (resource, container, player) or none; raises ResourceHeld that names the holder.

    In one INSERT, in sorted order: two spawners who want the same two never wait for each other. Raises
    ResourceQuarantined where `quarantine` says so.
    """
    asked = sorted(set(wanted), key=lambda each: each[:2])
    if not asked:
        return
    rows = [{"resource": resource, "container_id": to, "player_id": player} for resource, to, player in asked]
    taken = {(row.resource, row.container_id) for row in connection.execute(TAKE[connection.dialect.name], rows)}
    for resource, container_id, player_id in asked:
        if (resource, container_id) not in taken:
            raise ResourceHeld(resource, holder(connection, resource, player_id) or "unknown")
    quarantines.refuse(connection, [(resource, player_id) for resource, _, player_id in asked], quarantine)


def holder(connection: sa.Connection, resource: str, player_id: int | None) -> str | None:
    """The id of the container that holds `resource` for this player, or None."""
    owner = a.player_id.is_(None) if player_id is None else a.player_id == player_id
    held = sa.and_(a.resource == resource, owner, a.released_at.is_(None))
    return connection.execute(sa.select(a.container_id).where(held)).scalar()


def held(
    connection: sa.Connection,
    *,
    container_id: str | None = None,
    player_id: int | None = None,
    resource: str | None = None,
) -> list[Assignment]:
    """What is held now: by a container, for a player, of a name, or all; in the order it was taken."""
    asked = {a.container_id: container_id, a.player_id: player_id, a.resource: resource}
    filters = [column == value for column, value in asked.items() if value is not None]
    columns = (a.resource, a.player_id, a.container_id, a.assigned_at)
    query = sa.select(*columns).where(a.released_at.is_(None), *filters).order_by(a.id)
    return [Assignment(*row) for row in connection.execute(query)]


def ever_held_by(connection: sa.Connection, container_id: str) -> list[str]:
    """The resources it was spawned with."""
    query = sa.select(a.resource).where(a.container_id == container_id).order_by(a.id)
    return list(dict.fromkeys(connection.execute(query).scalars()))


def take_away(connection: sa.Connection, held: Assignment, *, why: str, also_live: bool) -> bool:
    """Give one resource back for its holder; False if it was given back meanwhile, or the holder lives."""
    mine = sa.and_(a.container_id == held.container_id, a.resource == held.resource, a.released_at.is_(None))
    ended = sa.exists(sa.select(sa.literal(1)).where(containers.c.id == a.container_id, sa.not_(live())))
    taken = assignments.update().where(mine, sa.true() if also_live else ended)
    return connection.execute(taken.values(released_at=now(), released_why=why)).rowcount == 1


def release_owed(connection: sa.Connection, container_id: str) -> None:
    """Give back what a container holds that has ended: a stop of an ended one mends what hands have left."""
    ended = sa.select(containers.c.id).where(containers.c.id == container_id, sa.not_(live()))
    release(connection, ended, why="ended before")


def release(connection: sa.Connection, holders: sa.Select[tuple[str]] | str, *, why: str) -> None:
    """Give back what the ended containers hold; part of every write of a terminal status (I3)."""
    whose = a.container_id == holders if isinstance(holders, str) else a.container_id.in_(holders)
    given_back = assignments.update().where(whose, a.released_at.is_(None))
    connection.execute(given_back.values(released_at=now(), released_why=why))

"""Who holds which resource: held from the spawn until the container has ended."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from lifecycle.errors import ResourceHeld
from lifecycle.store.clock import now
from lifecycle.store.tables import assignments, containers, live


@dataclass(frozen=True, slots=True)
class Assignment:
    """One resource held by one container."""

    resource: str
    player_id: int | None
    container_id: str
    assigned_at: datetime


def assign(connection: sa.Connection, container_id: str, player_id: int | None, resources: Iterable[str]) -> None:
    """Take all of `resources` or none; raises ResourceHeld that names the holder.

    In sorted order, so that two spawners who want the same two never wait for each other.
    """
    for resource in sorted(set(resources)):
        values = {"resource": resource, "player_id": player_id, "container_id": container_id, "assigned_at": now()}
        try:
            with connection.begin_nested():
                connection.execute(assignments.insert().values(**values))
        except IntegrityError as error:
            raise ResourceHeld(resource, holder(connection, resource, player_id) or "unknown") from error


def holder(connection: sa.Connection, resource: str, player_id: int | None) -> str | None:
    """The id of the container that holds `resource` for this player, or None."""
    a = assignments.c
    owner = a.player_id.is_(None) if player_id is None else a.player_id == player_id
    held = sa.and_(a.resource == resource, owner, a.released_at.is_(None))
    return connection.execute(sa.select(a.container_id).where(held)).scalar()


def held_by(connection: sa.Connection, container_ids: Iterable[str]) -> list[Assignment]:
    """What these containers hold now."""
    a = assignments.c
    held = sa.and_(a.container_id.in_(list(container_ids)), a.released_at.is_(None))
    columns = (a.resource, a.player_id, a.container_id, a.assigned_at)
    return [Assignment(*row) for row in connection.execute(sa.select(*columns).where(held).order_by(a.id))]


def release_owed(connection: sa.Connection, container_id: str) -> None:
    """Give back what a container holds that has ended: a stop of an ended one mends what hands have left."""
    ended = sa.select(containers.c.id).where(containers.c.id == container_id, sa.not_(live()))
    release(connection, ended, why="ended before")


def release(connection: sa.Connection, holders: sa.Select[tuple[str]] | str, *, why: str) -> None:
    """Give back what the ended containers hold; part of every write of a terminal status (I3)."""
    a = assignments.c
    whose = a.container_id == holders if isinstance(holders, str) else a.container_id.in_(holders)
    given_back = assignments.update().where(whose, a.released_at.is_(None))
    connection.execute(given_back.values(released_at=now(), released_why=why))

"""What hangs on one container: the way to it, what it held, its history, its message."""

from typing import Any

import sqlalchemy as sa

from lifecycle.errors import ContainerNotFound
from lifecycle.store.tables import assignments, container_logs, containers, transitions

c, a, t = containers.c, assignments.c, transitions.c
DEEPEST = 1_000  # of a path that is shown


def path(connection: sa.Connection, container_id: str) -> list[Any]:
    """All above a container, its root first (`id`, `container_type`, `status`)."""
    columns = (c.id, c.container_type, c.status, c.parent_container_id)
    way = sa.select(*columns, sa.literal(0).label("step")).where(c.id == container_id).cte("way", recursive=True)
    above = sa.select(*columns, way.c.step + 1).where(c.id == way.c.parent_container_id, way.c.step < DEEPEST)
    way = way.union_all(above)
    query = sa.select(way.c.id, way.c.container_type, way.c.status).where(way.c.step > 0).order_by(way.c.step.desc())
    return list(connection.execute(query).all())


def holdings(connection: sa.Connection, container_id: str, most: int) -> tuple[list[Any], bool]:
    """The latest resources it took, in the order it took them, and whether there were others before."""
    query = sa.select(a.resource, a.assigned_at, a.released_at, a.released_why)
    return _latest(connection, query.where(a.container_id == container_id).order_by(a.id.desc()), most)


def history(connection: sa.Connection, container_id: str, most: int) -> tuple[list[Any], bool]:
    """The latest changes of its status, oldest first, each with the stop that asked for it; and whether as above."""
    query = sa.select(t.at, t.from_status, t.to_status, t.epoch, t.node, t.by, t.why, t.stop_id)
    return _latest(connection, query.where(t.container_id == container_id).order_by(t.id.desc()), most)


def _latest(connection: sa.Connection, query: sa.Select[Any], most: int) -> tuple[list[Any], bool]:
    rows = connection.execute(query.limit(most + 1)).all()
    return list(rows[:most][::-1]), len(rows) > most


def message(connection: sa.Connection, container_id: str) -> dict[str, Any]:
    """The message that starts it, as recorded; raises ContainerNotFound."""
    found = connection.execute(sa.select(c.message).where(c.id == container_id)).first()
    if found is None:
        raise ContainerNotFound(container_id)
    return found[0] or {}


def has_logs(connection: sa.Connection, container_id: str) -> bool:
    """True if it has logged anything."""
    line = sa.select(container_logs.c.id).where(container_logs.c.container_id == container_id).limit(1)
    return connection.execute(line).first() is not None

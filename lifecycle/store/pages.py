"""A page of containers, and of the children of one: where it ends, and how many come after it."""

from typing import Any

import sqlalchemy as sa

from lifecycle.domain.container import Container
from lifecycle.domain.search import Filters
from lifecycle.domain.status import Status
from lifecycle.errors import InvalidArgument
from lifecycle.store import forest
from lifecycle.store.containers import COLUMNS, from_row
from lifecycle.store.searches import fitting
from lifecycle.store.tables import containers

c = containers.c


def newest(
    connection: sa.Connection, filters: Filters, *, limit: int, before: str | None = None
) -> tuple[list[Container], bool]:
    """Containers that fit, newest first, and whether there are more; raises InvalidArgument for an unknown `before`."""
    query = sa.select(*COLUMNS).where(*fitting(filters))
    if before is not None:
        at = _created(connection, before)
        query = query.where(sa.or_(c.created_at < at, sa.and_(c.created_at == at, c.id > before)))
    rows = connection.execute(query.order_by(c.created_at.desc(), c.id).limit(limit + 1)).all()
    return [from_row(row) for row in rows[:limit]], len(rows) > limit


def children(
    connection: sa.Connection, container_id: str, *, statuses: tuple[Status, ...] | None, limit: int, after: str | None
) -> tuple[list[Any], int]:
    """Direct children, oldest first, and how many come after; raises InvalidArgument for an unknown `after`."""
    which = [c.parent_container_id == container_id, *fitting(Filters(statuses=statuses))]
    if after is not None:
        at = _created(connection, after)
        which.append(sa.or_(c.created_at > at, sa.and_(c.created_at == at, c.id > after)))
    rows = forest.read(connection, *which, limit=limit + 1)
    if len(rows) <= limit:
        return rows, 0
    total = connection.execute(sa.select(sa.func.count()).select_from(containers).where(*which)).scalar_one()
    return rows[:limit], total - limit


def _created(connection: sa.Connection, container_id: str) -> Any:
    found = connection.execute(sa.select(c.created_at).where(c.id == container_id)).scalar()
    if found is None:
        raise InvalidArgument(f"no container {container_id[:40]!r} to go on from")
    return found

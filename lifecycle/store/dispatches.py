"""Rows that are due and have no message on its way."""

from typing import Any

import sqlalchemy as sa

from lifecycle.store.clock import later, now
from lifecycle.store.tables import containers, startable

c = containers.c


def take_due(connection: sa.Connection, limit: int) -> list[tuple[str, dict[str, Any]]]:
    """Ids and messages of rows whose time has come, now marked as dispatched; other dispatchers skip them."""
    due = sa.select(c.id, c.message).where(startable(), c.dispatched_at.is_(None), c.wake_at <= now())
    rows = connection.execute(due.order_by(c.wake_at).limit(limit).with_for_update(skip_locked=True)).all()
    if rows:
        taken = containers.update().where(c.id.in_([row.id for row in rows]))
        connection.execute(taken.values(dispatched_at=now(), dispatch_count=c.dispatch_count + 1))
    return [(row.id, row.message) for row in rows]


def put_back(connection: sa.Connection, ids: list[str], *, seconds: float) -> None:
    """Their messages could not be published: due again in `seconds`."""
    unsent = containers.update().where(c.id.in_(ids), startable())
    connection.execute(unsent.values(dispatched_at=None, wake_at=later(now(), seconds)))

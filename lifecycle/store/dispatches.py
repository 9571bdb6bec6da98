"""Rows that are due and have no message on its way."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from lifecycle.store.clock import UtcDateTime, later, now
from lifecycle.store.tables import containers, startable

c = containers.c
MAX_WAIT = 3600.0  # seconds between two messages of one row, at most
DOUBLINGS = 16
AT_ONCE = sa.select(now()).scalar_subquery()
"""The time, asked once: it is volatile, and PostgreSQL would ask it anew for each row, all through the index."""


def take_due(connection: sa.Connection, limit: int) -> list[tuple[str, dict[str, Any]]]:
    """Ids and messages of rows whose time has come, now marked as dispatched; other dispatchers skip them."""
    due = sa.select(c.id, c.message).where(startable(), c.dispatched_at.is_(None), c.wake_at <= AT_ONCE)
    return _take(connection, due.order_by(c.wake_at).limit(limit))


def waiting_queues(connection: sa.Connection, after: float) -> list[str | None]:
    """The queues of rows whose message has been on its way for `after` seconds, doubled with each message sent."""
    return list(connection.execute(sa.select(c.queue).where(_unclaimed_for(after)).distinct()).scalars())


def take_again(
    connection: sa.Connection, queue: str | None, after: float, *, sent_before: datetime | None, limit: int
) -> list[tuple[str, dict[str, Any]]]:
    """Rows of a queue that are still unclaimed, only those sent until a time if given, to be published once more."""
    until = sa.true() if sent_before is None else c.dispatched_at <= sent_before
    lost = sa.select(c.id, c.message).where(_unclaimed_for(after), c.queue == queue, until)
    return _take(connection, lost.order_by(c.dispatched_at).limit(limit))


def overtaken_until(connection: sa.Connection, queue: str | None, after: float) -> datetime | None:
    """What was sent to a queue until then is lost: a message sent `after` seconds later was claimed."""
    claimed = sa.and_(c.queue == queue, c.epoch > 0, sa.not_(startable()))  # not one that was only sent once more
    newest = sa.select(c.dispatched_at).where(claimed, c.dispatched_at.is_not(None))
    sent = connection.execute(newest.order_by(c.dispatched_at.desc()).limit(1)).scalar()
    return None if sent is None else sent - timedelta(seconds=after)


def seconds_to_next(connection: sa.Connection) -> float | None:
    """How long until the next row is due; None if none waits for its time."""
    waiting = sa.select(sa.type_coerce(sa.func.min(c.wake_at), UtcDateTime), now())
    wake_at, at = connection.execute(waiting.where(startable(), c.dispatched_at.is_(None))).one()
    return None if wake_at is None else float((wake_at - at).total_seconds())


def expired(connection: sa.Connection, limit: int) -> list[str]:
    """Rows that have never been claimed and may not be any more: their `expires` is past."""
    return list(connection.execute(sa.select(c.id).where(_late()).limit(limit)).scalars())


def has_expired(connection: sa.Connection, container_id: str) -> bool:
    """True if the row is one of them now. Who asks holds its lock: a claim may have come between."""
    return connection.execute(sa.select(c.id).where(c.id == container_id, _late())).first() is not None


def put_back(connection: sa.Connection, container_ids: Sequence[str], *, seconds: float, wait: bool) -> None:
    """Their messages could not be published: due again in `seconds`.

    Many at once only without waiting for locks; with, one row a transaction: who waits for a lock and holds none is in
    nobody's way, not even a mark's.
    """
    sent = sa.select(c.id).where(c.id.in_(container_ids), _is_sent())
    rows = connection.execute(sent.with_for_update(skip_locked=not wait)).all()
    unsent = containers.update().where(c.id.in_([row.id for row in rows]))
    connection.execute(unsent.values(dispatched_at=None, wake_at=later(now(), seconds)))


def still_sent(connection: sa.Connection, container_ids: Sequence[str]) -> list[str]:
    """Those of them that count as sent and are not claimed."""
    return list(connection.execute(sa.select(c.id).where(c.id.in_(container_ids), _is_sent())).scalars())


def _is_sent() -> sa.ColumnElement[bool]:
    return sa.and_(startable(), c.dispatched_at.is_not(None))


def _late() -> sa.ColumnElement[bool]:
    return sa.and_(startable(), c.expires_at <= now(), c.epoch == 0)


def _unclaimed_for(after: float) -> sa.ColumnElement[bool]:
    doubled = sa.case(*((c.dispatch_count <= n, min(after * 2**n, MAX_WAIT)) for n in range(DOUBLINGS)), else_=MAX_WAIT)
    return sa.and_(startable(), c.dispatched_at < later(AT_ONCE, -after), later(c.dispatched_at, doubled) < AT_ONCE)


def _take(connection: sa.Connection, which: sa.Select[Any]) -> list[tuple[str, dict[str, Any]]]:
    rows = connection.execute(which.with_for_update(skip_locked=True)).all()
    if rows:
        taken = containers.update().where(c.id.in_([row.id for row in rows]))
        connection.execute(taken.values(dispatched_at=now(), dispatch_count=c.dispatch_count + 1))
    return [(row.id, row.message) for row in rows]

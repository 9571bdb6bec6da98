"""Rows that are due and have no message on its way."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from lifecycle.store.clock import UtcDateTime, later, now
from lifecycle.store.tables import containers, startable

c = containers.c
MAX_WAIT = 3600.0  # seconds between two messages of one row, at most
DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """A row whose message was sent long ago and not claimed."""

    id: str
    queue: str | None
    overtaken: bool
    """True if a message sent much later to the same queue was claimed: this one is lost."""


def take_due(connection: sa.Connection, limit: int) -> list[tuple[str, dict[str, Any]]]:
    """Ids and messages of rows whose time has come, now marked as dispatched; other dispatchers skip them."""
    due = sa.select(c.id, c.message).where(startable(), c.dispatched_at.is_(None), c.wake_at <= now())
    return _take(connection, due.order_by(c.wake_at).limit(limit))


def take_again(connection: sa.Connection, ids: list[str], after: float) -> list[tuple[str, dict[str, Any]]]:
    """Those of `ids` that are still unclaimed, to be published once more."""
    return _take(connection, sa.select(c.id, c.message).where(c.id.in_(ids), _unclaimed_for(after)))


def unclaimed(connection: sa.Connection, after: float, limit: int) -> list[Unclaimed]:
    """Rows whose message has been on its way for `after` seconds, doubled with each message sent."""
    query = sa.select(c.id, c.queue, c.dispatched_at).where(_unclaimed_for(after)).limit(limit)
    rows = connection.execute(query).all()
    newest = {queue: _newest_claimed(connection, queue) for queue in {row.queue for row in rows}}
    limit_of = {queue: None if sent is None else sent - timedelta(seconds=after) for queue, sent in newest.items()}
    found = []
    for row in rows:
        until = limit_of[row.queue]
        found.append(Unclaimed(row.id, row.queue, overtaken=until is not None and row.dispatched_at <= until))
    return found


def _newest_claimed(connection: sa.Connection, queue: str | None) -> datetime | None:
    """When the last claimed message of a queue was sent; asked once a queue, for it passes over a woken backlog."""
    claimed = sa.and_(c.queue == queue, c.epoch > 0, sa.not_(startable()))  # not one that was only sent once more
    newest = sa.select(c.dispatched_at).where(claimed, c.dispatched_at.is_not(None))
    return connection.execute(newest.order_by(c.dispatched_at.desc()).limit(1)).scalar()


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


def put_back(connection: sa.Connection, container_ids: Sequence[str], *, seconds: float, wait: bool) -> set[str]:
    """Their messages could not be published: due again in `seconds`; those it was done for.

    Many at once only without waiting for locks; with, one row a transaction: who waits for a lock and holds none is in
    nobody's way, not even a mark's.
    """
    sent = sa.select(c.id).where(c.id.in_(container_ids), startable(), c.dispatched_at.is_not(None))
    locked = [row.id for row in connection.execute(sent.with_for_update(skip_locked=not wait))]
    unsent = containers.update().where(c.id.in_(locked))
    connection.execute(unsent.values(dispatched_at=None, wake_at=later(now(), seconds)))
    return set(locked)


def _late() -> sa.ColumnElement[bool]:
    return sa.and_(startable(), c.expires_at <= now(), c.epoch == 0)


def _unclaimed_for(after: float) -> sa.ColumnElement[bool]:
    doubled = sa.case(*((c.dispatch_count <= n, min(after * 2**n, MAX_WAIT)) for n in range(DOUBLINGS)), else_=MAX_WAIT)
    return sa.and_(startable(), c.dispatched_at < later(now(), -after), later(c.dispatched_at, doubled) < now())


def _take(connection: sa.Connection, which: sa.Select[Any]) -> list[tuple[str, dict[str, Any]]]:
    rows = connection.execute(which.with_for_update(skip_locked=True)).all()
    if rows:
        taken = containers.update().where(c.id.in_([row.id for row in rows]))
        connection.execute(taken.values(dispatched_at=now(), dispatch_count=c.dispatch_count + 1))
    return [(row.id, row.message) for row in rows]

"""Interruptions: executions that are cut off to go on later, and their way back (design, sections 3 and 7)."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lifecycle.domain.policy import STOPPED_SUPERSEDED
from lifecycle.domain.status import Status
from lifecycle.store import marks, stops, transitions
from lifecycle.store.clock import later, now
from lifecycle.store.containers import THE_ROW
from lifecycle.store.runs import ITS_EPOCH, MOVED, OFF_NODE, UNSENT, Moved, child, moved, waited_for
from lifecycle.store.tables import containers, interrupted, live

c = containers.c
parent = containers.alias("parent")
CUT = sa.and_(ITS_EPOCH, live(), c.status != Status.STOPPING.value, c.node.is_not(None))
BUDGET = sa.select(c.restart_count, c.max_restarts, sa.func.coalesce(c.resumed_at, c.started_at), now()).where(THE_ROW)


def budget(connection: sa.Connection, container_id: str) -> tuple[int, int, float]:
    """Restarts counted, restarts allowed, and seconds since it was resumed last."""
    count, allowed, since, at = connection.execute(BUDGET, {"the_id": container_id}).one()
    return count, allowed, (at - since).total_seconds() if isinstance(since, datetime) else 0.0


def interrupt(
    connection: sa.Connection,
    container_id: str,
    epoch: int,
    *,
    node: str,
    why: str,
    wait: float,
    attempt: str | None,
    restart_count: int | None = None,
    message: Any = None,
) -> Moved | None:
    """Turn an execution's row to INTERRUPTED, due in `wait` seconds; None if it is no longer that execution's.

    The caller holds the row's `lock`, and has seen that nobody stops it.
    """
    status = {"status": Status.INTERRUPTED.value, "previous_status": c.status, "exit_message": why, "attempt": attempt}
    times = {"wake_at": later(now(), wait), **UNSENT, "updated_at": now()}
    given = {"restart_count": restart_count, "message": message}
    values = {**OFF_NODE, **status, **times, **{name: value for name, value in given.items() if value is not None}}
    cut = containers.update().where(CUT).values(values).returning(*MOVED, c.epoch, c.node)
    row = connection.execute(cut, {"the_id": container_id, "its_epoch": epoch}).first()
    if row is None:
        return None
    transitions.note(connection, row, by=node, why=why, attempt=attempt)
    return moved(row)


def _of_its_epoch() -> sa.ColumnElement[bool]:
    """`child` was spawned by the execution of `containers` that was cut off, and is to be waited for."""
    return sa.and_(waited_for(), child.c.parent_epoch == c.epoch)


def _goes_with_its_parent() -> sa.ColumnElement[bool]:
    """Its parent is INTERRUPTED too, and will spawn it again."""
    cut_off = sa.and_(parent.c.id == c.parent_container_id, interrupted(parent), parent.c.epoch == c.parent_epoch)
    return sa.and_(c.detached == sa.false(), sa.exists(sa.select(sa.literal(1)).where(cut_off).correlate(containers)))


def _has_left() -> sa.ColumnElement[bool]:
    """INTERRUPTED rows whose cut-off execution has left children that nobody stops yet."""
    left = sa.select(sa.literal(1)).where(_of_its_epoch(), child.c.status != Status.STOPPING.value)
    return sa.and_(interrupted(), sa.exists(left.correlate(containers)))


def superseding(connection: sa.Connection, limit: int) -> list[tuple[str, int]]:
    """INTERRUPTED containers (id, epoch) whose cut-off execution has left children that nobody stops yet."""
    query = sa.select(c.id, c.epoch).where(_has_left()).order_by(c.depth, c.id).limit(limit)
    return [(row.id, row.epoch) for row in connection.execute(query)]


def is_superseding(connection: sa.Connection, container_id: str, epoch: int) -> bool:
    """True if `superseding` names it, of this epoch, now. Who decides on it holds the row's `lock`."""
    mine = sa.select(sa.literal(1)).where(c.id == container_id, c.epoch == epoch, _has_left())
    return connection.execute(mine).first() is not None


def left_interrupted(connection: sa.Connection, container_id: str, epoch: int) -> list[str]:
    """Its children of that epoch that are INTERRUPTED themselves: they do not go on, their parent does."""
    its = sa.and_(c.parent_container_id == container_id, c.parent_epoch == epoch, c.detached == sa.false())
    query = sa.select(c.id).where(live(), interrupted(), its)  # said as live too, or SQLite reads all that have ended
    return list(connection.execute(query.order_by(c.id)).scalars())


def supersede(connection: sa.Connection, container_id: str, epoch: int) -> tuple[list[str], list[Moved]]:
    """Mark the children of a cut-off execution, and all below them: all of these, and what ended at once.

    The caller holds the row's `lock`, and has seen that it is INTERRUPTED still.
    """
    why = "parent restarted"
    marked = marks.mark_below(
        connection, container_id, by="recovery", reason=why, message=STOPPED_SUPERSEDED, epoch=epoch
    )
    asked = [row.id for row in stops.rows_of(connection, marked.stop_id)]
    return asked, stops.ended_by(connection, marked.stop_id)


def ready() -> sa.ColumnElement[bool]:
    """INTERRUPTED rows that may go on: their time has come, and all that was to be stopped for it has ended."""
    due = sa.or_(c.wake_at.is_(None), c.wake_at <= now())
    waits = sa.exists(sa.select(sa.literal(1)).where(_of_its_epoch()).correlate(containers))
    return sa.and_(interrupted(), c.node.is_(None), due, ~waits, ~_goes_with_its_parent())


def is_any_ready(connection: sa.Connection) -> bool:
    """True if an INTERRUPTED container may go on."""
    return connection.execute(sa.select(sa.literal(1)).where(ready()).limit(1)).first() is not None


def resume(connection: sa.Connection, limit: int) -> list[Moved]:
    """Make every container PENDING that may go on, a batch at most; a dispatcher starts it.

    Rows that are locked are left for the next time: who waits for none is in nobody's way, not even a mark's.
    """
    free = sa.select(c.id).where(ready()).order_by(c.wake_at).limit(limit)
    ids = list(connection.execute(free.with_for_update(key_share=True, skip_locked=True, of=containers)).scalars())
    if not ids:
        return []
    pending = {"status": Status.PENDING.value, "previous_status": c.status, "updated_at": now()}
    goes_on = containers.update().where(c.id.in_(ids), ready())
    goes_on = goes_on.values(**pending, wake_at=sa.func.coalesce(c.wake_at, now()), dispatched_at=None)
    rows = connection.execute(goes_on.returning(*MOVED)).all()
    resumed = [row.id for row in rows]
    transitions.record(connection, c.id.in_(resumed), by="recovery", why=None)
    stops.finish(connection, sa.select(c.id).where(c.id.in_(resumed)))
    return [moved(row) for row in rows]


def waiting(connection: sa.Connection) -> list[Any]:
    """Every INTERRUPTED container, the next first: what it waits for, and why it was cut off."""
    columns = (c.id, c.parent_container_id, c.root_id, c.player_id, c.attempt, c.wake_at, c.exit_message)
    goes_with_parent = _goes_with_its_parent().label("goes_with_parent")
    query = sa.select(*columns, goes_with_parent, now().label("at")).where(interrupted())
    return list(connection.execute(query.order_by(c.wake_at, c.id)).all())

"""Endings: end, settle, lose. Each change of a status is one guarded UPDATE (design, section 3)."""

from typing import Any

import sqlalchemy as sa

from lifecycle.domain.counters import Counter, StopFailure
from lifecycle.domain.ending import Ending
from lifecycle.domain.policy import STOPPED_BY_USER, STOPPED_NOT_RUNNING
from lifecycle.domain.status import Status
from lifecycle.store import assignments, quarantines, stops, totals, transitions
from lifecycle.store.clock import now
from lifecycle.store.containers import THE_ROW
from lifecycle.store.runs import (
    ITS_LIFE,
    MOVED,
    OFF_NODE,
    Moved,
    moved,
    no_live_child,
    over_now,
    settled,
)
from lifecycle.store.tables import Json, containers, over

c = containers.c
ENDED = (*MOVED, c.epoch, c.node, c.exit_message, assignments.HOLDS)
_outcome = sa.bindparam("its_outcome", type_=sa.String)
ENDING = {
    "exit_code": sa.bindparam("its_exit_code"),
    "exit_message": sa.case(
        (_outcome == Status.STOPPED.value, sa.func.coalesce(c.stop_message, STOPPED_BY_USER)),
        else_=sa.bindparam("its_exit_message", type_=sa.Text),
    ),
    "result": sa.bindparam("its_result", type_=Json),
    "current_iteration": c.current_iteration + sa.bindparam("iterations_done"),
}
END = (
    containers.update()
    .where(ITS_LIFE, no_live_child())
    .values({**ENDING, "status": _outcome, **over_now()})
    .returning(*ENDED)
)
END_LATER = (
    containers.update()
    .where(ITS_LIFE)
    .values({**ENDING, "outcome": _outcome, **OFF_NODE, "updated_at": now()})
    .returning(*MOVED, assignments.HOLDS)
)
SETTLE = (
    containers.update().where(THE_ROW, over(), no_live_child()).values({**settled(), **over_now()}).returning(*ENDED)
)
CAN_SETTLE = sa.select(sa.literal(1)).where(THE_ROW, over(), no_live_child())


def end(connection: sa.Connection, container_id: str, epoch: int, ending: Ending) -> Moved | None:
    """Write an execution's own ending; None for a stale one. The caller holds the row's `lock`.

    Without a live attached child the row becomes terminal; else only the outcome is kept and the slot given back.
    """
    told = {
        "the_id": container_id,
        "its_epoch": epoch,
        "its_outcome": ending.outcome.value,
        "its_exit_code": ending.exit_code,
        "its_exit_message": ending.exit_message,
        "its_result": ending.result,
        "iterations_done": 1 if ending.outcome is Status.COMPLETED else 0,
    }
    ended = connection.execute(END, told).first()
    row = ended or connection.execute(END_LATER, told).first()
    if row is not None and row.holds and ending.outcome is Status.FAILED and not ending.forgiven:
        quarantines.strike(connection, row.id, row.player_id, ending.exit_message or "")
    return _finished(connection, ended) or (None if row is None else moved(row))


def settle(connection: sa.Connection, container_id: str) -> Moved | None:
    """End a parent whose body is over, if its last child has ended. The caller holds the row's `lock`."""
    return _finished(connection, connection.execute(SETTLE, {"the_id": container_id}).first())


def can_settle(connection: sa.Connection, container_id: str) -> bool:
    """True if nothing holds the row back from ending, as far as can be seen without its lock."""
    return connection.execute(CAN_SETTLE, {"the_id": container_id}).first() is not None


def unsettled(connection: sa.Connection, limit: int = 1_000) -> list[str]:
    """Rows that nothing holds back from ending: what a crash between end and settle left."""
    return list(connection.execute(sa.select(c.id).where(over(), no_live_child()).limit(limit)).scalars())


def lose_stopping(connection: sa.Connection, held: Any, *, was_killed: bool) -> Moved | None:
    """Take a STOPPING row from an execution that is proven gone: STOPPED once no attached child lives.

    held: the row as `runs.lock` returned it; the caller still holds it.
    """
    message = held.stop_message or STOPPED_BY_USER
    if message == STOPPED_BY_USER and not was_killed:
        message = STOPPED_NOT_RUNNING
    gone = {**OFF_NODE, "outcome": Status.STOPPED.value, "stop_message": message, "updated_at": now()}
    taken = containers.update().where(c.id == held.id, c.epoch == held.epoch, c.node == held.node)
    row = connection.execute(taken.values(gone).returning(*MOVED)).first()
    if row is None:
        return None
    after = settle(connection, held.id) or moved(row)
    totals.add(connection, Counter.STOP_FAILURES, StopFailure.CONTEXT_CANCELED)
    return after


def give_up(connection: sa.Connection, container_id: str, epoch: int, why: str, *, node: str) -> bool:
    """Note that a STOPPING execution cannot be ended (threads, unkillable): its parent no longer waits for it."""
    mine = sa.and_(c.id == container_id, c.epoch == epoch, c.node == node)
    stuck = sa.and_(mine, c.status == Status.STOPPING.value, c.stop_error.is_(None))
    noted = connection.execute(containers.update().where(stuck).values(stop_error=why, updated_at=now())).rowcount == 1
    if noted:
        totals.add(connection, Counter.STOP_FAILURES, StopFailure.TIMEOUT)
    return noted


def _finished(connection: sa.Connection, row: Any) -> Moved | None:
    """What belongs to a terminal status, in its transaction: the transition, the resources, the stop that asked."""
    if row is None:
        return None
    transitions.note(connection, row, by=None, why=row.exit_message)
    if row.holds:
        if row.status == Status.COMPLETED:
            quarantines.lift(connection, row.id, row.player_id)
        assignments.release(connection, row.id, why=row.status)
    if row.previous_status == Status.STOPPING or row.status == Status.FAILED:  # no stop names any other row
        stops.finish(connection, sa.select(sa.literal(row.id)))
    return moved(row)

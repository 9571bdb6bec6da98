"""Executions: claim, rest, end, settle, lose. Each status change is one guarded UPDATE (design, section 3)."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from lifecycle.domain.container import Container
from lifecycle.domain.ending import Ending
from lifecycle.domain.policy import EXIT_STOPPED, STOPPED_BY_USER, STOPPED_NOT_RUNNING
from lifecycle.domain.status import TERMINAL, Status
from lifecycle.store import assignments, stops, transitions
from lifecycle.store.clock import later, now
from lifecycle.store.containers import COLUMNS, with_tags
from lifecycle.store.tables import containers, live, nodes, startable

c = containers.c
child = containers.alias("child")  # made once: an alias copies every column, and a mark needs one a level
OFF_NODE: dict[Any, Any] = {"node": None, "pid": None, "pid_started": None}


@dataclass(frozen=True, slots=True)
class Moved:
    """A row after a change: its status now, and its place in the tree."""

    id: str
    status: Status
    parent_container_id: str | None
    detached: bool
    root_id: str
    player_id: int | None

    @property
    def parent(self) -> str | None:
        """The parent that may have waited for it: an attached one."""
        return None if self.detached else self.parent_container_id

    @property
    def ended(self) -> bool:
        """True if the change ended it: its parent is to be settled."""
        return self.status in TERMINAL


def waited_for() -> sa.ColumnElement[bool]:
    """`child` is a live attached child of a row of `containers`, and not one that could not be stopped."""
    return sa.and_(
        child.c.parent_container_id == c.id,
        live(child),
        child.c.detached == sa.false(),
        child.c.stop_error.is_(None),
    )


def no_live_child() -> sa.ColumnElement[bool]:
    """No attached child lives; one that could not be stopped (`stop_error`) is not waited for."""
    return ~sa.exists(sa.select(sa.literal(1)).where(waited_for()).correlate(containers))


def has_live_child(connection: sa.Connection, container_id: str) -> bool:
    """True if the container has an attached child to be waited for."""
    waits = sa.select(sa.literal(1)).where(c.id == container_id, sa.not_(no_live_child()))
    return connection.execute(waits).first() is not None


def claim(connection: sa.Connection, container_id: str, *, node: str, pid: int, pid_started: int) -> Container | None:
    """Take a row for execution, `epoch + 1`; None if it is not to be run now or not by this node."""
    this_node_lives = sa.exists(sa.select(sa.literal(1)).where(nodes.c.id == node, nodes.c.dead == sa.false()))
    due = sa.or_(c.wake_at.is_(None), c.wake_at <= now())
    fresh = sa.or_(c.expires_at.is_(None), c.expires_at > now(), c.epoch > 0)
    taken = (
        containers.update()
        .where(c.id == container_id, startable(), due, fresh, this_node_lives)
        .values(
            status=Status.RUNNING.value,
            previous_status=c.status,
            epoch=c.epoch + 1,
            node=node,
            pid=pid,
            pid_started=pid_started,
            wake_at=None,
            started_at=sa.func.coalesce(c.started_at, now()),
            updated_at=now(),
        )
        .returning(*COLUMNS)
    )
    row = connection.execute(taken).first()
    if row is None:
        return None
    woken = c.previous_status == Status.RUNNING.value
    transitions.record(connection, sa.and_(c.id == container_id, sa.not_(woken)), by=node, why=None)
    return with_tags(connection, [row])[0]


def rest(
    connection: sa.Connection,
    container_id: str,
    epoch: int,
    *,
    seconds: float,
    iterations: int = 0,
    state: Any = None,
    message: Any = None,
) -> bool:
    """Give the slot back until `seconds` from now; False if the row is not this execution's or is being stopped."""
    values: dict[str, Any] = {
        **OFF_NODE,
        "wake_at": later(now(), seconds),
        "dispatched_at": None,
        "current_iteration": c.current_iteration + iterations,
        "updated_at": now(),
    }
    if state is not None:
        values["state"] = state
    if message is not None:
        values["message"] = message
    resting = containers.update().where(
        c.id == container_id, c.epoch == epoch, c.status == Status.RUNNING.value, c.node.is_not(None)
    )
    return connection.execute(resting.values(values)).rowcount == 1


def waits_for_signal(connection: sa.Connection, container_id: str) -> str | None:
    """The node of a STOPPING execution that no live attached child holds back any more."""
    waits = sa.and_(c.id == container_id, c.status == Status.STOPPING.value, c.node.is_not(None), no_live_child())
    return connection.execute(sa.select(c.node).where(waits)).scalar()


def count_iteration(connection: sa.Connection, container_id: str, epoch: int) -> bool:
    """One more iteration done by an execution that goes on; False if it is being stopped, or was taken over."""
    mine = sa.and_(c.id == container_id, c.epoch == epoch, c.node.is_not(None), c.status == Status.RUNNING.value)
    counted = containers.update().where(mine).values(current_iteration=c.current_iteration + 1, updated_at=now())
    return connection.execute(counted).rowcount == 1


def lock(connection: sa.Connection, container_id: str) -> Container | None:
    """The row, locked `FOR NO KEY UPDATE`: waits for spawners under it; decide in a new statement after this one."""
    query = sa.select(*COLUMNS).where(c.id == container_id).with_for_update(key_share=True)
    row = connection.execute(query).first()
    return with_tags(connection, [row])[0] if row is not None else None


def look(connection: sa.Connection, container_id: str) -> Moved:
    """A row as it stands, for who has just changed it."""
    row = connection.execute(sa.select(*MOVED).where(c.id == container_id)).one()
    return Moved(row.id, Status(row.status), *row[2:6])


def end(connection: sa.Connection, container_id: str, epoch: int, ending: Ending) -> Moved | None:
    """Write an execution's own ending; None for a stale one. The caller holds the row's `lock`.

    Without a live attached child the row becomes terminal; else only the outcome is kept and the slot given back.
    """
    mine = sa.and_(c.id == container_id, c.epoch == epoch, c.node.is_not(None), live())
    message: Any = ending.exit_message
    if ending.outcome is Status.STOPPED:
        message = sa.func.coalesce(c.stop_message, STOPPED_BY_USER)
    told: dict[str, Any] = {"exit_code": ending.exit_code, "exit_message": message, "result": ending.result}
    done = 1 if ending.outcome is Status.COMPLETED else 0
    terminal = {**told, "status": ending.outcome.value, "current_iteration": c.current_iteration + done}
    moved = _finish(connection, sa.and_(mine, no_live_child()), terminal, by=None)
    if moved is not None:
        return moved
    waiting = {
        **told,
        **OFF_NODE,
        "outcome": ending.outcome.value,
        "current_iteration": c.current_iteration + done,
        "updated_at": now(),
    }
    return _moved(connection.execute(containers.update().where(mine).values(waiting).returning(*MOVED)).first())


def settle(connection: sa.Connection, container_id: str) -> Moved | None:
    """End a parent whose body is over, if its last child has ended. The caller holds the row's `lock`."""
    return _finish(connection, sa.and_(c.id == container_id, over(), no_live_child()), settled(), by=None)


def over() -> sa.ColumnElement[bool]:
    """Rows without execution that wait only for their children."""
    return sa.and_(live(), c.node.is_(None), sa.or_(c.outcome.is_not(None), c.status == Status.STOPPING.value))


def settled() -> dict[str, Any]:
    """What a parent becomes: FAILED if its body failed, else STOPPED if it was being stopped, else COMPLETED."""
    failed = c.outcome == Status.FAILED.value
    is_stopped = sa.and_(c.status == Status.STOPPING.value, sa.or_(c.outcome.is_(None), sa.not_(failed)))
    return {
        "status": sa.case((failed, Status.FAILED.value), (is_stopped, Status.STOPPED.value), else_="COMPLETED"),
        "exit_code": sa.case((is_stopped, EXIT_STOPPED), else_=c.exit_code),
        "exit_message": sa.case((is_stopped, sa.func.coalesce(c.stop_message, STOPPED_BY_USER)), else_=c.exit_message),
    }


def lose(
    connection: sa.Connection, container_id: str, epoch: int, *, node: str, why: str, was_killed: bool = False
) -> Moved | None:
    """Take a row from an execution that is proven gone; None if it is no longer that execution's.

    A RUNNING one is INTERRUPTED; a STOPPING one is over: STOPPED once no attached child lives.
    """
    held = lock(connection, container_id)
    if held is None or held.epoch != epoch or held.node != node or held.is_ended:
        return None
    where = sa.and_(c.id == container_id, c.epoch == epoch, c.node == node)
    if held.status is not Status.STOPPING:
        values = {
            **OFF_NODE,
            "status": Status.INTERRUPTED.value,
            "previous_status": c.status,
            "exit_message": why,
            "updated_at": now(),
        }
        row = connection.execute(containers.update().where(where).values(values).returning(*MOVED)).first()
        transitions.record(connection, c.id == container_id, by=node, why=why)
        return _moved(row)
    message = held.stop_message or STOPPED_BY_USER
    if message == STOPPED_BY_USER and not was_killed:
        message = STOPPED_NOT_RUNNING
    gone = {**OFF_NODE, "outcome": Status.STOPPED.value, "stop_message": message, "updated_at": now()}
    row = connection.execute(containers.update().where(where).values(gone).returning(*MOVED)).first()
    return settle(connection, container_id) or _moved(row)


def give_up(connection: sa.Connection, container_id: str, epoch: int, why: str, *, node: str) -> bool:
    """Note that a STOPPING execution cannot be ended (threads, unkillable): its parent no longer waits for it."""
    mine = sa.and_(c.id == container_id, c.epoch == epoch, c.node == node)
    stuck = sa.and_(mine, c.status == Status.STOPPING.value, c.stop_error.is_(None))
    return connection.execute(containers.update().where(stuck).values(stop_error=why, updated_at=now())).rowcount == 1


def over_now() -> dict[str, Any]:
    """What every ended row has in common."""
    times = {"stopped_at": now(), "updated_at": now()}
    return {**OFF_NODE, "previous_status": c.status, "wake_at": None, "stop_error": None, **times}


def unsettled(connection: sa.Connection, limit: int = 1_000) -> list[str]:
    """Rows that nothing holds back from ending: what a crash between end and settle left."""
    return list(connection.execute(sa.select(c.id).where(over(), no_live_child()).limit(limit)).scalars())


MOVED = (c.id, c.status, c.parent_container_id, c.detached, c.root_id, c.player_id)


def _moved(row: Any) -> Moved | None:
    return None if row is None else Moved(row.id, Status(row.status), *row[2:6])


def _finish(
    connection: sa.Connection, which: sa.ColumnElement[bool], values: dict[str, Any], *, by: str | None
) -> Moved | None:
    """The one way to a terminal status: the row, its transition, its resources, its stop, in one transaction."""
    written = {**values, **over_now()}
    ended = containers.update().where(which).values(written).returning(*MOVED, c.exit_message)
    row = connection.execute(ended).first()
    if row is None:
        return None
    transitions.record(connection, c.id == row.id, by=by, why=row.exit_message)
    assignments.release(connection, row.id, why=row.status)
    stops.finish(connection, sa.select(sa.literal(row.id)))
    return _moved(row)

"""Executions: claim, rest, and what can be seen of one. How they end is in `endings`.

What every run of a container executes is built once, here: building a statement costs more than running it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lifecycle.domain.container import Container
from lifecycle.domain.policy import EXIT_STOPPED, STOPPED_BY_USER
from lifecycle.domain.status import TERMINAL, Status
from lifecycle.store import transitions
from lifecycle.store.clock import UtcDateTime, later, now
from lifecycle.store.containers import COLUMNS, THE_ROW, from_row
from lifecycle.store.tables import Json, containers, live, nodes, startable

c = containers.c
child = containers.alias("child")  # made once: an alias copies every column, and a mark needs one a level
OFF_NODE: dict[Any, Any] = {"node": None, "pid": None, "pid_started": None}
UNSENT: dict[Any, Any] = {"dispatched_at": None, "dispatch_count": 0}
"""Of a row that is to run again: a message lost then is looked for as soon as that of a new row."""
ITS_EPOCH = sa.and_(THE_ROW, c.epoch == sa.bindparam("its_epoch"))
ITS_RUN = sa.and_(ITS_EPOCH, c.status == Status.RUNNING.value, c.node.is_not(None))
ITS_LIFE = sa.and_(ITS_EPOCH, live(), c.node.is_not(None))


@dataclass(frozen=True, slots=True)
class Moved:
    """A row after a change: its status now, and its place in the tree."""

    id: str
    status: Status
    parent_container_id: str | None
    detached: bool
    root_id: str
    player_id: int | None
    previous: Status | None = None
    """Its status before, where the change was one of status."""
    lost: str | None = None
    """Why its run was given up for good, where that was told to nobody: Celery is to hear of it."""

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


def settled() -> dict[str, Any]:
    """What a parent becomes: FAILED if its body failed, else STOPPED if it was being stopped, else COMPLETED."""
    failed = c.outcome == Status.FAILED.value
    is_stopped = sa.and_(c.status == Status.STOPPING.value, sa.or_(c.outcome.is_(None), sa.not_(failed)))
    return {
        "status": sa.case((failed, Status.FAILED.value), (is_stopped, Status.STOPPED.value), else_="COMPLETED"),
        "exit_code": sa.case((is_stopped, EXIT_STOPPED), else_=c.exit_code),
        "exit_message": sa.case((is_stopped, sa.func.coalesce(c.stop_message, STOPPED_BY_USER)), else_=c.exit_message),
    }


def over_now() -> dict[str, Any]:
    """What every ended row has in common."""
    times = {"stopped_at": now(), "updated_at": now()}
    return {**OFF_NODE, "previous_status": c.status, "wake_at": None, "stop_error": None, **times}


_its_node = sa.bindparam("its_node", type_=sa.String)
CLAIM = (
    containers.update()
    .where(
        THE_ROW,
        startable(),
        sa.or_(c.wake_at.is_(None), c.wake_at <= now()),
        sa.or_(c.expires_at.is_(None), c.expires_at > now(), c.epoch > 0),
        sa.exists(sa.select(sa.literal(1)).where(nodes.c.id == _its_node, nodes.c.dead == sa.false())),
    )
    .values(
        status=Status.RUNNING.value,
        previous_status=c.status,
        epoch=c.epoch + 1,
        node=_its_node,
        pid=sa.bindparam("its_pid"),
        pid_started=sa.bindparam("its_pid_started"),
        wake_at=None,
        attempt=None,
        exit_message=None,  # of the interruption it comes from
        resumed_at=sa.case((c.status == Status.PENDING.value, now()), else_=c.resumed_at),
        started_at=sa.func.coalesce(c.started_at, now()),
        updated_at=now(),
    )
    .returning(*COLUMNS, c.previous_status)
)


def claim(connection: sa.Connection, container_id: str, *, node: str, pid: int, pid_started: int) -> Container | None:
    """Take a row for execution, `epoch + 1`; None if it is not to be run now or not by this node."""
    by = {"its_node": node, "its_pid": pid, "its_pid_started": pid_started}
    row = connection.execute(CLAIM, {"the_id": container_id, **by}).first()
    if row is None:
        return None
    if row.previous_status != Status.RUNNING:  # a container that wakes has been RUNNING all the time
        transitions.note(connection, row, by=node, why=None)
    return from_row(row)


def rest(
    connection: sa.Connection,
    container_id: str,
    epoch: int,
    *,
    until: datetime | float,
    iterations: int = 0,
    state: Any = None,
    message: Any = None,
) -> bool:
    """Give the slot back until a time, or for seconds; False if the row is not this execution's or is being stopped."""
    wake_at = sa.literal(until, UtcDateTime) if isinstance(until, datetime) else later(now(), until)
    values: dict[str, Any] = {**OFF_NODE, **UNSENT, "wake_at": wake_at, "updated_at": now()}
    if iterations:
        values["current_iteration"] = c.current_iteration + iterations
    if state is not None:
        values["state"] = state
    if message is not None:
        values["message"] = message
    resting = containers.update().where(ITS_RUN).values(values)
    return connection.execute(resting, {"the_id": container_id, "its_epoch": epoch}).rowcount == 1


def waits_for_signal(connection: sa.Connection, container_id: str) -> str | None:
    """The node of a STOPPING execution that no live attached child holds back any more."""
    waits = sa.and_(c.id == container_id, c.status == Status.STOPPING.value, c.node.is_not(None), no_live_child())
    return connection.execute(sa.select(c.node).where(waits)).scalar()


COUNT = containers.update().where(ITS_RUN).values(current_iteration=c.current_iteration + 1, updated_at=now())
KEEP = containers.update().where(ITS_LIFE).values(state=sa.bindparam("its_state", type_=Json), updated_at=now())


def count_iteration(connection: sa.Connection, container_id: str, epoch: int) -> bool:
    """One more iteration done by an execution that goes on; False if it is being stopped, or was taken over."""
    return connection.execute(COUNT, {"the_id": container_id, "its_epoch": epoch}).rowcount == 1


def keep_state(connection: sa.Connection, container_id: str, epoch: int, state: dict[str, Any]) -> bool:
    """Record what the container is to know when it runs again; False if another execution took over."""
    return connection.execute(KEEP, {"the_id": container_id, "its_epoch": epoch, "its_state": state}).rowcount == 1


HELD = sa.select(c.id, c.status, c.epoch, c.node, c.stop_message).where(THE_ROW)
LOCK, LOCK_IF_FREE = (HELD.with_for_update(key_share=True, skip_locked=skip) for skip in (False, True))


def lock(connection: sa.Connection, container_id: str, *, wait: bool = True) -> Any:
    """The row, locked `FOR NO KEY UPDATE`: waits for spawners under it; decide in a new statement after this one.

    wait: else None for one that another holds, who may never commit; a pass comes again.
    """
    return connection.execute(LOCK if wait else LOCK_IF_FREE, {"the_id": container_id}).first()


def look(connection: sa.Connection, container_id: str) -> Moved:
    """A row as it stands, for who has just changed it."""
    return moved(connection.execute(sa.select(*MOVED).where(THE_ROW), {"the_id": container_id}).one())


MOVED = (c.id, c.status, c.parent_container_id, c.detached, c.root_id, c.player_id, c.previous_status)


def moved(row: Any) -> Moved:
    """A row of the columns MOVED as a value."""
    previous = None if row.previous_status is None else Status(row.previous_status)
    place = (row.parent_container_id, row.detached, row.root_id, row.player_id)
    return Moved(row.id, Status(row.status), *place, previous)

"""Ending: an execution's own ending, then the settling of each parent that waited, each its own transaction."""

import logging
from typing import Any

from lifecycle.domain.ending import Ending
from lifecycle.domain.policy import STOPPED_BY_ITSELF
from lifecycle.domain.status import Status
from lifecycle.errors import ExecutionSuperseded
from lifecycle.store import endings, marks, runs, stops
from lifecycle.store.engine import Connection, Database
from lifecycle.store.runs import Moved

log = logging.getLogger("lifecycle.end")


def end(database: Database, container_id: str, epoch: int, ending: Ending) -> list[Moved]:
    """Write how the execution of `epoch` ended, then settle upwards; every row that changed, its own first.

    A failed body marks its descendants in the same transaction. Raises ExecutionSuperseded for a stale epoch.
    """
    changed = end_own(database, container_id, epoch, ending)
    return [*changed, *settle(database, changed[0])]


def end_own(database: Database, container_id: str, epoch: int, ending: Ending) -> list[Moved]:
    """The first transaction of `end`: the container's own row, and the marks that go with its ending."""
    with database.begin() as connection:
        held = runs.lock(connection, container_id)
        if held is None or held.epoch != epoch or held.node is None:
            raise ExecutionSuperseded(f"{container_id} epoch {epoch} is not the one that runs")
        gone = mark_with(connection, container_id, held.status, ending)
        moved = endings.end(connection, container_id, epoch, ending)
        if moved is None:  # in the transaction: what was marked with it goes back
            raise ExecutionSuperseded(f"{container_id} epoch {epoch} has ended before")
    return [moved, *gone]


def mark_with(connection: Connection, container_id: str, status: str, ending: Ending) -> list[Moved]:
    """What has to go with this ending: the children of a failed body, or the tree of one that stopped itself.

    Returns what ended at once. A row that is STOPPING has nothing left to mark.
    """
    if status == Status.STOPPING:
        return []
    if ending.outcome is Status.FAILED and runs.has_live_child(connection, container_id):
        why = f"parent failed: {ending.exit_message}"
        marked = marks.mark_below(connection, container_id, by=container_id, reason=why)
    elif ending.outcome is Status.STOPPED:
        marked = marks.mark(
            connection, container_id, by=container_id, reason="stopped itself", grace=None, message=STOPPED_BY_ITSELF
        )
    else:
        return []
    return stops.ended_by(connection, marked.stop_id)


def settle(database: Database, moved: Moved) -> list[Moved]:
    """End every parent above `moved` that only waited for its last child, each in a new transaction.

    First `moved` itself, if it waits: its last child may have ended, and looked, while its own ending was open.
    """
    changed: list[Moved] = []
    waiting = moved.parent if moved.ended else moved.id
    while waiting is not None and (settled := settle_one(database, waiting)) is not None:
        changed.append(settled)
        waiting = settled.parent
    return changed


def settle_one(database: Database, container_id: str, *, wait: bool = True) -> Moved | None:
    """End one parent whose body is over, if no attached child lives; not wait: if nobody holds its row.

    Looked at first without its lock, which every child would queue for: who ended last sees all the others ended.
    """
    with database.read() as connection:
        if not endings.can_settle(connection, container_id):
            return None
    with database.begin(impatient=not wait) as connection:
        if runs.lock(connection, container_id, wait=wait) is None:
            return None
        return endings.settle(connection, container_id)


def about(row: Any) -> str:
    """Which container an event is about, and where it belongs."""
    return f"container={row.id} parent={row.parent_container_id} root={row.root_id} player={row.player_id}"

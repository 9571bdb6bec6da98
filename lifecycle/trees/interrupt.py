"""Interrupting: an execution that is cut off goes on later, once its restarts are not spent (design, section 3)."""

import logging
from dataclasses import dataclass, replace
from typing import Any

from lifecycle.domain.ending import failed
from lifecycle.domain.policy import Restarts
from lifecycle.domain.status import TERMINAL, Status
from lifecycle.errors import ExecutionSuperseded
from lifecycle.store import endings, interrupts, runs
from lifecycle.store.engine import Connection, Database
from lifecycle.store.runs import Moved
from lifecycle.trees.end import about, mark_with, settle

log = logging.getLogger("lifecycle.interrupt")
RESTARTS = Restarts()


@dataclass(frozen=True, slots=True)
class Cut:
    """Why an execution is cut off, and when its container goes on."""

    why: str
    wait: float | None = None
    """Seconds until it goes on, free of charge; None: as the container's restarts say, of which one is used up."""
    attempt: str | None = None
    """What it waits for, where that is no restart: "retry 1/5"."""
    message: dict[str, Any] | None = None
    """The message that starts it again, where that is another one."""
    is_final: bool = False
    """True if it does not go on whatever restarts it has, and Celery has said so itself."""


def interrupt(
    database: Database, container_id: str, epoch: int, cut: Cut, restarts: Restarts = RESTARTS
) -> list[Moved] | None:
    """Cut off an execution that is leaving; every row that changed, its own first. None: it is being stopped.

    FAILED if its restarts are spent. Raises ExecutionSuperseded for a stale epoch.
    """
    with database.begin() as connection:
        held = runs.lock(connection, container_id)
        if held is None or held.epoch != epoch or held.node is None or held.status in TERMINAL:
            raise ExecutionSuperseded(f"{container_id} epoch {epoch} is not the one that runs")
        if held.status == Status.STOPPING:
            return None
        changed = _cut_off(connection, held, cut, restarts)
    return [*changed, *settle(database, changed[0])]


def lose(
    database: Database,
    container_id: str,
    epoch: int,
    *,
    node: str,
    cut: Cut,
    restarts: Restarts = RESTARTS,
    was_killed: bool = False,
) -> list[Moved]:
    """Take the row from an execution that is proven gone, then settle upwards; every row that changed."""
    changed = lose_one(database, container_id, epoch, node=node, cut=cut, restarts=restarts, was_killed=was_killed)
    if not changed:
        return []
    log.warning(
        "execution gone %s epoch=%s node=%s why=%s now=%s", about(changed[0]), epoch, node, cut.why, changed[0].status
    )
    return [*changed, *settle(database, changed[0])]


def lose_one(
    database: Database,
    container_id: str,
    epoch: int,
    *,
    node: str,
    cut: Cut,
    restarts: Restarts = RESTARTS,
    was_killed: bool = False,
) -> list[Moved]:
    """The first transaction of `lose`: the row itself first; nothing if it is no longer that execution's.

    INTERRUPTED, or FAILED once its restarts are spent; one that is being stopped is over. One whose row another holds
    is left for the next time: a spawner's transaction may be its user's, and open for long.
    """
    with database.begin(impatient=True) as connection:
        held = runs.lock(connection, container_id, wait=False)
        if held is None or held.epoch != epoch or held.node != node or held.status in TERMINAL:
            return []
        if held.status != Status.STOPPING:
            return _cut_off(connection, held, cut, restarts)
        moved = endings.lose_stopping(connection, held, was_killed=was_killed)
        return [] if moved is None else [moved]


def _cut_off(connection: Connection, held: Any, cut: Cut, restarts: Restarts) -> list[Moved]:
    """INTERRUPTED, as long as there are restarts left."""
    if cut.is_final:
        return _fail(connection, held, cut.why, lost=None)
    if cut.wait is not None:
        how: dict[str, Any] = {"wait": cut.wait, "attempt": cut.attempt}
    else:
        count, allowed, healthy_for = interrupts.budget(connection, held.id)
        used = restarts.used(count, healthy_for)
        if used >= allowed:
            why = f"{cut.why}, after {allowed} restarts" if allowed else cut.why
            return _fail(connection, held, why, lost=why)
        how = {"wait": restarts.wait(used), "attempt": f"restart {used + 1}/{allowed}", "restart_count": used + 1}
    how |= {"node": held.node, "why": cut.why, "message": cut.message}
    moved = interrupts.interrupt(connection, held.id, held.epoch, **how)
    if moved is None:
        raise ExecutionSuperseded(f"{held.id} epoch {held.epoch} is not the one that runs")
    return [moved]


def _fail(connection: Connection, held: Any, why: str, *, lost: str | None) -> list[Moved]:
    """It does not go on: as if its body had failed, with all that goes with it."""
    ending = failed(why)
    gone = mark_with(connection, held.id, held.status, ending)
    moved = endings.end(connection, held.id, held.epoch, ending)
    if moved is None:
        raise ExecutionSuperseded(f"{held.id} epoch {held.epoch} is not the one that runs")
    return [replace(moved, lost=lost), *gone]

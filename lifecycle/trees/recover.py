"""Recovery: what was interrupted goes on, once, and after all that its cut-off run has left (design, section 7)."""

import logging
from dataclasses import dataclass
from typing import Any

from lifecycle.domain.policy import Restarts
from lifecycle.store import interrupts, nodes, runs
from lifecycle.store.engine import Database
from lifecycle.store.runs import Moved
from lifecycle.trees.doorbell import Doorbell, tell
from lifecycle.trees.end import about
from lifecycle.trees.interrupt import RESTARTS
from lifecycle.trees.sweep import one_by_one, sweep_nodes

log = logging.getLogger("lifecycle.recover")
BATCH = 200  # containers that go on in one transaction


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery did, or (dry run) would do: ids of containers."""

    lost: tuple[str, ...] = ()
    """Their node was found dead: they are INTERRUPTED now, or have ended."""
    superseded: tuple[str, ...] = ()
    """Left by an execution that was cut off: they are stopped, and spawned again."""
    resumed: tuple[str, ...] = ()
    """They are PENDING, and start on any node."""
    waiting: tuple[Any, ...] = ()
    """Rows of those that are INTERRUPTED still: their time has not come, or what they left has not ended."""

    @property
    def found(self) -> int:
        """How many containers it changed."""
        return len(self.lost) + len(self.superseded) + len(self.resumed)


def recover(
    database: Database, doorbell: Doorbell, restarts: Restarts = RESTARTS, *, may_reap: bool = True
) -> Recovered:
    """One full pass: dead nodes, what cut-off executions left, what may go on. Safe at once on many nodes.

    may_reap: also declare nodes dead whose lease ran out.
    """
    lost = sweep_nodes(database, restarts, may_reap=may_reap)
    superseded, ended = supersede(database)
    resumed = resume(database)
    tell(doorbell, [*lost, *ended])
    if superseded:
        doorbell.ring(superseded[0], 0)
    with database.read() as connection:
        waiting = tuple(interrupts.waiting(connection))
    lost_ids, resumed_ids = (tuple(moved.id for moved in each) for each in (lost, resumed))
    return Recovered(lost_ids, tuple(superseded), resumed_ids, waiting)


def preview(database: Database) -> Recovered:
    """What a recovery has to do with: what dead nodes ran, and every INTERRUPTED container, the next first."""
    with database.read() as connection:
        lost, waiting = nodes.rows_on_silent_nodes(connection), interrupts.waiting(connection)
    return Recovered(lost=tuple(lost), waiting=tuple(waiting))


def supersede(database: Database, seconds: float | None = None) -> tuple[list[str], list[Moved]]:
    """Stop what cut-off executions have left: their containers spawn it again. All of these, and what ended at once.

    seconds: begin none after so long.
    """
    with database.read() as connection:
        found = interrupts.superseding(connection, BATCH)
    marked: list[str] = []
    changed: list[Moved] = []
    for asked, ended in one_by_one(found, lambda each: supersede_one(database, *each), seconds):
        marked += asked
        changed += ended
    return marked, changed


def supersede_one(database: Database, container_id: str, epoch: int) -> tuple[list[str], list[Moved]]:
    """Stop the children of one cut-off execution, in one transaction. It settles whatever waits for them below."""
    with database.begin(impatient=True) as connection:
        held = runs.lock(connection, container_id, wait=False)
        if held is None or not interrupts.is_superseding(connection, container_id, epoch):
            return [], []
        skipped = interrupts.left_interrupted(connection, container_id, epoch)
        superseded = interrupts.supersede(connection, container_id, epoch)
    for child in skipped:
        log.info("Skipping recovery of child %s - parent %s will handle", child, container_id)
    log.warning("children of a lost run are stopped container=%s count=%d", container_id, len(superseded[0]))
    return superseded


def resume(database: Database) -> list[Moved]:
    """Make every container PENDING that may go on; a dispatcher starts it. Looked at first: a look takes no lock."""
    with database.read() as connection:
        if not interrupts.is_any_ready(connection):
            return []
    changed: list[Moved] = []
    while True:
        with database.begin() as connection:
            resumed = interrupts.resume(connection, BATCH)
        changed += resumed
        for moved in resumed:
            log.info("container goes on %s", about(moved))
        if len(resumed) < BATCH:
            return changed

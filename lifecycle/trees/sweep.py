"""The orphan detector: finding what lost its parent, its node or its end, and ending it (design, section 7)."""

import logging
import math
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lifecycle.domain.counters import Counter
from lifecycle.domain.policy import (
    INTERRUPTED_NODE_DOWN,
    INTERRUPTED_NODE_LOST,
    STOPPED_BY_USER,
    STOPPED_EXPIRED,
    STOPPED_ORPHAN,
    Restarts,
)
from lifecycle.errors import StoreBusy
from lifecycle.store import dispatches, endings, marks, nodes, orphans, runs, stops, totals
from lifecycle.store.engine import Database
from lifecycle.store.runs import Moved
from lifecycle.trees.doorbell import Doorbell, tell
from lifecycle.trees.end import settle, settle_one
from lifecycle.trees.interrupt import RESTARTS, Cut, lose

log = logging.getLogger("lifecycle.sweep")
T = TypeVar("T")
R = TypeVar("R")
BATCH = 100  # containers ended one by one in a pass
TREES = 1_000  # orphans marked in one transaction
BY = "sweep"
NODE_LOST = Cut(INTERRUPTED_NODE_LOST)
NODE_DOWN = Cut(INTERRUPTED_NODE_DOWN, wait=0.0)  # no fault of what ran there: it costs no restart


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did, or (dry run) would do: ids of containers."""

    orphans: tuple[str, ...] = ()
    """Attached containers whose parent had ended or was missing; what is below them went with them."""
    by_hand: tuple[str, ...] = ()
    """STOPPING by hand: from now on as after a stop."""
    lost: tuple[str, ...] = ()
    """Their node was dead."""
    settled: tuple[str, ...] = ()
    """Nothing held them back from ending."""
    released: tuple[str, ...] = ()
    """Resources whose holder had ended."""

    @property
    def found(self) -> int:
        """How many containers and resources it mended."""
        return sum(map(len, (self.orphans, self.by_hand, self.lost, self.settled, self.released)))


def sweep(database: Database, doorbell: Doorbell, restarts: Restarts = RESTARTS, *, may_reap: bool = True) -> Swept:
    """One full pass. Never takes a container for waiting, a root, or a child of an INTERRUPTED parent.

    Safe at once on many nodes: each change asks again for what it was found by.
    """
    lost = sweep_nodes(database, restarts, may_reap=may_reap)
    settled = sweep_unsettled(database) + sweep_expired(database)
    found, by_hand = sweep_orphans(database, doorbell), sweep_by_hand(database, doorbell)
    if found or by_hand:  # what waited for them alone
        settled += sweep_unsettled(database)
    tell(doorbell, [*lost, *settled])
    released = sweep_owed(database)
    return Swept(
        orphans=tuple(found),
        by_hand=tuple(by_hand),
        lost=tuple(moved.id for moved in lost),
        settled=tuple(moved.id for moved in settled),
        released=tuple(released),
    )


def preview(database: Database) -> Swept:
    """What a sweep would find now."""
    with database.read() as connection:
        found, by_hand = orphans.orphans(connection, TREES), orphans.stopped_by_hand(connection, TREES)
        lost = nodes.rows_on_silent_nodes(connection)
        unsettled, owed = endings.unsettled(connection), orphans.owed(connection, TREES)
    return Swept(
        orphans=tuple(row.id for row in found),
        by_hand=tuple(row.id for row in by_hand if row.id not in unsettled),
        lost=tuple(lost),
        settled=tuple(unsettled),
        released=tuple(row.resource for row in owed),
    )


def sweep_orphans(database: Database, doorbell: Doorbell) -> list[str]:
    """End what lost its parent, and all below it; ids of the orphans."""
    ended: list[str] = []
    while True:
        with database.begin() as connection:
            found = orphans.orphans(connection, TREES, lock=True)
            marked = marks.mark_all(connection, found, by=BY, message=STOPPED_ORPHAN) if found else None
            if found:
                totals.add(connection, Counter.ORPHANS, value=len(found))
        for row in found:
            log.warning("Detected orphaned worker %s, cleaning up parent=%s", row.id, row.parent_container_id)
        if marked is not None:
            _follow(database, doorbell, marked, found)
        ended += [row.id for row in found]
        if len(found) < TREES:
            break
    if ended:
        log.info("Cleaned up %d orphaned workers", len(ended))
    return ended


def sweep_by_hand(database: Database, doorbell: Doorbell) -> list[str]:
    """Give a STOPPING row that a hand wrote the deadline and the rest of a stop; ids of them."""
    with database.begin() as connection:
        found = orphans.stopped_by_hand(connection, TREES, lock=True)
        marked = marks.mark_all(connection, found, by="hand", message=STOPPED_BY_USER) if found else None
    for row in found:
        log.warning("STOPPING without a stop, stopped container=%s", row.id)
    if marked is not None:
        _follow(database, doorbell, marked, found)
    return [row.id for row in found]


def sweep_owed(database: Database) -> list[str]:
    """Release what the holders that have ended did not; names of the resources."""
    with database.begin() as connection:
        released = orphans.release_owed(connection, TREES)
    for row in released:
        log.warning("resource released, its holder had ended resource=%s container=%s", row.resource, row.container_id)
    return [row.resource for row in released]


def _follow(database: Database, doorbell: Doorbell, marked: marks.Marked, found: Sequence[Any]) -> None:
    """After a mark: the nodes are to look, those who wait for results learn what ended at once.

    Nothing is settled one by one: the mark itself ended whatever waited for none but its own.
    """
    with database.read() as connection:
        ended = stops.ended_by(connection, marked.stop_id)
    if len(ended) < marked.count:
        doorbell.ring(found[0].root_id, found[0].depth)
    tell(doorbell, ended)


def sweep_nodes(
    database: Database, restarts: Restarts = RESTARTS, *, may_reap: bool = True, seconds: float | None = None
) -> list[Moved]:
    """Declare nodes dead whose lease ran out, then take the rows of every dead node.

    may_reap: else only the latter. seconds: begin none after so long.
    """
    if may_reap:
        with database.begin(impatient=True) as connection:
            gone = nodes.declare_dead(connection)
        for node in gone:
            log.warning("node lost node=%s", node)
    with database.read() as connection:
        rows = nodes.rows_on_dead_nodes(connection)

    def take(row: Any) -> list[Moved]:
        cut = NODE_DOWN if row.dead_why == NODE_DOWN.why else NODE_LOST
        return lose(database, row.id, row.epoch, node=row.node, cut=cut, restarts=restarts)

    return [moved for changed in one_by_one(rows, take, seconds) for moved in changed]


def sweep_unsettled(database: Database, seconds: float | None = None) -> list[Moved]:
    """Settle what a crash between an ending and its settling left; seconds: begin none after so long."""
    with database.read() as connection:
        left = endings.unsettled(connection)

    def mend(container_id: str) -> list[Moved]:
        settled = settle_one(database, container_id, wait=False)
        return [] if settled is None else [settled, *settle(database, settled)]

    return [moved for changed in one_by_one(left, mend, seconds) for moved in changed]


def sweep_expired(database: Database, seconds: float | None = None) -> list[Moved]:
    """End what expired before it ran; seconds: begin none after so long."""
    with database.read() as connection:
        late = dispatches.expired(connection, BATCH)

    def end(container_id: str) -> list[Moved]:
        moved = _expire(database, container_id)
        return [] if moved is None else [moved, *settle(database, moved)]

    return [moved for changed in one_by_one(late, end, seconds) for moved in changed]


def one_by_one(found: Sequence[T], act: Callable[[T], R], seconds: float | None) -> Iterator[R]:
    """What comes of each, in any order: nodes that look at once do not all begin with the same one.

    One that another transaction holds is left for the next time, and the others go on.
    """
    end = math.inf if seconds is None else time.monotonic() + seconds
    for each in random.sample(found, len(found)):
        if time.monotonic() >= end:
            return
        try:
            yield act(each)
        except StoreBusy as error:
            log.info("left for the next time what=%s error=%s", each, error)


def _expire(database: Database, container_id: str) -> Moved | None:
    """Locked first, asked again then: a claim that was open at the first look has won."""
    why = STOPPED_EXPIRED
    with database.begin(impatient=True) as connection:
        held = runs.lock(connection, container_id, wait=False)
        if held is None or not dispatches.has_expired(connection, container_id):
            return None
        marks.mark(connection, container_id, by="expires", reason=why, grace=None, message=why)
        return runs.look(connection, container_id)


def leave_node(database: Database, node: str, survivors: Collection[str] = ()) -> list[Moved]:
    """A node that goes in order: it is dead from now on, and the rows that still name it go on elsewhere.

    survivors: containers whose process still lives. They are not given away, and the node is not dead before its lease
    is over: its fence has the word.
    """
    with database.begin() as connection:
        if not survivors:
            nodes.retire(connection, node, INTERRUPTED_NODE_DOWN)
        rows = nodes.rows_on_node(connection, node)
    changed: list[Moved] = []
    for container_id, epoch in rows:
        if container_id not in survivors:
            changed += lose(database, container_id, epoch, node=node, cut=NODE_DOWN)
    return changed

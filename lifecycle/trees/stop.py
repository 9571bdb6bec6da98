"""Stopping a tree: mark it, ring, watch until it is over, report (design, section 6)."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lifecycle.domain.container import Container
from lifecycle.domain.policy import STOPPED_BY_USER, Restarts
from lifecycle.domain.report import StopReport
from lifecycle.domain.status import TERMINAL, Status
from lifecycle.errors import ContainerNotFound
from lifecycle.store import assignments, containers, marks, stops
from lifecycle.store import trees as store
from lifecycle.store.engine import Connection, Database
from lifecycle.store.runs import Moved
from lifecycle.trees.doorbell import Doorbell, tell
from lifecycle.trees.end import about, settle
from lifecycle.trees.interrupt import RESTARTS
from lifecycle.trees.sweep import sweep_nodes, sweep_unsettled

log = logging.getLogger("lifecycle.stop")
FIRST_LOOK = 0.02  # seconds
LAST_LOOK = 0.25
SWEEP_EVERY = 1.0
BY_THEMSELVES = TERMINAL - {Status.STOPPED}
NO_BROKER = "the broker could not be reached: nodes see the stop in the database within a second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who wants what stopped, why, and how patiently (`grace` in seconds; None: each container's own)."""

    container_id: str
    by: str
    reason: str | None = None
    grace: float | None = None
    player_id: int | None = None


def stop(
    database: Database,
    doorbell: Doorbell,
    request: Request,
    *,
    wait: bool,
    patience: float,
    restarts: Restarts = RESTARTS,
) -> StopReport:
    """Take a whole tree down; with `wait`, return when it is over or `patience` seconds after its last deadline.

    Raises ContainerNotFound; StoreUnreachable from the mark, and then nothing is marked.
    """
    marked, target = mark(database, request)
    notes = ring(database, doorbell, marked, target)
    if wait:
        watch(database, doorbell, marked.stop_id, patience=patience, restarts=restarts)
    return report(database, marked.stop_id, target, notes)


def mark(
    database: Database, request: Request, check: Callable[[Connection, marks.Marked], None] | None = None
) -> tuple[marks.Marked, Container]:
    """One transaction: every live container of the tree is STOPPING or has ended; nothing queued can start any more.

    What `check` raises, in the same transaction, leaves all as it was.
    """
    with database.begin(impatient=True) as connection:
        target = containers.get(connection, request.container_id, request.player_id)
        marked = marks.mark(
            connection, target.id, by=request.by, reason=request.reason, grace=request.grace, message=STOPPED_BY_USER
        )
        if check is not None:
            check(connection, marked)
        assignments.release_owed(connection, target.id)
    _tell_revived(database, marked)
    return marked, target


def mark_many(database: Database, container_ids: Sequence[str], request: Request) -> tuple[marks.Marked, Container]:
    """As `mark`, for roots in one transaction and one stop, which is named by the first of them.

    With a transaction each, a hundred thousand that sleep took hours. Raises ContainerNotFound if none is there.
    """
    with database.begin(impatient=True) as connection:
        found = store.lock(connection, container_ids)
        if not found:
            raise ContainerNotFound(request.container_id)
        marked = marks.mark_all(
            connection, found, by=request.by, message=STOPPED_BY_USER, reason=request.reason, grace=request.grace
        )
        target = containers.get(connection, found[0].id)
    _tell_revived(database, marked)
    return marked, target


def _tell_revived(database: Database, marked: marks.Marked) -> None:
    if not marked.revived:
        return
    with database.read() as connection:
        rows = stops.rows_of(connection, marked.stop_id)
    for row in rows:
        if row.id in marked.revived:
            log.warning("container was live but not running, ended %s", about(row))


def ring(database: Database, doorbell: Doorbell, marked: marks.Marked, target: Container) -> tuple[str, ...]:
    """Wake the nodes, tell Celery what ended at once, and settle the parent of the target."""
    with database.read() as connection:
        rows = stops.rows_of(connection, marked.stop_id)
        target = containers.get(connection, target.id)
    running = any(row.status == Status.STOPPING for row in rows)
    rung = doorbell.ring(target.root_id, target.depth) if running else True
    doorbell.revoked([row.id for row in rows if row.status == Status.STOPPED], STOPPED_BY_USER)
    if target.is_ended:
        settle_above(database, doorbell, target)
    return () if rung else (NO_BROKER,)


def settle_above(database: Database, doorbell: Doorbell, ended: Container) -> None:
    """The parent of an ended container may have waited for it alone."""
    above = ended.detached, ended.root_id, ended.player_id
    tell(doorbell, settle(database, Moved(ended.id, ended.status, ended.parent_container_id, *above)))


def watch(
    database: Database, doorbell: Doorbell, stop_id: int, *, patience: float, restarts: Restarts = RESTARTS
) -> None:
    """Wait for the rows of a stop; do what needs only the database, so that it ends with no node alive too."""
    pause, next_sweep = FIRST_LOOK, time.monotonic()
    while True:
        with database.read() as connection:
            left, overdue = stops.unfinished(connection, stop_id)
        if not left or overdue > patience:
            return
        if time.monotonic() >= next_sweep:
            tell(doorbell, sweep_nodes(database, restarts) + sweep_unsettled(database))
            next_sweep = time.monotonic() + SWEEP_EVERY
        time.sleep(pause)
        pause = min(pause * 1.5, LAST_LOOK)


def report(database: Database, stop_id: int, target: Container, notes: Iterable[str] = ()) -> StopReport:
    """What came of a stop, as its rows tell it now; also in the log."""
    with database.read() as connection:
        rows, ended_before = rows_of(connection, stop_id, target.id)
    made = outcome(stop_id, target.id, rows, ended_before, notes)
    log_report(made, target, (*ended_before, *rows))
    return made


def rows_of(connection: Connection, stop_id: int, root: str) -> tuple[list[Any], list[Any]]:
    """What a stop asked to end, and what had ended before it."""
    return stops.rows_of(connection, stop_id), stops.ended_below(connection, stop_id, root)


def outcome(
    stop_id: int, root: str, rows: Sequence[Any], ended_before: Sequence[Any], notes: Iterable[str] = ()
) -> StopReport:
    """How each container of a stop fared."""
    order = tuple(stop_order(rows))
    is_stopped = {row.id for row in rows if row.status == Status.STOPPED}
    failed = {row.id: row.stop_error for row in rows if row.stop_error and row.status not in TERMINAL}
    return StopReport(
        root=root,
        stop_id=stop_id,
        order=order,
        stopped=tuple(each for each in order if each in is_stopped),
        already_ended=tuple(row.id for row in (*ended_before, *(row for row in rows if row.status in BY_THEMSELVES))),
        failed=failed,
        pending=tuple(row.id for row in rows if row.status not in TERMINAL and row.id not in failed),
        notes=tuple(notes),
    )


def stop_order(rows: Iterable[Any]) -> list[str]:
    """Ids with children before parents, siblings oldest first; without recursion, for trees of any depth."""
    return _walk(rows, oldest_last=False)[::-1]


def tree_order(rows: Iterable[Any]) -> list[str]:
    """Ids with parents before children, siblings oldest first."""
    return _walk(rows, oldest_last=True)


def _walk(rows: Iterable[Any], *, oldest_last: bool) -> list[str]:
    """Parents first; `rows` are oldest first, and a stack turns siblings around."""
    listed = list(rows)
    ids = {row.id for row in listed}
    children: dict[str | None, list[str]] = {}
    for row in reversed(listed) if oldest_last else listed:
        parent = row.parent_container_id if row.parent_container_id in ids else None
        children.setdefault(parent, []).append(row.id)
    order: list[str] = []
    stack = list(children.get(None, ()))
    while stack:
        found = stack.pop()
        order.append(found)
        stack.extend(children.get(found, ()))
    return order


def log_report(made: StopReport, target: Any, rows: Iterable[Any]) -> None:
    """The facts of a stop in the log, one event each, at the seed's levels."""
    by_id = {row.id: row for row in rows}
    for container_id in made.already_ended if log.isEnabledFor(logging.DEBUG) else ():
        log.debug("container already ended %s", about(by_id[container_id]))
    for container_id, why in made.failed.items():
        log.error("container not stopped %s why=%s", about(by_id[container_id]), why)
    if made.failed:
        counts, names = (len(made.failed), len(made.order)), ", ".join(made.failed)
        log.warning("stop left %d of %d running %s failed=%s", *counts, about(target), names)
    elif made.order:
        log.info("stopped %d containers %s", len(made.stopped), about(target))
    else:
        log.info("container already ended %s", about(target))

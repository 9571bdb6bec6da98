"""Marking a tree to be stopped: level by level down, then level by level up (design, section 6).

One recursive UPDATE would miss a child whose spawner commits while it runs; a new statement a level sees it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lifecycle.domain.policy import STOPPED_BY_CASCADE
from lifecycle.domain.status import TERMINAL, Status
from lifecycle.store import assignments, stops, transitions
from lifecycle.store.clock import UtcDateTime, earliest, later, latest, now
from lifecycle.store.runs import OFF_NODE, child, no_live_child, settled, waited_for
from lifecycle.store.tables import containers, live

c = containers.c
parent = containers.alias("parent")
ROW = (c.id, c.parent_container_id, c.status, c.stop_error, c.player_id, c.root_id, c.created_at)
SIGNAL_STEP = 1.0  # seconds a running parent's signal waits for each running level below it


@dataclass(frozen=True, slots=True)
class Mark:
    """One stop being written: its id, its start, and what it asks for."""

    stop_id: int
    at: datetime
    container_id: str
    by: str
    reason: str | None
    grace: float | None
    message: str


@dataclass(frozen=True, slots=True)
class Marked:
    """What a mark came to: how many rows on how many levels below the target."""

    stop_id: int
    count: int
    levels: int
    revived: tuple[str, ...]
    """Those that had ended before: a hand has made them live again, and nothing runs them."""


def mark(
    connection: sa.Connection,
    container_id: str,
    *,
    by: str,
    reason: str | None,
    grace: float | None,
    message: str,
    only_below: bool = False,
) -> Marked:
    """Turn every live container of the tree to STOPPING, in the caller's transaction.

    `only_below` leaves the target itself alone (its body failed: it has an outcome of its own).
    """
    stop_id, at = stops.open_stop(connection, container_id, by=by, reason=reason, grace=grace)
    wanted = Mark(stop_id, at, container_id, by, reason, grace, message)
    counts = _mark_down(connection, wanted, only_below=only_below)
    new = sa.and_(c.stop_id == stop_id, c.previous_status != Status.STOPPING.value)
    transitions.record(connection, new, by=by, why=reason or message)
    had_ended = sa.select(c.id).where(c.stop_id == stop_id, c.stopped_at.is_not(None))
    revived = tuple(connection.execute(had_ended).scalars())
    _mark_up(connection, wanted, levels=len(counts) - 1)
    _end_idle(connection, wanted)
    stops.count(connection, stop_id, marked=sum(counts), levels=len(counts) - 1)
    return Marked(stop_id, sum(counts), len(counts) - 1, revived)


def _mark_down(connection: sa.Connection, wanted: Mark, *, only_below: bool) -> list[int]:
    """Rows marked on each level, the target's first; stops at the first level with none."""
    target = sa.and_(c.id == wanted.container_id, live())
    counts = [0 if only_below else _mark_level(connection, wanted, target, wanted.message)]
    depth = connection.execute(sa.select(c.depth).where(c.id == wanted.container_id)).scalar_one()
    above: Any = c.parent_container_id == wanted.container_id
    while True:
        level = sa.and_(above, live(), c.detached == sa.false())
        count = _mark_level(connection, wanted, level, STOPPED_BY_CASCADE)
        if not count:
            return counts
        counts.append(count)
        depth += 1
        marked = sa.select(parent.c.id).where(parent.c.stop_id == wanted.stop_id, parent.c.depth == depth)
        above = c.parent_container_id.in_(marked)


def _mark_level(connection: sa.Connection, wanted: Mark, level: sa.ColumnElement[bool], message: str) -> int:
    """One UPDATE over all live statuses: two by status would let a claim slip between."""
    again = c.status == Status.STOPPING.value
    deadline = later(wanted.at, sa.func.coalesce(sa.cast(sa.literal(wanted.grace), sa.Float), c.grace))
    values = {
        "status": Status.STOPPING.value,
        "previous_status": c.status,
        "wake_at": None,
        "stop_id": wanted.stop_id,
        "stop_by": sa.case((again, c.stop_by), else_=wanted.by),
        "stop_reason": sa.case((again, c.stop_reason), else_=wanted.reason),
        "stop_message": sa.case((again, c.stop_message), else_=message),
        "stop_deadline": sa.case(
            (sa.and_(again, c.stop_error.is_(None)), earliest(c.stop_deadline, deadline)), else_=deadline
        ),
        "signal_at": earliest(c.signal_at, wanted.at),  # a new stop does not put an older one's signal off
        "stop_error": None,
        "updated_at": now(),
    }
    return connection.execute(containers.update().where(level).values(values)).rowcount


def _mark_up(connection: sa.Connection, wanted: Mark, levels: int) -> None:
    """From the deepest level: what runs nowhere and waits for nobody has ended; the others wait for those below."""
    top = sa.select(c.depth).where(c.id == wanted.container_id).scalar_subquery()
    for level in range(levels, -1, -1):
        here = sa.and_(c.stop_id == wanted.stop_id, c.depth == top + level, c.status == Status.STOPPING.value)
        _end_level(connection, here)
        if level < levels:
            _wait_for_children(connection, wanted, here)


def _end_level(connection: sa.Connection, here: sa.ColumnElement[bool]) -> None:
    ended = {**settled(), **OFF_NODE, "previous_status": c.status, "stopped_at": now(), "updated_at": now()}
    connection.execute(containers.update().where(here, c.node.is_(None), no_live_child()).values(ended))


def _wait_for_children(connection: sa.Connection, wanted: Mark, here: sa.ColumnElement[bool]) -> None:
    """A parent's deadline is never before a child's; its signal comes a second later for each running level below."""
    step = sa.case((child.c.node.is_not(None), SIGNAL_STEP), else_=0.0)
    last_deadline = sa.select(sa.func.max(child.c.stop_deadline)).where(waited_for()).correlate(containers)
    last_signal = sa.select(sa.func.max(later(child.c.signal_at, step))).where(waited_for()).correlate(containers)
    half = later(wanted.at, sa.func.coalesce(sa.cast(sa.literal(wanted.grace), sa.Float), c.grace) / 2)
    values = {
        "stop_deadline": latest(c.stop_deadline, last_deadline.scalar_subquery()),
        "signal_at": earliest(half, last_signal.scalar_subquery()),
    }
    connection.execute(containers.update().where(here, sa.not_(no_live_child())).values(values))


def _end_idle(connection: sa.Connection, wanted: Mark) -> None:
    """What belongs to a terminal status, for all rows that the mark itself ended."""
    ended = sa.and_(c.stop_id == wanted.stop_id, c.status.in_([status.value for status in TERMINAL]))
    transitions.record(connection, ended, by=wanted.by, why=wanted.reason or wanted.message)
    assignments.release(connection, sa.select(c.id).where(ended), why=Status.STOPPED.value)
    stops.finish(connection, sa.select(c.id).where(ended))
    stops.finish(connection, sa.select(c.id).where(c.id == wanted.container_id, sa.not_(live())))


def rows_of(connection: sa.Connection, stop_id: int) -> list[Any]:
    """Every container of a stop as it is now, oldest first."""
    query = sa.select(*ROW).where(c.stop_id == stop_id).order_by(c.created_at, c.id)
    return list(connection.execute(query).all())


def unfinished(connection: sa.Connection, stop_id: int) -> tuple[int, float]:
    """How many containers below a stop's target are still stopping and not given up; seconds since their last deadline.

    Found by the tree, not by `stop_id`: a later stop takes rows over, and the first caller still waits for them.
    """
    tree = sa.select(c.id).where(c.id == stops.target(stop_id)).cte("tree", recursive=True)
    below = sa.and_(child.c.parent_container_id == tree.c.id, live(child), child.c.detached == sa.false())
    tree = tree.union_all(sa.select(child.c.id).where(below))
    waiting = sa.and_(c.status == Status.STOPPING.value, c.stop_error.is_(None))
    query = sa.select(sa.func.count(), sa.type_coerce(sa.func.max(c.stop_deadline), UtcDateTime), now())
    count, deadline, at = connection.execute(query.join(tree, tree.c.id == c.id).where(waiting)).one()
    return count, (at - deadline).total_seconds() if deadline is not None else 0.0


def ended_below(connection: sa.Connection, stop_id: int, container_id: str, limit: int = 1_000) -> list[Any]:
    """Attached containers of the tree that had ended before the stop; at most `limit`, a level a statement."""
    other = sa.or_(c.stop_id.is_(None), c.stop_id != stop_id)
    ended = sa.and_(other, sa.not_(live()))
    found = list(connection.execute(sa.select(*ROW).where(c.id == container_id, ended)).all())
    stopped = sa.select(parent.c.id).where(parent.c.stop_id == stop_id)
    target = sa.select(parent.c.id).where(parent.c.id == container_id)
    under: Any = c.parent_container_id.in_(sa.union(stopped, target))  # an OR of the two would read every row
    while len(found) < limit:
        level = sa.select(*ROW).where(under, ended, c.detached == sa.false()).limit(limit - len(found))
        rows = connection.execute(level).all()
        if not rows:
            break
        found += rows
        under = c.parent_container_id.in_([row.id for row in rows])
    return found

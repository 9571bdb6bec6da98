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
from lifecycle.store.runs import MOVED, Moved, child, moved, no_live_child, over_now, settled, waited_for
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
    transitions.record(connection, c.stop_id == stop_id, by=by, why=reason or message, stop_id=stop_id)
    had_ended = sa.select(c.id).where(c.stop_id == stop_id, c.stopped_at.is_not(None))
    revived = tuple(connection.execute(had_ended).scalars())
    _mark_up(connection, wanted, levels=len(counts) - 1)
    _end_idle(connection, wanted)
    stops.count(connection, stop_id, marked=sum(counts), levels=len(counts) - 1)
    return Marked(stop_id, sum(counts), len(counts) - 1, revived)


def _mark_down(connection: sa.Connection, wanted: Mark, *, only_below: bool) -> list[int]:
    """Rows marked on each level, the target's first; ends below the deepest live row."""
    target = sa.and_(c.id == wanted.container_id, live())
    counts = [0 if only_below else _mark_level(connection, wanted, target, wanted.message)]
    depth = connection.execute(sa.select(c.depth).where(c.id == wanted.container_id)).scalar_one()
    strays = _strays(connection, wanted.container_id)
    above: Any = c.parent_container_id == wanted.container_id
    while True:
        depth += 1
        level = sa.and_(above, live(), c.detached == sa.false())
        count = _mark_level(connection, wanted, level, STOPPED_BY_CASCADE)
        if found := strays.pop(depth, None):
            count += _mark_level(connection, wanted, sa.and_(c.id.in_(found), live()), STOPPED_BY_CASCADE)
        if not count and not strays:
            return counts
        counts.append(count)
        marked = sa.select(parent.c.id).where(parent.c.stop_id == wanted.stop_id, parent.c.depth == depth)
        above = c.parent_container_id.in_(marked)


def _strays(connection: sa.Connection, container_id: str) -> dict[int, list[str]]:
    """Live containers of the tree whose parent has ended (it could not be stopped, or a hand revived it), by depth.

    The way down by live rows does not come to them. There are hardly ever any, so each is followed up on its own.
    """
    root = sa.select(parent.c.root_id).where(parent.c.id == container_id).scalar_subquery()
    ended = sa.and_(parent.c.id == c.parent_container_id, sa.not_(live(parent)), parent.c.id != container_id)
    orphan = sa.select(c.id, c.depth).join(parent, ended).where(c.root_id == root, live(), c.detached == sa.false())
    found: dict[int, list[str]] = {}
    for row in connection.execute(orphan).all():
        if _is_under(connection, row.id, container_id):
            found.setdefault(row.depth, []).append(row.id)
    return found


def _is_under(connection: sa.Connection, container_id: str, above: str) -> bool:
    """True if attached links lead from `container_id` up to `above`."""
    columns = (c.id, c.parent_container_id, c.detached)
    way = sa.select(*columns).where(c.id == container_id).cte("way", recursive=True)
    way = way.union_all(sa.select(*columns).where(c.id == way.c.parent_container_id, way.c.detached == sa.false()))
    return connection.execute(sa.select(way.c.id).where(way.c.id == above)).first() is not None


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
    idle = containers.update().where(here, c.node.is_(None), no_live_child())
    connection.execute(idle.values({**settled(), **over_now()}))


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
    """Every container that a stop asked to end, as it is now, oldest first; also those a later stop asked too."""
    query = sa.select(*ROW).where(c.id.in_(transitions.asked_by(stop_id))).order_by(c.created_at, c.id)
    return list(connection.execute(query).all())


def ended_by(connection: sa.Connection, stop_id: int) -> list[Moved]:
    """What the mark of a stop ended at once: it ran nowhere."""
    ended = sa.and_(c.stop_id == stop_id, c.status == Status.STOPPED.value)
    return [moved(row) for row in connection.execute(sa.select(*MOVED).where(ended))]


def unfinished(connection: sa.Connection, stop_id: int) -> tuple[int, float]:
    """How many containers of a stop are still stopping and not given up; seconds since their last deadline."""
    asked = c.id.in_(transitions.asked_by(stop_id))
    waiting = sa.and_(asked, c.status == Status.STOPPING.value, c.stop_error.is_(None))
    query = sa.select(sa.func.count(), sa.type_coerce(sa.func.max(c.stop_deadline), UtcDateTime), now())
    count, deadline, at = connection.execute(query.where(waiting)).one()
    return count, (at - deadline).total_seconds() if deadline is not None else 0.0


def ended_below(connection: sa.Connection, stop_id: int, container_id: str, limit: int = 1_000) -> list[Any]:
    """Attached containers of the tree that had ended before the stop; at most `limit`, a level a statement."""
    ended = sa.and_(sa.not_(live()), c.id.not_in(transitions.asked_by(stop_id)))
    found = list(connection.execute(sa.select(*ROW).where(c.id == container_id, ended)).all())
    target = sa.select(parent.c.id).where(parent.c.id == container_id)
    under: Any = c.parent_container_id.in_(sa.union(transitions.asked_by(stop_id), target))
    while len(found) < limit:
        level = sa.select(*ROW).where(under, ended, c.detached == sa.false()).limit(limit - len(found))
        rows = connection.execute(level).all()
        if not rows:
            break
        found += rows
        under = c.parent_container_id.in_([row.id for row in rows])
    return found

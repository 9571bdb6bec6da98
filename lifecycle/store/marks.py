"""Marking a tree to be stopped: level by level down, then level by level up (design, section 6).

One recursive UPDATE would miss a child whose spawner commits while it runs; a new statement a level sees it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lifecycle.domain.policy import STOPPED_BY_CASCADE
from lifecycle.domain.status import TERMINAL, Status
from lifecycle.store import assignments, stops, transitions
from lifecycle.store.clock import earliest, later, latest, now
from lifecycle.store.runs import child, no_live_child, over_now, settled, waited_for
from lifecycle.store.tables import containers, live

c = containers.c
parent = containers.alias("parent")
SIGNAL_STEP = 1.0  # seconds a running parent's signal waits for each running level below it


@dataclass(frozen=True, slots=True)
class Mark:
    """One stop being written: its id, its start, what it asks for, and of whom."""

    stop_id: int
    at: datetime
    container_id: str
    by: str
    reason: str | None
    grace: float | None
    message: str
    targets: sa.ColumnElement[bool]
    """Who is told `message`; all below them that they go with their parent."""
    first: int
    last: int
    """The depths between which the targets are."""
    is_own: bool = False
    """True if the one target is the container that the stop names."""
    takes_strays: bool = True
    """False where what lost its parent is a target, or will be one."""


@dataclass(frozen=True, slots=True)
class Marked:
    """What a mark came to: how many rows on how many levels below the target."""

    stop_id: int
    count: int
    levels: int
    revived: tuple[str, ...]
    """Those that had ended before: a hand has made them live again, and nothing runs them."""


def mark(
    connection: sa.Connection, container_id: str, *, by: str, reason: str | None, grace: float | None, message: str
) -> Marked:
    """Turn every live container of the tree to STOPPING, in the caller's transaction."""
    depth = _depth(connection, container_id)
    stop_id, at = stops.open_stop(connection, container_id, by=by, reason=reason, grace=grace)
    asked = (container_id, by, reason, grace, message)
    targets = c.id == container_id
    return _mark(connection, Mark(stop_id, at, *asked, targets=targets, first=depth, last=depth, is_own=True))


def mark_below(
    connection: sa.Connection,
    container_id: str,
    *,
    by: str,
    reason: str,
    message: str = STOPPED_BY_CASCADE,
    epoch: int | None = None,
) -> Marked:
    """As `mark`, but the container itself is left alone: its children, only those of an epoch if given, are told."""
    depth = _depth(connection, container_id) + 1
    stop_id, at = stops.open_stop(connection, container_id, by=by, reason=reason, grace=None)
    asked = (container_id, by, reason, None, message)
    targets = _children_of(container_id)
    if epoch is not None:
        targets = sa.and_(targets, c.parent_epoch == epoch)
    return _mark(connection, Mark(stop_id, at, *asked, targets=targets, first=depth, last=depth))


def mark_all(
    connection: sa.Connection,
    found: Sequence[Any],
    *,
    by: str,
    message: str,
    reason: str | None = None,
    grace: float | None = None,
) -> Marked:
    """As `mark`, for the trees of all these rows (`id`, `depth`) at once: one stop, named by the first of them."""
    depths, reason = [row.depth for row in found], reason or message
    named = min(found, key=lambda row: row.depth).id
    stop_id, at = stops.open_stop(connection, named, by=by, reason=reason, grace=grace)
    targets = c.id.in_([row.id for row in found])
    between = {"targets": targets, "first": min(depths), "last": max(depths)}
    return _mark(connection, Mark(stop_id, at, named, by, reason, grace, message, **between, takes_strays=False))


def to_ask(connection: sa.Connection, ids: Sequence[str], *, grace: float | None) -> list[Any]:
    """Of these, the live ones (`id`, `depth`) that were not asked before to stop as soon as `grace` says; locked.

    The lock is what makes it once: who asks at the same time sees what the first has asked.
    """
    soon = sa.true() if grace is None else c.stop_deadline <= later(now(), grace)
    asked = sa.and_(c.status == Status.STOPPING.value, c.stop_error.is_(None), c.stop_deadline.is_not(None), soon)
    query = sa.select(c.id, c.depth).where(c.id.in_(ids), live(), sa.not_(asked)).order_by(c.depth, c.id)
    return list(connection.execute(query.with_for_update(key_share=True, of=containers)).all())


def _mark(connection: sa.Connection, wanted: Mark) -> Marked:
    """Down, then up; what the mark itself ended has ended."""
    counts = _mark_down(connection, wanted)
    told = wanted.reason or wanted.message
    transitions.record(connection, c.stop_id == wanted.stop_id, by=wanted.by, why=told, stop_id=wanted.stop_id)
    had_ended = sa.select(c.id).where(c.stop_id == wanted.stop_id, c.stopped_at.is_not(None))
    revived = tuple(connection.execute(had_ended).scalars())
    _mark_up(connection, wanted, list(counts))
    _end_idle(connection, wanted)
    top = _depth(connection, wanted.container_id)
    count, levels = sum(counts.values()), max([top, *(depth for depth, number in counts.items() if number)]) - top
    stops.count(connection, wanted.stop_id, marked=count, levels=levels)
    return Marked(wanted.stop_id, count, levels, revived)


def _depth(connection: sa.Connection, container_id: str) -> int:
    depth: int = connection.execute(sa.select(c.depth).where(c.id == container_id)).scalar_one()
    return depth


def _children_of(container_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(c.parent_container_id == container_id, c.detached == sa.false())


def _mark_down(connection: sa.Connection, wanted: Mark) -> dict[int, int]:
    """Rows marked at each depth, the targets' first; ends below the deepest live row."""
    counts: dict[int, int] = {}
    left = strays(connection, wanted.container_id) if wanted.takes_strays else {}
    depth = wanted.first
    while True:
        counts[depth] = _mark_depth(connection, wanted, depth)
        if found := left.pop(depth, None):
            counts[depth] += _mark_level(connection, wanted, c.id.in_(found), STOPPED_BY_CASCADE)
        if not counts[depth] and depth > wanted.last and not left:
            del counts[depth]
            return counts
        depth += 1


def _mark_depth(connection: sa.Connection, wanted: Mark, depth: int) -> int:
    """The targets of this depth, and the attached children of what was marked above them."""
    count = 0
    if depth <= wanted.last:
        targets = sa.and_(wanted.targets, c.depth == depth)
        count += _mark_level(connection, wanted, targets, wanted.message)
    if depth > wanted.first:
        marked = sa.select(parent.c.id).where(parent.c.stop_id == wanted.stop_id, parent.c.depth == depth - 1)
        below: Any = sa.and_(c.parent_container_id.in_(marked), c.detached == sa.false())
        if wanted.is_own and depth == wanted.first + 1:  # also of a target that has ended
            below = _children_of(wanted.container_id)
        count += _mark_level(connection, wanted, below, STOPPED_BY_CASCADE)
    return count


def strays(connection: sa.Connection, container_id: str) -> dict[int, list[str]]:
    """Live containers of the tree whose parent has ended (it could not be stopped, or a hand revived it), by depth.

    The way down by live rows does not come to them. There are hardly ever any, so each is followed up on its own.
    """
    root = sa.select(parent.c.root_id).where(parent.c.id == container_id).scalar_subquery()
    ended = sa.and_(parent.c.id == c.parent_container_id, sa.not_(live(parent)), parent.c.id != container_id)
    below = sa.and_(c.root_id == root, c.id != container_id, live(), c.detached == sa.false())
    orphan = sa.select(c.id, c.depth).join(parent, ended).where(below)
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
        "stop_by": sa.case((again, sa.func.coalesce(c.stop_by, wanted.by)), else_=wanted.by),
        "stop_reason": sa.case((again, c.stop_reason), else_=wanted.reason),
        "stop_message": sa.case((again, c.stop_message), else_=message),
        "stop_deadline": sa.case(
            (sa.and_(again, c.stop_error.is_(None)), earliest(c.stop_deadline, deadline)), else_=deadline
        ),
        "signal_at": earliest(c.signal_at, wanted.at),  # a new stop does not put an older one's signal off
        "stop_error": None,
        "updated_at": now(),
    }
    return connection.execute(containers.update().where(level, live()).values(values)).rowcount


def _mark_up(connection: sa.Connection, wanted: Mark, depths: list[int]) -> None:
    """From the deepest level: what runs nowhere and waits for nobody has ended; the others wait for those below."""
    for depth in sorted(depths, reverse=True):
        here = sa.and_(c.stop_id == wanted.stop_id, c.depth == depth, c.status == Status.STOPPING.value)
        _end_level(connection, here)
        if depth < max(depths):
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
    transitions.record(connection, ended, by=wanted.by, why=wanted.reason or wanted.message, children_first=True)
    assignments.release(connection, sa.select(c.id).where(ended), why=Status.STOPPED.value)
    stops.finish(connection, sa.select(c.id).where(ended))
    stops.finish(connection, sa.select(c.id).where(c.id == wanted.container_id, sa.not_(live())))

"""Trees as a page shows them: tops, and below them what is worth showing; a fixed number of statements."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from lifecycle.domain.search import Filters
from lifecycle.domain.status import LIVE, Status
from lifecycle.store.clock import later, now
from lifecycle.store.searches import beside_status, fitting
from lifecycle.store.tables import containers, ended, live, nodes
from lifecycle.store.tags import TAGS

c, n = containers.c, nodes.c
root, above = containers.alias("root"), containers.alias("above")
BATCH = 1_000  # ids in one statement
SHOWN = 400  # characters of an error
OVERDUE = 3.0  # seconds after its deadline: by then a stop has ended, or been given up
FEW = 20  # children that are shown with their parent
LEVELS = 6  # below the tops; deeper ones are asked for
ROWS = 600  # below the tops, at most in one answer
NEWEST = (10_000, 100_000)  # of those that fit: where ended ones may, the newest trees are sought among so many

_holds = sa.exists(sa.select(sa.literal(1)).where(n.id == c.node, n.dead == sa.false(), n.expires_at >= now()))
_lost = sa.and_(c.node.is_not(None), sa.not_(_holds))
_overdue = sa.and_(c.status == Status.STOPPING.value, later(c.stop_deadline, OVERDUE) < now())
STALE = sa.and_(c.status.in_([Status.RUNNING.value, Status.STOPPING.value]), sa.or_(_lost, _overdue)).label("stale")
COLUMNS = (
    *(c.id, c.container_type, c.status, c.current_iteration, c.max_iterations, c.player_id),
    *(c.parent_container_id, c.root_id, c.depth, c.detached, c.node, c.attempt, c.outcome, c.stop_error),
    *(c.created_at, c.started_at, c.updated_at, c.stopped_at, c.wake_at, c.dispatched_at, c.stop_deadline),
    sa.func.substr(c.exit_message, 1, SHOWN).label("exit_message"),
    STALE,
    TAGS,
)
OLDEST = (c.created_at, c.id)


@dataclass(frozen=True, slots=True)
class Forest:
    """What was found: all rows by id, who is shown below whom, and how many live children there are."""

    tops: list[str]
    rows: dict[str, Any]
    below: dict[str, list[str]]
    children: dict[str, dict[str, int]]
    fits: frozenset[str]
    more: int


def count_live(connection: sa.Connection, filters: Filters) -> dict[str, int]:
    """How many live containers there are of each status, whatever the filters say of statuses."""
    return _count(connection, filters, live())


def count_ended(connection: sa.Connection, filters: Filters) -> dict[str, int]:
    """How many ended ones: this reads all of them, and takes a second for a million."""
    return _count(connection, filters, ended())


def grow(connection: sa.Connection, filters: Filters, limit: int) -> Forest:
    """The newest trees that hold a container that fits."""
    everything = filters.is_plain and filters.statuses is None
    tops, more = _all_tops(connection, limit) if everything else _tops(connection, filters, limit)
    rows = {row.id: row for row in _read_all(connection, tops)}
    tops = [each for each in tops if each in rows]
    children = (_descend if filters.is_plain else _search)(connection, filters, tops, rows)
    return Forest(tops, rows, _below(rows), children, _fits(connection, filters, rows), more)


def read(connection: sa.Connection, *which: sa.ColumnElement[bool], limit: int | None = None) -> list[Any]:
    """Rows as a tree shows them, oldest first."""
    return list(connection.execute(sa.select(*COLUMNS).where(*which).order_by(*OLDEST).limit(limit)).all())


def live_children(connection: sa.Connection, ids: Iterable[str]) -> dict[str, dict[str, int]]:
    """Of each of these that has live children, how many of which status."""
    return _children(connection, ids, live())


def ended_children(connection: sa.Connection, ids: Iterable[str]) -> dict[str, dict[str, int]]:
    """How many ended ones: this reads all of them, and takes a second for a million."""
    return _children(connection, ids, ended())


def _children(
    connection: sa.Connection, ids: Iterable[str], which: sa.ColumnElement[bool]
) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for some in _batches(list(ids)):
        query = sa.select(c.parent_container_id, c.status, sa.func.count())
        query = query.where(c.parent_container_id.in_(some), which)
        for parent, status, number in connection.execute(query.group_by(c.parent_container_id, c.status)):
            found.setdefault(parent, {})[status] = number
    return found


def _count(connection: sa.Connection, filters: Filters, which: sa.ColumnElement[bool]) -> dict[str, int]:
    query = sa.select(c.status, sa.func.count()).where(which, *beside_status(filters)).group_by(c.status)
    return {row[0]: row[1] for row in connection.execute(query)}


def _tops(connection: sa.Connection, filters: Filters, limit: int) -> tuple[list[str], int]:
    """The newest of them, and how many more there are; of very many that have ended, at least how many more."""
    fit = sa.select(c.root_id, c.created_at).where(*fitting(filters))
    if filters.statuses is not None and set(filters.statuses) <= LIVE:
        return _newest_tops(connection, fit, limit)[:2]
    for most in NEWEST:
        tops, more, is_sure = _newest_tops(connection, fit.order_by(c.created_at.desc()).limit(most + 1), limit, most)
        if is_sure:
            return tops, more
    return tops, max(more, 1)


def _newest_tops(
    connection: sa.Connection, fit: sa.Select[Any], limit: int, most: int | None = None
) -> tuple[list[str], int, bool]:
    """The newest trees of these; and False if others, beyond the newest `most` that fit, may be newer.

    What fits is never older than its top: no tree is missed that is newer than all of what was looked at. All are
    found before they are sorted (OFFSET keeps PostgreSQL to that): where few of a million fit, it would else go
    through the newest of the million, one by one.
    """
    these = fit.cte("these")
    trees = sa.select(root.c.id, root.c.created_at).where(root.c.id.in_(sa.select(these.c.root_id)))
    found = trees.offset(0).subquery("found")
    seen = sa.select(sa.func.count()).select_from(these).scalar_subquery() if most else sa.literal(0)
    since = sa.select(sa.func.min(these.c.created_at)).scalar_subquery() if most else sa.null()
    query = sa.select(found, sa.func.count().over(), seen, since).order_by(found.c.created_at.desc(), found.c.id)
    rows = connection.execute(query.limit(limit + 1)).all()
    if not rows:
        return [], 0, True
    shown = [row.id for row in rows[:limit]]
    is_all = most is None or rows[0][3] <= most
    return shown, rows[0][2] - len(shown), is_all or (len(rows) > limit and rows[limit].created_at >= rows[0][4])


def _all_tops(connection: sa.Connection, limit: int) -> tuple[list[str], int]:
    """As above, of all that were ever recorded: those are counted only if there are more."""
    query = sa.select(root.c.id).where(root.c.parent_container_id.is_(None))
    found = connection.execute(query.order_by(root.c.created_at.desc(), root.c.id).limit(limit + 1)).scalars().all()
    if len(found) <= limit:
        return list(found), 0
    count = sa.select(sa.func.count()).select_from(root).where(root.c.parent_container_id.is_(None))
    return list(found[:limit]), connection.execute(count).scalar_one() - limit


def _descend(
    connection: sa.Connection, filters: Filters, tops: Sequence[str], rows: dict[str, Any]
) -> dict[str, dict[str, int]]:
    """Level by level: the live children of who has few, or all children where all are asked for."""
    everything, most = filters.statuses is None, ROWS + len(rows)
    bridges = {} if everything else _bridges(connection, tops)
    wanted = [] if everything else [sa.or_(live(), c.id.in_(bridges))]
    children: dict[str, dict[str, int]] = {}
    level = list(tops)
    for _ in range(LEVELS):
        counted = live_children(connection, level)
        children |= counted
        few = _having_few(connection, level) if everything else {each for each, of in counted.items() if _is_few(of)}
        unfolded = [each for each in level if each in few or each in bridges.values()]
        found = [
            row for some in _batches(unfolded) for row in read(connection, c.parent_container_id.in_(some), *wanted)
        ]
        level = _take(found, rows, most)
        if not level:
            return children
    return children | live_children(connection, level)


def _is_few(counted: dict[str, int]) -> bool:
    return 0 < sum(counted.values()) <= FEW


def _having_few(connection: sa.Connection, ids: Sequence[str]) -> set[str]:
    """Those of these that have few children of any status; of a million no more are counted than tell that.

    In the order of their index, or PostgreSQL reads the whole table for who has none.
    """
    below = sa.select(c.id).where(c.parent_container_id == above.c.id).correlate(above)
    below = below.order_by(c.parent_container_id, c.player_id).limit(FEW + 1)
    number = sa.select(sa.func.count()).select_from(below.subquery("below")).scalar_subquery()
    found: set[str] = set()
    for some in _batches(ids):
        rows = connection.execute(sa.select(above.c.id, number).where(above.c.id.in_(some)))
        found.update(row[0] for row in rows if 0 < row[1] <= FEW)
    return found


def _take(found: Sequence[Any], rows: dict[str, Any], most: int) -> list[str]:
    """Add whole families, as many as there is room for; the ids of those added."""
    families: dict[str, list[Any]] = {}
    for row in found:
        families.setdefault(row.parent_container_id, []).append(row)
    taken: list[str] = []
    for family in families.values():
        if len(rows) + len(family) <= most:
            rows.update((row.id, row) for row in family)
            taken += [row.id for row in family]
    return taken


def _bridges(connection: sa.Connection, tops: Sequence[str]) -> dict[str, str]:
    """Ended containers that have live ones below them (detached, or left by a hand), and their parents."""
    if not tops:
        return {}
    over = sa.select(above.c.id, above.c.parent_container_id).where(sa.not_(live(above)))
    over = over.where(above.c.parent_container_id.is_not(None))
    parents = sa.select(c.parent_container_id).where(live(), c.root_id.in_(tops))
    way = over.where(above.c.id.in_(parents)).cte("way", recursive=True)
    way = way.union(over.where(above.c.id == way.c.parent_container_id))
    return {row.id: row.parent_container_id for row in connection.execute(sa.select(way).limit(ROWS))}


def _search(
    connection: sa.Connection, filters: Filters, tops: Sequence[str], rows: dict[str, Any]
) -> dict[str, dict[str, int]]:
    """What fits, the highest first, and all above it."""
    if tops:
        query = sa.select(c.id).where(*fitting(filters), c.root_id.in_(tops)).order_by(c.depth, *OLDEST)
        found = connection.execute(query.limit(ROWS)).scalars().all()
        way = sa.select(c.id, c.parent_container_id).where(c.id.in_(found)).cte("way", recursive=True)
        way = way.union(sa.select(c.id, c.parent_container_id).where(c.id == way.c.parent_container_id))
        shown = sa.select(way.c.id).limit(2 * ROWS)
        ids = [each for each in connection.execute(shown).scalars() if each not in rows]
        rows.update((row.id, row) for row in _read_all(connection, ids))
    return live_children(connection, rows)


def _fits(connection: sa.Connection, filters: Filters, rows: dict[str, Any]) -> frozenset[str]:
    """Those that are shown for themselves."""
    if filters.is_plain:
        statuses = set(Status if filters.statuses is None else filters.statuses)
        return frozenset(each for each, row in rows.items() if row.status in statuses)
    found: set[str] = set()
    for some in _batches(list(rows)):
        found.update(connection.execute(sa.select(c.id).where(c.id.in_(some), *fitting(filters))).scalars())
    return frozenset(found)


def _below(rows: dict[str, Any]) -> dict[str, list[str]]:
    """Who is shown below whom, oldest first."""
    below: dict[str, list[str]] = {}
    for row in sorted(rows.values(), key=lambda row: (row.created_at, row.id)):
        if row.parent_container_id in rows:
            below.setdefault(row.parent_container_id, []).append(row.id)
    return below


def _read_all(connection: sa.Connection, ids: Sequence[str]) -> list[Any]:
    return [row for some in _batches(ids) for row in read(connection, c.id.in_(some))]


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[first : first + BATCH] for first in range(0, len(ids), BATCH))

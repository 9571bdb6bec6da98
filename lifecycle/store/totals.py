"""Counters for metrics: from the rows that say what has been, and from what was counted before those were pruned.

A row is counted for good in one transaction that adds it to `container_totals` and says so on the row; until then each
reading counts it. So what a reading tells is always all there was, whoever counts or prunes meanwhile.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lifecycle.domain.counters import BOUNDS, Counted, Counter, StopFailure
from lifecycle.domain.status import TERMINAL, Status
from lifecycle.store.clock import elapsed
from lifecycle.store.tables import container_totals, containers, stops, transitions, uncounted, uncounted_stop

c, s, t, kept = containers.c, stops.c, transitions.c, container_totals.c
KEY = (kept.name, kept.type, kept.label, kept.le)
RESTART = "restart "  # how `attempt` begins where a restart was used up
NOTHING: sa.ColumnElement[str] = sa.literal_column("''")
ERROR: sa.ColumnElement[str] = sa.literal_column(f"'{StopFailure.ERROR}'")
CONSTANTS = {NOTHING, ERROR}  # PostgreSQL groups by none


def _adding(made: Any) -> Any:
    made = made.values({column.name: sa.bindparam(f"the_{column.name}") for column in container_totals.c})
    return made.on_conflict_do_update(index_elements=KEY, set_={"value": kept.value + made.excluded.value})


ADD = {
    name: _adding(made)
    for name, made in (("postgresql", postgresql.insert(container_totals)), ("sqlite", sqlite.insert(container_totals)))
}


def add(connection: sa.Connection, counter: Counter, label: str = "", *, value: float = 1) -> None:
    """Count what no row says, with what it came from: as the last of its transaction, for others wait for its end."""
    _add(connection, [Counted(counter, "", label, "", value)])


def read(connection: sa.Connection) -> list[Counted]:
    """All there was, in one statement, so that nothing is in it twice or missing."""
    before = sa.select(*KEY, kept.value)
    return _counted(connection, sa.union_all(before, *_tally(uncounted(), uncounted_stop())))


def fold(connection: sa.Connection, limit: int) -> int:
    """Count some rows for good, oldest first; how many. Rows that another transaction counts are left to it."""
    changes = sa.select(t.id).where(uncounted()).order_by(t.id).limit(limit)
    over = sa.select(s.id).where(uncounted_stop(), s.finished_at.is_not(None)).order_by(s.id).limit(limit)
    return _count(connection, *(_lock(connection, query, wait=False) for query in (changes, over)))


def fold_of(connection: sa.Connection, container_ids: Sequence[str]) -> int:
    """Count for good what is told of these containers, which are about to be deleted; how many rows.

    The caller holds their locks, so nothing more is told of them; who counts some of it now is waited for.
    """
    changes = sa.select(t.id).where(t.container_id.in_(container_ids), uncounted()).order_by(t.id)
    asked = sa.select(s.id).where(s.container_id.in_(container_ids), uncounted_stop()).order_by(s.id)
    return _count(connection, *(_lock(connection, query, wait=True) for query in (changes, asked)))


def backlog(connection: sa.Connection, limit: int) -> int:
    """How many rows of each kind could be counted for good, at most `limit` of each."""
    changes = sa.select(t.id).where(uncounted()).limit(limit).subquery()
    over = sa.select(s.id).where(uncounted_stop(), s.finished_at.is_not(None)).limit(limit).subquery()
    found = (sa.select(sa.func.count()).select_from(each).scalar_subquery() for each in (changes, over))
    counts: tuple[int, ...] = tuple(connection.execute(sa.select(*found)).one())
    return max(counts)


def _lock(connection: sa.Connection, query: sa.Select[Any], *, wait: bool) -> list[int]:
    """Those of the rows that nobody has counted once we have their locks."""
    return list(connection.execute(query.with_for_update(key_share=True, skip_locked=not wait)).scalars())


def _count(connection: sa.Connection, changes: list[int], asked: list[int]) -> int:
    """Once: the rows are locked, and say from now on that they are counted."""
    if not changes and not asked:
        return 0
    _add(connection, _counted(connection, sa.union_all(*_tally(t.id.in_(changes), s.id.in_(asked)))))
    for table, ids in ((transitions, changes), (stops, asked)):
        connection.execute(table.update().where(table.c.id.in_(ids)).values(counted=True))
    return len(changes) + len(asked)


def _add(connection: sa.Connection, found: Iterable[Counted]) -> None:
    """In an order that is always the same: two who add at once do not wait for each other crosswise."""
    rows = [{f"the_{name}": value for name, value in each._asdict().items()} for each in sorted(found)]
    if rows:
        connection.execute(ADD[connection.dialect.name], rows)


def _counted(connection: sa.Connection, query: Any) -> list[Counted]:
    """One value for each key."""
    values: dict[tuple[Counter, str, str, str], float] = {}
    for name, type_, label, le, value in connection.execute(query):
        key = (Counter(name), type_, label, le)
        values[key] = values.get(key, 0.0) + value
    return [Counted(*key, value=value) for key, value in values.items()]


def _tally(changes: sa.ColumnElement[bool], asked: sa.ColumnElement[bool]) -> list[sa.Select[Any]]:
    """What these rows count as: `name`, `type`, `label`, `le`, and how much of it. Written once, for all who ask."""
    told = sa.select(c.container_type, t.from_status, t.to_status, t.attempt).join_from(transitions, containers)
    moved = told.where(changes).cte("moved")
    took = elapsed(s.requested_at, s.finished_at)
    done = sa.select(_depth().label("depth"), took.label("seconds"), _bucket(took).label("le"))
    stop = done.where(asked, s.marked > 0).cte("stop")
    m, depth, seconds = moved.c, stop.c.depth, stop.c.seconds
    is_over = seconds.is_not(None)
    cut_off = sa.and_(m.to_status == Status.INTERRUPTED.value, m.attempt.startswith(RESTART))
    goes_on = sa.and_(m.from_status == Status.INTERRUPTED.value, m.to_status == Status.PENDING.value)
    failed = sa.and_(m.from_status == Status.STOPPING.value, m.to_status == Status.FAILED.value)
    ended = m.to_status.in_([status.value for status in TERMINAL])
    return [
        _sum(Counter.ENDINGS, ended, type_=m.container_type, label=m.to_status),
        _sum(Counter.RESTARTS, cut_off, type_=m.container_type),
        _sum(Counter.RECOVERIES, goes_on, type_=m.container_type),
        _sum(Counter.STOP_FAILURES, failed, label=ERROR),
        _sum(Counter.STOPS, sa.true(), label=depth),
        _sum(Counter.STOP_BUCKET, is_over, label=depth, le=stop.c.le),
        _sum(Counter.STOP_SECONDS, is_over, label=depth, value=sa.func.sum(seconds)),
    ]


def _sum(
    counter: Counter,
    which: sa.ColumnElement[bool],
    *,
    type_: sa.ColumnElement[str] = NOTHING,
    label: sa.ColumnElement[str] = NOTHING,
    le: sa.ColumnElement[str] = NOTHING,
    value: sa.ColumnElement[Any] | None = None,
) -> sa.Select[Any]:
    """One counter from the rows of `moved` or `stop`; a group of no rows is none."""
    number = sa.func.count() if value is None else value
    found = sa.select(sa.literal(counter.value, sa.String), type_, label, le, number).where(which)
    by = [each for each in (type_, label, le) if each not in CONSTANTS]
    return found.group_by(*by).having(sa.func.count() > 0)


def _depth() -> sa.ColumnElement[str]:
    """How many levels the tree of a stop had, that of its target included."""
    levels = sa.func.coalesce(s.levels, 0) + 1
    return sa.case((levels <= 1, "1"), (levels == 2, "2"), (levels == 3, "3"), else_="4+")  # noqa: PLR2004 - as said


def _bucket(seconds: sa.ColumnElement[float]) -> sa.ColumnElement[str]:
    """The least bound that is not passed."""
    return sa.case(*((seconds <= float(bound), bound) for bound in BOUNDS), else_="+Inf")

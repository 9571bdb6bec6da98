"""Deleting what is past its retention: a small batch at a time, found by an index and locked before it is looked at."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from lifecycle.store import totals
from lifecycle.store.clock import later, now
from lifecycle.store.runs import child
from lifecycle.store.tables import container_logs, containers, ended, live, nodes, quarantines

c, n, lines = containers.c, nodes.c, container_logs.c


@dataclass(frozen=True, slots=True)
class Place:
    """Where a way through the ended containers stands: by the time of their ending, then by id."""

    stopped_at: datetime | None
    """None among those that a hand has ended, without a time."""
    id: str = ""


OLDEST = Place(datetime(1970, 1, 1, tzinfo=UTC))
UNDATED = Place(None)


@dataclass(frozen=True, slots=True)
class Ended:
    """An ended container that is locked, and the one above it."""

    id: str
    parent: str | None
    stopped_at: datetime | None

    @property
    def place(self) -> Place:
        """Where the way goes on after it."""
        return Place(self.stopped_at, self.id)


def time_before(connection: sa.Connection, seconds: float) -> datetime:
    """What time it was `seconds` ago."""
    return connection.execute(sa.select(later(now(), -seconds))).scalar_one()


def take(connection: sa.Connection, before: datetime, *, after: Place, limit: int) -> list[Ended]:
    """Lock containers that ended before a time, oldest first, from a place on; what others have locked is skipped."""
    if after.stopped_at is None:
        way = sa.and_(_undated(before), c.id > after.id)
    else:
        reached = sa.tuple_(sa.literal(after.stopped_at, c.stopped_at.type), sa.literal(after.id, c.id.type))
        way = sa.and_(_dated(before), sa.tuple_(c.stopped_at, c.id) > reached)
    columns = (c.id, c.parent_container_id, c.stopped_at)
    query = sa.select(*columns).where(ended(), way).order_by(c.stopped_at, c.id).limit(limit)
    return [Ended(*row) for row in connection.execute(query.with_for_update(skip_locked=True))]


def delete(connection: sa.Connection, taken: Iterable[Ended]) -> int:
    """Delete those of the taken containers below which no row is left, with all that is theirs; how many.

    First the leaves, then whom that made leaves. Taken ones are locked: nobody records a child under them any more.
    What metrics count of them is kept. What is theirs goes by cascades; on PostgreSQL a statement for each table
    instead took a third longer.
    """
    above = {each.id: each.parent for each in taken}
    totals.fold_of(connection, sorted(above))
    count = 0
    asked: set[str | None] = set(above)
    while asked and (leaves := _leaves(connection, asked)):
        connection.execute(containers.delete().where(c.id.in_(leaves)))
        count += len(leaves)
        freed = {above.pop(leaf) for leaf in leaves}
        asked = freed & above.keys()
    return count


def _leaves(connection: sa.Connection, ids: Iterable[str | None]) -> list[str]:
    """Those of them that have no child, live or not."""
    below = sa.exists(sa.select(sa.literal(1)).where(child.c.parent_container_id == c.id).correlate(containers))
    return list(connection.execute(sa.select(c.id).where(c.id.in_(sorted(filter(None, ids))), ~below)).scalars())


def delete_lines(connection: sa.Connection, before: datetime, *, after: int, limit: int) -> tuple[int, int]:
    """Delete log lines written before a time among the next `limit`; how many, and the line to go on after.

    Lines are numbered as time goes: once there are none, what follows is younger.
    """
    columns = (lines.id, (lines.at < before).label("is_old"))
    query = sa.select(*columns).where(lines.id > after).order_by(lines.id).limit(limit)
    found = connection.execute(query.with_for_update(skip_locked=True)).all()
    old = [row.id for row in found if row.is_old]
    connection.execute(container_logs.delete().where(lines.id.in_(old)))
    return len(old), found[-1].id if found else after


def delete_nodes(connection: sa.Connection, before: datetime, *, limit: int) -> int:
    """Delete nodes that died before a time and that no live container names; how many."""
    return _delete_some(connection, nodes, _forgotten(before), limit)


def delete_quarantines(connection: sa.Connection, before: datetime, *, limit: int) -> int:
    """Delete what is known of resources whose last failure was before a time; how many."""
    return _delete_some(connection, quarantines, quarantines.c.failed_at < before, limit)


def _delete_some(connection: sa.Connection, table: sa.Table, which: sa.ColumnElement[bool], limit: int) -> int:
    query = sa.select(table.c.id).where(which).order_by(table.c.id).limit(limit).with_for_update(skip_locked=True)
    found = list(connection.execute(query).scalars())
    connection.execute(table.delete().where(table.c.id.in_(found)))
    return len(found)


def count(connection: sa.Connection, before: datetime) -> tuple[int, int, int, int]:
    """How many containers, log lines of others, nodes and quarantines would go: nothing is locked."""
    kept = _kept(before)
    goes = sa.and_(_past(before), ~sa.exists(sa.select(sa.literal(1)).where(kept.c.id == c.id).correlate(containers)))
    going = sa.select(sa.func.count()).select_from(containers).where(goes)
    with_them = sa.select(sa.func.count()).join_from(container_logs, containers, lines.container_id == c.id)
    queries = (
        going,
        sa.select(sa.func.count()).select_from(container_logs).where(lines.at < before),
        with_them.where(lines.at < before, goes),
        sa.select(sa.func.count()).select_from(nodes).where(_forgotten(before)),
        sa.select(sa.func.count()).select_from(quarantines).where(quarantines.c.failed_at < before),
    )
    gone, old_lines, their_lines, dead, resources = (connection.execute(query).scalar_one() for query in queries)
    return gone, old_lines - their_lines, dead, resources


def _kept(before: datetime) -> Any:
    """Containers past the time that stay: something below them does."""
    row = sa.select(c.id, c.parent_container_id)
    over_one = row.join(child, child.c.parent_container_id == c.id).where(_past(before), sa.not_(_past(before, child)))
    kept = over_one.cte("kept", recursive=True)
    return kept.union(row.join(kept, kept.c.parent_container_id == c.id))


def _past(before: datetime, table: sa.FromClause = containers) -> sa.ColumnElement[bool]:
    """Ended before a time."""
    return sa.and_(ended(table), sa.or_(_dated(before, table), _undated(before, table)))


def _dated(before: datetime, table: sa.FromClause = containers) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.stopped_at.is_not(None), table.c.stopped_at < before)  # said, for NOT of it


def _undated(before: datetime, table: sa.FromClause = containers) -> sa.ColumnElement[bool]:
    """Ended by a hand, which may have left the other columns: not while a living node may still run it."""
    runs = sa.exists(sa.select(sa.literal(1)).where(n.id == table.c.node, n.dead == sa.false()).correlate(table))
    return sa.and_(table.c.stopped_at.is_(None), table.c.updated_at < before, ~runs)


def _forgotten(before: datetime) -> sa.ColumnElement[bool]:
    named = sa.exists(sa.select(sa.literal(1)).where(live(), c.node == n.id).correlate(nodes))
    return sa.and_(n.dead == sa.true(), sa.func.coalesce(n.dead_at, n.expires_at) < before, ~named)

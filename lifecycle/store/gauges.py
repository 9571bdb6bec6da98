"""What is now, for metrics: live containers, living nodes, the passes. What has ended costs nothing here."""

from typing import Any

import sqlalchemy as sa

from lifecycle.domain.counters import ACTIVE_DEPTHS
from lifecycle.domain.gauges import Active, Gauges, PassRuns
from lifecycle.store.clock import UtcDateTime, elapsed, now
from lifecycle.store.tables import containers, live, nodes, passes, startable

c, n, p = containers.c, nodes.c, passes.c


def read(connection: sa.Connection) -> Gauges:
    """Three statements."""
    active, due, lag = _active(connection)
    living = sa.select(sa.func.count()).select_from(nodes).where(n.dead == sa.false(), n.expires_at > now())
    ran = connection.execute(sa.select(p.name, p.ended_at, p.runs, p.total_found).order_by(p.name))
    return Gauges(
        active=active,
        due=due,
        lag=lag,
        nodes=connection.execute(living).scalar_one(),
        passes=tuple(PassRuns(*row) for row in ran),
    )


def _active(connection: sa.Connection) -> tuple[tuple[Active, ...], int, float]:
    """Live containers by type, depth and status; how many of them wait to be executed, and how long the first has."""
    last = len(ACTIVE_DEPTHS) - 1
    depth = sa.case((c.depth < last, c.depth), else_=last).label("level")
    at = sa.select(now()).scalar_subquery()
    is_due = sa.and_(startable(), sa.or_(c.wake_at.is_(None), c.wake_at <= at))
    since = sa.case((is_due, sa.func.coalesce(c.wake_at, c.created_at)))
    waits = elapsed(sa.type_coerce(sa.func.min(since), UtcDateTime), now())
    by = (c.container_type, depth, c.status)
    counts: sa.Select[Any] = sa.select(*by, sa.func.count(), sa.func.count(since), waits)
    rows = connection.execute(counts.where(live()).group_by(*by)).all()
    active = tuple(Active(type_, ACTIVE_DEPTHS[level], status, count) for type_, level, status, count, _, _ in rows)
    return active, sum(row[4] for row in rows), max((row[5] for row in rows if row[5] is not None), default=0.0)

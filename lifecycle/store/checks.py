"""What `check` reads."""

import time

import sqlalchemy as sa

from lifecycle.domain.facts import Recorded, Row
from lifecycle.store import passes
from lifecycle.store.clock import now
from lifecycle.store.engine import Database
from lifecycle.store.tables import containers, live, nodes, startable

n, c = nodes.c, containers.c


def recorded(database: Database) -> Recorded:
    """All of it; raises StoreError."""
    with database.read() as connection:
        return Recorded(
            id=database.id,
            ahead=ahead(connection),
            rows=rows(connection),
            waiting=waiting(connection),
            live_types=live_types(connection),
            passes=passes.runs(connection),
        )


def ahead(connection: sa.Connection) -> float:
    """Seconds that the database's clock is ahead of ours, at least: the way there takes time, too."""
    before = time.time()
    at: float = connection.execute(sa.select(now())).scalar_one().timestamp()
    return max(0.0, at - time.time()) + min(0.0, at - before)


def rows(connection: sa.Connection) -> tuple[Row, ...]:
    """The nodes that nobody has declared dead, oldest first."""
    query = sa.select(n.id, n.pool, n.queues, n.types, n.expires_at, n.started_at, now()).where(n.dead == sa.false())
    return tuple(
        Row(
            id=node,
            pool=pool,
            queues=frozenset(queues or ()),
            types=frozenset(types or ()),
            late=(at - expires_at).total_seconds(),
            age=(at - started_at).total_seconds(),
        )
        for node, pool, queues, types, expires_at, started_at, at in connection.execute(query.order_by(n.started_at))
    )


def waiting(connection: sa.Connection) -> dict[str | None, int]:
    """How many containers are to be run, now or at their time, by queue."""
    query = sa.select(c.queue, sa.func.count()).where(startable()).group_by(c.queue).order_by(c.queue)
    return {row[0]: row[1] for row in connection.execute(query)}


def live_types(connection: sa.Connection) -> dict[str, int]:
    """How many containers of each type have not ended."""
    query = sa.select(c.container_type, sa.func.count()).where(live())
    return {row[0]: row[1] for row in connection.execute(query.group_by(c.container_type).order_by(c.container_type))}

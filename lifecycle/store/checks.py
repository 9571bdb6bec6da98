"""What `check` reads."""

import math
import time
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from lifecycle.domain.facts import Engine, Recorded, Row
from lifecycle.domain.service import EVENTS, OF_ENGINE
from lifecycle.store import passes
from lifecycle.store.clock import now
from lifecycle.store.engine import Database
from lifecycle.store.tables import containers, docker_services, live, nodes, startable

n, c, s = nodes.c, containers.c, docker_services.c


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
            engines=engines(connection),
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


def engines(connection: sa.Connection) -> tuple[Engine, ...]:
    """The Docker engines of which anything is remembered."""
    query = sa.select(s.engine, s.key, s.told, s.reason, s.opened_at, s.seen_at, now().label("at"))
    rows = connection.execute(query.order_by(s.engine, s.key))
    return tuple(_engine(name, list(group)) for name, group in groupby(rows, key=lambda row: row.engine))


def _engine(name: str, rows: list[Any]) -> Engine:
    ago = {row.key: (row.at - row.seen_at).total_seconds() for row in rows if row.seen_at is not None}
    return Engine(
        name=name,
        seen=min((seconds for key, seconds in ago.items() if key not in OF_ENGINE), default=math.inf),
        refusals=tuple(row.told for row in rows if row.key in OF_ENGINE and row.told is not None),
        given_up=tuple(row.key for row in rows if row.opened_at is not None),
        heard=ago.get(EVENTS),
        deaf=next((row.reason for row in rows if row.key == EVENTS), None),
    )

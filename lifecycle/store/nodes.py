"""Nodes: one row a start of a Celery worker, renewed while it lives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lifecycle.store.clock import later, now
from lifecycle.store.runs import no_live_child
from lifecycle.store.tables import containers, live, nodes

n, c = nodes.c, containers.c


@dataclass(frozen=True, slots=True)
class Held:
    """A live row that names a node, with what its supervisor must know."""

    id: str
    status: str
    epoch: int
    pid: int | None
    pid_started: int | None
    detached: bool
    parent: str | None
    seconds_to_deadline: float | None
    signal_due: bool
    has_live_child: bool
    stop_error: str | None


def register(connection: sa.Connection, values: Mapping[str, Any], *, expires_in: float) -> None:
    """Write a new node's row; it lives until `expires_in` seconds after its last renewal."""
    times = {"started_at": now(), "renewed_at": now(), "expires_at": later(now(), expires_in)}
    connection.execute(nodes.insert().values(**values, **times))


def renew(connection: sa.Connection, node: str, *, expires_in: float, timeout: float) -> bool:
    """Prolong a node's life; False if it was declared dead meanwhile. At most `timeout` seconds on PostgreSQL."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.set_config("statement_timeout", f"{int(timeout * 1000)}ms", True)))
    alive = nodes.update().where(n.id == node, n.dead == sa.false())
    values = {"renewed_at": now(), "expires_at": later(now(), expires_in)}
    return connection.execute(alive.values(values)).rowcount == 1


def declare_dead(connection: sa.Connection) -> list[str]:
    """Mark every node whose life ran out by the database's clock; their ids."""
    silent = nodes.update().where(n.dead == sa.false(), n.expires_at < now())
    gone = silent.values(dead=sa.true(), dead_at=now(), dead_why="lease ran out").returning(n.id)
    return list(connection.execute(gone).scalars())


def retire(connection: sa.Connection, node: str, why: str) -> None:
    """A node that leaves says so, and is not waited for."""
    leaving = nodes.update().where(n.id == node, n.dead == sa.false())
    connection.execute(leaving.values(dead=sa.true(), dead_at=now(), dead_why=why))


def alive(connection: sa.Connection) -> list[sa.Row[Any]]:
    """Nodes that are not dead, oldest first."""
    return list(connection.execute(sa.select(nodes).where(n.dead == sa.false()).order_by(n.started_at)).all())


def rows_on_dead_nodes(connection: sa.Connection, limit: int = 1_000) -> list[tuple[str, int, str]]:
    """Live rows whose node is dead or unknown: id, epoch and that node."""
    lives = sa.exists(sa.select(sa.literal(1)).where(n.id == c.node, n.dead == sa.false()))
    query = sa.select(c.id, c.epoch, c.node).where(live(), c.node.is_not(None), ~lives).limit(limit)
    return [(row.id, row.epoch, row.node) for row in connection.execute(query)]


def held(connection: sa.Connection, node: str, running: Iterable[str] = ()) -> list[Held]:
    """Rows that name this node, and those of the ids its processes say they run."""
    names_it = sa.and_(live(), c.node == node)
    query = sa.select(
        c.id, c.status, c.epoch, c.pid, c.pid_started, c.detached, c.parent_container_id,
        c.stop_deadline, sa.case((c.signal_at <= now(), True), else_=False), sa.not_(no_live_child()), c.stop_error, now(),
    ).where(sa.or_(names_it, c.id.in_(list(running))))
    return [_held(*row) for row in connection.execute(query)]


def _held(*row: Any) -> Held:
    deadline: datetime | None = row[7]
    seconds = (deadline - row[11]).total_seconds() if deadline is not None else None
    return Held(*row[:7], seconds, bool(row[8]), bool(row[9]), row[10])

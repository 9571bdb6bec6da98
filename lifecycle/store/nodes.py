"""Nodes: one row a start of a Celery worker, renewed while it lives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from lifecycle.domain.status import TERMINAL
from lifecycle.store.clock import later, now
from lifecycle.store.engine import limit_statements
from lifecycle.store.runs import no_live_child
from lifecycle.store.tables import containers, live, nodes

n, c = nodes.c, containers.c


@dataclass(frozen=True, slots=True)
class Held:
    """A row that names a node or that one of its processes says it runs, with what the supervisor must know."""

    id: str
    status: str
    epoch: int
    node: str | None
    pid: int | None
    pid_started: int | None
    parent: str | None
    stop_error: str | None
    grace: float
    seconds_to_deadline: float | None
    signal_due: bool
    has_live_child: bool

    @property
    def is_live(self) -> bool:
        """True if the row has not ended."""
        return self.status not in TERMINAL


def register(connection: sa.Connection, values: Mapping[str, Any], *, expires_in: float) -> None:
    """Write a new node's row; it lives until `expires_in` seconds after its last renewal."""
    times = {"started_at": now(), "renewed_at": now(), "expires_at": later(now(), expires_in)}
    connection.execute(nodes.insert().values(**values, **times))


def renew(connection: sa.Connection, node: str, *, expires_in: float, timeout: float) -> bool:
    """Prolong a node's life; False if it was declared dead meanwhile. At most `timeout` seconds on PostgreSQL."""
    limit_statements(connection, timeout)
    alive = nodes.update().where(n.id == node, n.dead == sa.false())
    values = {"renewed_at": now(), "expires_at": later(now(), expires_in)}
    return connection.execute(alive.values(values)).rowcount == 1


def declare_dead(connection: sa.Connection) -> list[str]:
    """Mark every node whose life ran out by the database's clock; their ids. Not one whose row is being renewed."""
    silent = sa.and_(n.dead == sa.false(), n.expires_at < now())
    ids = list(connection.execute(sa.select(n.id).where(silent).with_for_update(skip_locked=True)).scalars())
    if not ids:
        return []
    gone = nodes.update().where(n.id.in_(ids), silent)
    gone = gone.values(dead=sa.true(), dead_at=now(), dead_why="lease ran out").returning(n.id)
    return list(connection.execute(gone).scalars())


def retire(connection: sa.Connection, node: str, why: str) -> None:
    """A node that leaves says so, and is not waited for."""
    leaving = nodes.update().where(n.id == node, n.dead == sa.false())
    connection.execute(leaving.values(dead=sa.true(), dead_at=now(), dead_why=why))


def alive(connection: sa.Connection) -> list[sa.Row[Any]]:
    """Nodes that are not dead, oldest first."""
    return list(connection.execute(sa.select(nodes).where(n.dead == sa.false()).order_by(n.started_at)).all())


def rows_on_dead_nodes(connection: sa.Connection, limit: int = 1_000) -> list[Any]:
    """Live rows whose node is dead or unknown: `id`, `epoch`, that `node`, and `dead_why`."""
    query = sa.select(c.id, c.epoch, c.node, n.dead_why).select_from(containers.outerjoin(nodes, n.id == c.node))
    lost = query.where(live(), c.node.is_not(None), sa.or_(n.id.is_(None), n.dead == sa.true())).limit(limit)
    return list(connection.execute(lost).all())


def rows_on_silent_nodes(connection: sa.Connection, limit: int = 1_000) -> list[str]:
    """Live rows whose node is dead or unknown, or has been silent for longer than its lease."""
    lives = sa.exists(sa.select(sa.literal(1)).where(n.id == c.node, n.dead == sa.false(), n.expires_at >= now()))
    query = sa.select(c.id).where(live(), c.node.is_not(None), ~lives).order_by(c.id).limit(limit)
    return list(connection.execute(query).scalars())


def rows_on_node(connection: sa.Connection, node: str) -> list[tuple[str, int]]:
    """Live rows that name this node: id and epoch."""
    query = sa.select(c.id, c.epoch).where(live(), c.node == node)
    return [(row.id, row.epoch) for row in connection.execute(query)]


def held(connection: sa.Connection, node: str, said: Sequence[str] = ()) -> list[Held]:
    """Live rows that name this node, and the rows its processes say they run."""
    what = (c.id, c.status, c.epoch, c.node, c.pid, c.pid_started, c.parent_container_id, c.stop_error, c.grace)
    signal_due = sa.case((c.signal_at <= now(), True), else_=False)
    query = sa.select(*what, c.stop_deadline, now(), signal_due, sa.not_(no_live_child()))
    found = connection.execute(query.where(live(), c.node == node)).all()
    others = set(said).difference(row.id for row in found)
    if others:
        found = [*found, *connection.execute(query.where(c.id.in_(others)))]
    return [_held(*row) for row in found]


def _held(*row: Any) -> Held:
    what: tuple[Any, ...] = row[:9]
    deadline, at, signal_due, has_live_child = row[9:]
    seconds = None if deadline is None else (deadline - at).total_seconds()
    times: tuple[Any, ...] = (seconds, bool(signal_due), bool(has_live_child))
    return Held(*what, *times)

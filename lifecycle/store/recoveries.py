"""What was done to Docker services: one row an action, from its beginning."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from lifecycle.domain.service import Action
from lifecycle.store.clock import later, now
from lifecycle.store.tables import docker_actions, docker_services

a, s = docker_actions.c, docker_services.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One action; without `ended_at` it is under way, or died with who did it."""

    key: str
    container_id: str
    kind: str
    reason: str
    begun_at: datetime
    ended_at: datetime | None
    by: str
    error: str | None
    charged: bool
    """False if nothing of it counts: it was the engine's fault."""


def begin(connection: sa.Connection, engine: str, action: Action, *, by: str) -> int:
    """An action begins; its number. It counts from now on, whatever becomes of its node."""
    values = {"key": action.key, "container_id": action.id, "kind": str(action.kind), "reason": action.reason, "by": by}
    made = docker_actions.insert().values(engine=engine, begun_at=now(), **values).returning(a.id)
    return int(connection.execute(made).scalar_one())


def end(connection: sa.Connection, number: int, *, error: str | None, charged: bool) -> None:
    """An action is over."""
    row = docker_actions.update().where(a.id == number)
    connection.execute(row.values(ended_at=now(), error=error, charged=charged))


def forget(connection: sa.Connection, engine: str, older_than: float) -> int:
    """Delete the actions that began so many seconds ago, and services not seen since; how many actions there were."""
    before = later(now(), -older_than)
    old = sa.or_(s.seen_at < before, sa.and_(s.seen_at.is_(None), s.locked_until < before))  # an aside is only held
    connection.execute(docker_services.delete().where(s.engine == engine, old, s.paused == sa.false()))
    return connection.execute(docker_actions.delete().where(a.engine == engine, a.begun_at < before)).rowcount


def history(
    connection: sa.Connection, engine: str, *, keys: Sequence[str] | None = None, limit: int = 20
) -> list[Recovery]:
    """The last actions, the newest first; of these keys, or of all."""
    columns = (a.key, a.container_id, a.kind, a.reason, a.begun_at, a.ended_at, a.by, a.error, a.charged)
    query = sa.select(*columns).where(a.engine == engine).order_by(a.id.desc()).limit(limit)
    if keys is not None:
        query = query.where(a.key.in_(keys))
    return [Recovery(**row._asdict()) for row in connection.execute(query)]

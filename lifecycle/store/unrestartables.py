"""Docker containers that no call is made for again: by id, so that a new one of the same name is not meant."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lifecycle.domain.recovery import Unrestartable
from lifecycle.store.clock import now
from lifecycle.store.tables import docker_unrestartables

u = docker_unrestartables.c
MOST = 100
INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def listed(connection: sa.Connection, engine: str) -> dict[str, Unrestartable]:
    """Those of an engine, by id, the oldest first."""
    query = sa.select(u.container_id, u.name, u.reason, u.reference).where(u.engine == engine).order_by(u.id)
    rows = connection.execute(query)
    return {row.container_id: Unrestartable(id=row[0], name=row[1], reason=row[2], reference=row[3]) for row in rows}


def note(connection: sa.Connection, engine: str, failed: Unrestartable, present: Collection[str]) -> bool:
    """R75-R78: note a container; True if it was not yet. Over the cap those go first that are not among `present`."""
    values = {"name": failed.name, "reason": failed.reason, "reference": failed.reference}
    made = INSERT[connection.dialect.name](docker_unrestartables).on_conflict_do_nothing()
    is_new = connection.execute(made.values(engine=engine, container_id=failed.id, at=now(), **values)).rowcount == 1
    if not is_new:
        connection.execute(docker_unrestartables.update().where(_of(engine, [failed.id])).values(values))
    known = [each for each in listed(connection, engine) if each != failed.id]
    least_used = [*(each for each in known if each not in present), *(each for each in known if each in present)]
    forget(connection, engine, least_used[: max(0, len(known) + 1 - MOST)])
    return is_new


def prune(connection: sa.Connection, engine: str, present: Collection[str]) -> int:
    """R79: forget those that the engine does not list any more; how many."""
    gone = [each for each in listed(connection, engine) if each not in present]
    return forget(connection, engine, gone)


def forget(connection: sa.Connection, engine: str, ids: Collection[str]) -> int:
    """Let these be tried again; how many there were."""
    return connection.execute(docker_unrestartables.delete().where(_of(engine, ids))).rowcount if ids else 0


def _of(engine: str, ids: Collection[str]) -> sa.ColumnElement[bool]:
    return sa.and_(u.engine == engine, u.container_id.in_(ids))

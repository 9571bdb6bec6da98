"""What containers logged: folded, in UTC, kept with their rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lifecycle.store.tables import container_logs, containers

t, c = container_logs.c, containers.c
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a container's log; `count` times the same within the folding window."""

    id: int
    container_id: str
    epoch: int
    at: datetime
    level: str
    logger: str
    message: str
    count: int


def append(connection: sa.Connection, lines: Sequence[Mapping[str, Any]]) -> list[int]:
    """Write lines in order; their ids."""
    if not lines:
        return []
    insert = container_logs.insert().returning(t.id, sort_by_parameter_order=True)
    return list(connection.execute(insert, list(lines)).scalars())


def repeat(connection: sa.Connection, counts: Mapping[int, int]) -> None:
    """Add to the counts of lines that came again."""
    for line, times in counts.items():
        connection.execute(container_logs.update().where(t.id == line).values(count=t.count + times))


def read(
    connection: sa.Connection,
    container_ids: Iterable[str] | sa.Select[tuple[str]],
    *,
    after: int = 0,
    tail: int | None = None,
    level: str | None = None,
    since: datetime | None = None,
    limit: int | None = 1_000,
) -> list[LogLine]:
    """Lines of these containers after line `after`, oldest first; the last `tail` of them if given."""
    whose = container_ids if isinstance(container_ids, sa.Select) else list(container_ids)
    query = sa.select(container_logs).where(t.container_id.in_(whose), t.id > after)
    if level is not None:
        query = query.where(t.level.in_(LEVELS[LEVELS.index(level) :]))
    if since is not None:
        query = query.where(t.at >= since)
    if tail is not None:
        newest = connection.execute(query.order_by(t.id.desc()).limit(tail)).all()
        return [LogLine(**row._mapping) for row in reversed(newest)]  # noqa: SLF001
    rows = connection.execute(query.order_by(t.id).limit(limit))
    return [LogLine(**row._mapping) for row in rows]  # noqa: SLF001


def tree_of(container_id: str) -> sa.Select[tuple[str]]:
    """The ids of a container and of all below it, for `read`."""
    tree = sa.select(c.id).where(c.id == container_id).cte("tree", recursive=True)
    tree = tree.union_all(sa.select(c.id).where(c.parent_container_id == tree.c.id))
    return sa.select(tree.c.id)

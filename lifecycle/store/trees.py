"""Many trees at once: which containers are above which, and what would go down with them. Attached links only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from lifecycle.store.tables import containers, live

c = containers.c
BATCH = 1_000  # ids in one statement


@dataclass(frozen=True, slots=True)
class Going:
    """A live container that a stop of `top` ends."""

    id: str
    status: str
    parent_container_id: str | None
    top: str


def links(connection: sa.Connection, ids: Sequence[str]) -> dict[str, str | None]:
    """The parent of each of these and of all above them, None for a root or a detached one; a statement a batch."""
    found: dict[str, str | None] = {}
    for some in _batches(ids):
        columns = (c.id, c.parent_container_id, c.detached)
        way = sa.select(*columns).where(c.id.in_(some)).cte("way", recursive=True)
        above = sa.select(*columns).where(c.id == way.c.parent_container_id, way.c.detached == sa.false())
        way = way.union(above)  # not union_all: siblings share what is above them
        found |= {
            row.id: None if row.detached else row.parent_container_id for row in connection.execute(sa.select(way))
        }
    return found


def going(connection: sa.Connection, tops: Sequence[str]) -> dict[str, list[Going]]:
    """What a stop of each of these ends now, oldest first; none of them may be below another one."""
    found: dict[str, list[Going]] = {top: [] for top in tops}
    for some in _batches(tops):
        tree = sa.select(c.id, c.id.label("top")).where(c.id.in_(some)).cte("tree", recursive=True)
        below = sa.select(c.id, tree.c.top).where(c.parent_container_id == tree.c.id, c.detached == sa.false())
        tree = tree.union_all(below)  # through ended ones too: a live child of one is stopped as well
        columns = (c.id, c.status, c.parent_container_id, tree.c.top)
        query = sa.select(*columns).join(tree, tree.c.id == c.id).where(live()).order_by(c.created_at, c.id)
        for row in connection.execute(query):
            found[row.top].append(Going(*row))
    return found


def lock(connection: sa.Connection, ids: Sequence[str]) -> list[Any]:
    """Those of these containers that are there (`id`, `depth`), locked in one order: two who stop many do not cross."""
    query = sa.select(c.id, c.depth).where(c.id.in_(ids)).order_by(c.id)
    return list(connection.execute(query.with_for_update(key_share=True)).all())


def statuses(connection: sa.Connection, ids: Sequence[str]) -> dict[str, str]:
    """The status of each of these containers."""
    found: dict[str, str] = {}
    for some in _batches(ids):
        rows = connection.execute(sa.select(c.id, c.status).where(c.id.in_(some)))
        found |= {row.id: row.status for row in rows}
    return found


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[first : first + BATCH] for first in range(0, len(ids), BATCH))

"""Recording containers and reading them; what changes a status is in `runs` and `marks`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lifecycle.domain.container import Container
from lifecycle.domain.status import Status, parse_statuses
from lifecycle.errors import AmbiguousId, ContainerExists, ContainerNotFound, CorruptRow
from lifecycle.store import tags as store_tags
from lifecycle.store import transitions
from lifecycle.store.clock import later, now
from lifecycle.store.tables import containers, live
from lifecycle.store.tags import TAGS

c = containers.c
HEAVY = {"message", "previous_status"}  # columns that are no part of a Container
COLUMNS = [*(column for column in c if column.name not in HEAVY), TAGS]
THE_ROW = c.id == sa.bindparam("the_id")
THE_SHARED_ROW = sa.select(c.id, c.status, c.outcome, c.epoch, c.player_id, c.root_id, c.depth, TAGS).where(THE_ROW)
THE_PARENT = THE_SHARED_ROW.with_for_update(read=True, of=containers)
_wake_in, _expires_in = sa.bindparam("wake_in", type_=sa.Float), sa.bindparam("expires_in", type_=sa.Float)
BORN = {
    "status": Status.PENDING.value,
    "created_at": now(),
    "updated_at": now(),
    "wake_at": sa.case((_wake_in.is_(None), sa.null()), else_=later(now(), _wake_in)),
    "expires_at": sa.case((_expires_in.is_(None), sa.null()), else_=later(now(), _expires_in)),
    "dispatched_at": sa.case((_wake_in.is_(None), now()), else_=sa.null()),
}
INSERT = {
    name: made.on_conflict_do_nothing().values(BORN).returning(*COLUMNS)
    for name, made in (("postgresql", postgresql.insert(containers)), ("sqlite", sqlite.insert(containers)))
}


def from_row(row: sa.Row[Any], tags: Mapping[str, str] | None = None) -> Container:
    """The one place where a row becomes a value; raises CorruptRow if it holds what cannot be."""
    values = {name: value for name, value in row._mapping.items() if name not in HEAVY}  # noqa: SLF001 - its public name
    try:
        values["status"] = Status(values["status"])
    except ValueError as error:
        raise CorruptRow(f"container {values['id']} has an unknown status: {values['status']!r}") from error
    values["state"] = values["state"] or {}
    values["tags"] = dict(sorted((tags or values["tags"] or {}).items()))
    return Container(**values)


def insert(connection: sa.Connection, rows: Sequence[Mapping[str, Any]], *, by: str) -> list[Container]:
    """Record new PENDING containers in one INSERT, their tags among the values; all or none.

    `wake_in` and `expires_in` (seconds or None) become times by the database's clock; without `wake_in` who inserts
    is to publish. Raises ContainerExists.
    """
    tags = {row["id"]: row["tags"] for row in rows}
    columns = [{name: value for name, value in row.items() if name != "tags"} for row in rows]
    found = {row.id: row for row in connection.execute(INSERT[connection.dialect.name], columns)}
    asked = Counter(row["id"] for row in rows)
    if taken := [each for each, times in asked.items() if times > 1 or each not in found]:
        raise ContainerExists(*taken)
    store_tags.write(connection, tags.items())
    transitions.born(connection, tags, by=by)
    return [from_row(found[container_id], tags[container_id]) for container_id in tags]


def lock_parent(connection: sa.Connection, container_id: str) -> Any:
    """A parent, or None, read `FOR SHARE`: siblings spawn side by side, a stop waits until the child is there."""
    return connection.execute(THE_PARENT, {"the_id": container_id}).first()


def get(connection: sa.Connection, container_id: str, player_id: int | None = None) -> Container:
    """One container by its id; raises ContainerNotFound, also for another player's."""
    row = connection.execute(sa.select(*COLUMNS).where(c.id == container_id)).first()
    if row is None or (player_id is not None and row.player_id != player_id):
        raise ContainerNotFound(container_id)
    return from_row(row)


def resolve(connection: sa.Connection, part: str, player_id: int | None = None) -> str:
    """The id that `part` names: itself, or a unique prefix or suffix; raises ContainerNotFound or AmbiguousId."""
    mine = sa.true() if player_id is None else c.player_id == player_id
    if connection.execute(sa.select(c.id).where(c.id == part, mine)).first() is not None:
        return part
    fits = sa.or_(c.id.startswith(part, autoescape=True), c.id.endswith(part, autoescape=True))
    query = sa.select(c.id).where(fits, mine).order_by(c.id).limit(6)
    found = list(connection.execute(query).scalars()) if part else []
    if not found:
        raise ContainerNotFound(part)
    if len(found) > 1:
        raise AmbiguousId(part, found)
    return str(found[0])


def find(
    connection: sa.Connection,
    *,
    status: str | Iterable[str] | None = None,
    player_id: int | None = None,
    tags: Mapping[str, str] | None = None,
    container_type: str | None = None,
    limit: int | None = 100,
) -> list[Container]:
    """Containers that fit every filter given, newest first; raises InvalidArgument for an unknown status."""
    query = sa.select(*COLUMNS).where(*_filters(status, player_id, tags, container_type))
    return [from_row(row) for row in connection.execute(query.order_by(c.created_at.desc(), c.id).limit(limit))]


def find_ids(
    connection: sa.Connection,
    *,
    status: str | Iterable[str] | None = None,
    player_id: int | None = None,
    tags: Mapping[str, str] | None = None,
) -> list[str]:
    """As `find`, but only ids, and all of them: a hundred thousand rows are half a gigabyte of containers."""
    query = sa.select(c.id).where(*_filters(status, player_id, tags, None))
    return list(connection.execute(query.order_by(c.created_at.desc(), c.id)).scalars())


def count_by_status(
    connection: sa.Connection,
    *,
    player_id: int | None = None,
    tags: Mapping[str, str] | None = None,
    container_type: str | None = None,
) -> dict[Status, int]:
    """How many containers fit the filters, by status."""
    query = sa.select(c.status, sa.func.count()).where(*_filters(None, player_id, tags, container_type))
    counts = {row[0]: row[1] for row in connection.execute(query.group_by(c.status))}
    return {status: counts.get(status.value, 0) for status in Status}


def children(
    connection: sa.Connection,
    container_id: str,
    live_only: bool | None = None,
    status: str | Iterable[str] | None = None,
) -> list[Container]:
    """Direct children, oldest first; only live ones, only ended ones, or (None) all; only of these statuses."""
    query = sa.select(*COLUMNS).where(c.parent_container_id == container_id, *_filters(status, None, None, None))
    if live_only is not None:
        query = query.where(live() if live_only else sa.not_(live()))
    return [from_row(row) for row in connection.execute(query.order_by(c.created_at, c.id))]


def descendants(connection: sa.Connection, container_id: str) -> list[Container]:
    """A container and all below it, whatever their status, oldest first."""
    tree = sa.select(c.id).where(c.id == container_id).cte("tree", recursive=True)
    tree = tree.union_all(sa.select(c.id).where(c.parent_container_id == tree.c.id))
    query = sa.select(*COLUMNS).join(tree, tree.c.id == c.id).order_by(c.created_at, c.id)
    return [from_row(row) for row in connection.execute(query)]


def messages(connection: sa.Connection, ids: Sequence[str]) -> dict[str, dict[str, Any] | None]:
    """The messages that start these containers, as their spawners recorded them."""
    found: dict[str, dict[str, Any] | None] = {}
    for first in range(0, len(ids), 1_000):
        query = sa.select(c.id, c.message).where(c.id.in_(ids[first : first + 1_000]))
        found |= {row.id: row.message for row in connection.execute(query)}
    return found


def known(connection: sa.Connection, ids: Sequence[str]) -> list[str]:
    """Those of the ids that are containers, in the order given."""
    found: set[str] = set()
    for first in range(0, len(ids), 1_000):
        found.update(connection.execute(sa.select(c.id).where(c.id.in_(ids[first : first + 1_000]))).scalars())
    return [each for each in ids if each in found]


def stamped(connection: sa.Connection) -> list[tuple[str, dict[str, Any]]]:
    """Live containers whose message carries stamped headers, and the message."""
    said = sa.cast(c.message, sa.Text).contains("stamped_headers")
    return [(row.id, row.message) for row in connection.execute(sa.select(c.id, c.message).where(live(), said))]


def _filters(
    status: str | Iterable[str] | None,
    player_id: int | None,
    tags: Mapping[str, str] | None,
    container_type: str | None,
) -> list[sa.ColumnElement[bool]]:
    filters: list[sa.ColumnElement[bool]] = []
    if status is not None:
        filters.append(c.status.in_([each.value for each in parse_statuses(status)]))
    if player_id is not None:
        filters.append(c.player_id == player_id)
    if container_type is not None:
        filters.append(c.container_type == container_type)
    return [*filters, *store_tags.have(tags or {})]

"""Recording containers and reading them; what changes a status is in `runs` and `marks`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from lifecycle.domain.container import Container
from lifecycle.domain.status import Status, parse_statuses
from lifecycle.errors import AmbiguousId, ContainerExists, ContainerNotFound, CorruptRow, InvalidParent
from lifecycle.store import transitions
from lifecycle.store.clock import later, now
from lifecycle.store.tables import container_tags, containers, live

HEAVY = {"message", "previous_status"}  # columns that are no part of a Container
COLUMNS = [column for column in containers.c if column.name not in HEAVY]


def from_row(row: sa.Row[Any], tags: Mapping[str, str] | None = None) -> Container:
    """The one place where a row becomes a value; raises CorruptRow if it holds what cannot be."""
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    try:
        values["status"] = Status(values["status"])
    except ValueError as error:
        raise CorruptRow(f"container {values['id']} has an unknown status: {values['status']!r}") from error
    return Container(**values, tags=dict(tags or {}))


def insert(connection: sa.Connection, values: Mapping[str, Any], tags: Mapping[str, str], *, by: str) -> None:
    """Record one PENDING container; raises ContainerExists, and InvalidParent if the database refuses the parent.

    `wake_in` and `expires_in` (seconds) become times by the database's clock.
    """
    row = {**values, "status": Status.PENDING.value, "created_at": now(), "updated_at": now()}
    for delay, column in (("wake_in", "wake_at"), ("expires_in", "expires_at")):
        seconds = row.pop(delay, None)
        row[column] = None if seconds is None else later(now(), seconds)
    row["dispatched_at"] = now() if row["wake_at"] is None else None
    try:
        with connection.begin_nested():
            connection.execute(containers.insert().values(**row))
    except IntegrityError as error:
        if exists(connection, values["id"]):
            raise ContainerExists(values["id"]) from error
        raise InvalidParent from error
    if tags:
        rows = [{"container_id": values["id"], "key": key, "value": value} for key, value in tags.items()]
        connection.execute(container_tags.insert(), rows)
    transitions.record(connection, containers.c.id == values["id"], by=by, why=None)


def exists(connection: sa.Connection, container_id: str) -> bool:
    """True if a container of this id is recorded."""
    return connection.execute(sa.select(containers.c.id).where(containers.c.id == container_id)).first() is not None


def lock_parent(connection: sa.Connection, container_id: str) -> Any:
    """A parent, or None, read `FOR SHARE`: siblings spawn side by side, a stop waits until the child is there."""
    c = containers.c
    columns = (c.status, c.outcome, c.epoch, c.player_id, c.root_id, c.depth)
    return connection.execute(sa.select(*columns).where(c.id == container_id).with_for_update(read=True)).first()


def tags_of(connection: sa.Connection, container_id: str) -> dict[str, str]:
    """The tags of one container."""
    t = container_tags.c
    rows = connection.execute(sa.select(t.key, t.value).where(t.container_id == container_id).order_by(t.key))
    return {row[0]: row[1] for row in rows}


def get(connection: sa.Connection, container_id: str, player_id: int | None = None) -> Container:
    """One container by its id; raises ContainerNotFound, also for another player's."""
    row = connection.execute(sa.select(*COLUMNS).where(containers.c.id == container_id)).first()
    if row is None or (player_id is not None and row.player_id != player_id):
        raise ContainerNotFound(container_id)
    return with_tags(connection, [row])[0]


def resolve(connection: sa.Connection, part: str, player_id: int | None = None) -> str:
    """The id that `part` names: itself, or a unique prefix or suffix; raises ContainerNotFound or AmbiguousId."""
    c = containers.c
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
    rows = connection.execute(query.order_by(containers.c.created_at.desc(), containers.c.id).limit(limit)).all()
    return with_tags(connection, rows)


def count_by_status(
    connection: sa.Connection,
    *,
    player_id: int | None = None,
    tags: Mapping[str, str] | None = None,
    container_type: str | None = None,
) -> dict[Status, int]:
    """How many containers fit the filters, by status."""
    c = containers.c
    query = sa.select(c.status, sa.func.count()).where(*_filters(None, player_id, tags, container_type))
    counts = {row[0]: row[1] for row in connection.execute(query.group_by(c.status))}
    return {status: counts.get(status.value, 0) for status in Status}


def children(connection: sa.Connection, container_id: str, live_only: bool | None = None) -> list[Container]:
    """Direct children, oldest first; only live ones, only ended ones, or (None) all."""
    query = sa.select(*COLUMNS).where(containers.c.parent_container_id == container_id)
    if live_only is not None:
        query = query.where(live() if live_only else sa.not_(live()))
    rows = connection.execute(query.order_by(containers.c.created_at, containers.c.id)).all()
    return with_tags(connection, rows)


def descendants(connection: sa.Connection, container_id: str) -> list[Container]:
    """A container and all below it, whatever their status, oldest first."""
    c = containers.c
    tree = sa.select(c.id).where(c.id == container_id).cte("tree", recursive=True)
    tree = tree.union_all(sa.select(c.id).where(c.parent_container_id == tree.c.id))
    query = sa.select(*COLUMNS).join(tree, tree.c.id == c.id).order_by(c.created_at, c.id)
    return with_tags(connection, connection.execute(query).all())


def with_tags(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Container]:
    """These rows as containers, their tags read in one query."""
    found: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    t = container_tags.c
    ids = list(found)
    for first in range(0, len(ids), 1_000):
        query = sa.select(t.container_id, t.key, t.value).where(t.container_id.in_(ids[first : first + 1_000]))
        for container_id, key, value in connection.execute(query.order_by(t.key)):
            found[container_id][key] = value
    return [from_row(row, found[row.id]) for row in rows]


def messages(connection: sa.Connection, ids: Sequence[str]) -> dict[str, dict[str, Any] | None]:
    """The messages that start these containers, as their spawners recorded them."""
    found: dict[str, dict[str, Any] | None] = {}
    for first in range(0, len(ids), 1_000):
        query = sa.select(containers.c.id, containers.c.message).where(containers.c.id.in_(ids[first : first + 1_000]))
        found |= {row.id: row.message for row in connection.execute(query)}
    return found


def _filters(
    status: str | Iterable[str] | None,
    player_id: int | None,
    tags: Mapping[str, str] | None,
    container_type: str | None,
) -> list[sa.ColumnElement[bool]]:
    c, t = containers.c, container_tags.c
    filters: list[sa.ColumnElement[bool]] = []
    if status is not None:
        filters.append(c.status.in_([each.value for each in parse_statuses(status)]))
    if player_id is not None:
        filters.append(c.player_id == player_id)
    if container_type is not None:
        filters.append(c.container_type == container_type)
    for key, value in (tags or {}).items():
        filters.append(c.id.in_(sa.select(t.container_id).where(t.key == key, t.value == value)))
    return filters

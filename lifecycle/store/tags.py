"""Tags: words that a container carries and hands down to its children."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from lifecycle.store.tables import Json, container_tags, containers

t = container_tags.c


class object_of(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function it is
    """`object_of(key, value)`: the rows of a group as one JSON object; NULL or empty without any."""

    type = Json
    inherit_cache = True


@compiles(object_of, "postgresql")
def _object_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return f"json_object_agg({compiler.process(element.clauses, **kw)})"


@compiles(object_of, "sqlite")
def _object_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"json_group_object({compiler.process(element.clauses, **kw)})"


_OF_A_ROW = sa.select(object_of(t.key, t.value)).where(t.container_id == containers.c.id).correlate(containers)
TAGS = _OF_A_ROW.scalar_subquery().label("tags")
"""A column of `containers`, as it were: no second query for them. See `assignments.HOLDS` for SQLite's RETURNING."""


def write(connection: sa.Connection, tagged: Iterable[tuple[str, Mapping[str, str]]]) -> None:
    """Record the tags of new containers, given as pairs of id and tags."""
    rows = [{"container_id": each, "key": key, "value": tags[key]} for each, tags in tagged for key in tags]
    if rows:
        connection.execute(container_tags.insert(), rows)


def have(tags: Mapping[str, str]) -> list[sa.ColumnElement[bool]]:
    """Conditions on `containers` that every one of `tags` fits."""
    return [
        containers.c.id.in_(sa.select(t.container_id).where(t.key == key, t.value == value))
        for key, value in tags.items()
    ]

"""Rows that are there or are made, in one statement, on both databases."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

DIALECTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def insert_once(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any], key: str) -> None:
    """Insert a row, unless there is one with this key already."""
    made = DIALECTS[connection.dialect.name](table).values(dict(row))
    connection.execute(made.on_conflict_do_nothing(index_elements=[key]))


def add(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any], column: str) -> None:
    """Add to one column of the row with this key; without one it begins there."""
    keys = [each.name for each in table.primary_key]
    made = DIALECTS[connection.dialect.name](table).values(dict(row))
    total = table.c[column] + made.excluded[column]
    connection.execute(made.on_conflict_do_update(index_elements=keys, set_={column: total}))


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or overwrite those of the same primary key; in the order of their keys, so that no two deadlock."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    ordered = sorted(rows, key=lambda row: [row[key] for key in keys])
    made = DIALECTS[connection.dialect.name](table)
    rest = {name: made.excluded[name] for name in ordered[0] if name not in keys}
    connection.execute(made.on_conflict_do_update(index_elements=keys, set_=rest), ordered)

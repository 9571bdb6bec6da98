"""The fleet's tables and columns, made where they are missing: `python -m workers.fleet.migrate`, any time."""

import argparse
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.exc import IntegrityError

from lifecycle import LifecycleError
from workers.fleet.errors import FleetError, NotConfigured
from workers.fleet.tables import agents, metadata

TURN = 0x0F1EE7  # PostgreSQL's advisory lock of whoever makes them; SQLite has one writer anyway
REMEDY = "run python -m workers.fleet.migrate"


def migrate(database: Any) -> None:
    """In one transaction, one caller at a time."""
    with database.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(TURN)))
        metadata.create_all(connection)
        change = Operations(MigrationContext.configure(connection))
        for table, column in _absent(connection, database.schema):
            change.add_column(table.name, sa.Column(column.name, column.type), schema=database.schema)


@cache
def check(database: Any) -> None:
    """Raises NotConfigured where a table is missing, or a column of one; looks again only where it did."""
    with database.read() as connection:
        if not set(metadata.tables) <= set(sa.inspect(connection).get_table_names(schema=database.schema)):
            raise NotConfigured(f"the fleet's tables are missing: {REMEDY}")
        for table, column in _absent(connection, database.schema):
            raise NotConfigured(f"{table.name} has no column {column.name}, it is of an earlier version: {REMEDY}")


def _absent(connection: sa.Connection, schema: str | None) -> list[tuple[sa.Table, sa.Column[Any]]]:
    """Columns that tables of an earlier version do not have; each that was added since may be NULL."""
    there = sa.inspect(connection).get_multi_columns(schema=schema, filter_names=list(metadata.tables))
    known = {name: {column["name"] for column in columns} for (_, name), columns in there.items()}
    return [
        (table, column)
        for table in metadata.tables.values()
        for column in table.columns
        if column.name not in known[table.name]
    ]


def give(database: Any, symbol: str, player_id: int) -> None:
    """The books of an agent, in its newest era, are this player's from now on; nodes that run read it at their start.

    Raises NotConfigured if there are none, or that player has others.
    """
    newest = sa.select(sa.func.max(agents.c.id)).where(agents.c.symbol == symbol).scalar_subquery()
    try:
        with database.begin() as connection:
            given = connection.execute(agents.update().where(agents.c.id == newest).values(player_id=player_id))
    except IntegrityError:
        raise NotConfigured(f"player {player_id} has the books of another agent") from None
    if not given.rowcount:
        raise NotConfigured(f"there are no books of agent {symbol}")


def main(words: Sequence[str] | None = None) -> int:
    from workers import app  # noqa: PLC0415 - the app reads its environment as it is imported

    parser = argparse.ArgumentParser(prog="python -m workers.fleet.migrate", description=__doc__)
    parser.add_argument("--give", nargs=2, metavar=("AGENT", "PLAYER"), help="whose the books of an agent are")
    told = parser.parse_args(words)
    try:
        migrate(app.lifecycle.database)
        if told.give:
            give(app.lifecycle.database, told.give[0], int(told.give[1]))
    except (LifecycleError, FleetError, ValueError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    sys.stdout.write("The fleet's tables are there.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

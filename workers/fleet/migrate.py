"""The fleet's tables, made where they are missing: `python -m workers.fleet.migrate`, as often as you like."""

import sys
from typing import Any

import sqlalchemy as sa

from lifecycle import LifecycleError
from workers.fleet.errors import NotConfigured
from workers.fleet.tables import agents, metadata

TURN = 0x0F1EE7  # PostgreSQL's advisory lock of whoever makes them; SQLite has one writer anyway
MISSING = "the fleet's tables are missing: run python -m workers.fleet.migrate"


def migrate(database: Any) -> None:
    """In one transaction, one caller at a time."""
    with database.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(TURN)))
        metadata.create_all(connection)


def check(database: Any) -> None:
    """Raises NotConfigured where they are missing."""
    with database.read() as connection:
        if not sa.inspect(connection).has_table(agents.name, schema=database.schema):
            raise NotConfigured(MISSING)


def main() -> int:
    from workers import app  # noqa: PLC0415 - the app reads its environment as it is imported

    try:
        migrate(app.lifecycle.database)
    except LifecycleError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    sys.stdout.write("The fleet's tables are there.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

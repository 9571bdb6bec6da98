"""Alembic's side of `lifecycle.store.schema`, which hands over a connection whose transaction is open.

Developers may call Alembic itself: it then takes the database from LIFECYCLE_DATABASE_URL.
"""

import os
from contextlib import nullcontext
from typing import Any

import sqlalchemy as sa
from alembic import context

from lifecycle.store.engine import Database
from lifecycle.store.schema import alone
from lifecycle.store.tables import VERSION_TABLE, metadata


def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Other people's tables in the same database are none of our business."""
    return kind != "table" or name in metadata.tables


def is_compared(_item: Any, _name: str | None, kind: str, _reflected: bool, _counterpart: Any) -> bool:
    """On SQLite the ON DELETE of a foreign key that came with its column is not read back: the tests compare those."""
    return kind != "foreign_key_constraint" or context.get_context().dialect.name != "sqlite"


def note(*, step: Any, **_: Any) -> None:
    """Tell the caller which revision was applied or undone."""
    context.config.attributes.setdefault("applied", []).append(step.up_revision_id)


def run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        include_name=is_ours,
        include_object=is_compared,
        compare_server_default=True,
        on_version_apply=note,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
with nullcontext(given) if given is not None else alone(Database(os.environ["LIFECYCLE_DATABASE_URL"])) as connection:
    run(connection)

"""How long a reader lets the database think: a page is not worth what the nodes need."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from lifecycle.store.engine import Database, limit_statements

STEPS = 10_000  # of SQLite's machine between two looks at the clock


@contextmanager
def reading(database: Database, seconds: float) -> Iterator[sa.Connection]:
    """As `Database.read`, and no statement may take longer; raises StoreUnreachable for one that would.

    On SQLite all of them together may not.
    """
    with database.read() as connection:
        if database.dialect == "postgresql":
            limit_statements(connection, seconds)
            yield connection
            return
        driver: Any = connection.connection.dbapi_connection
        end = time.monotonic() + seconds
        driver.set_progress_handler(lambda: time.monotonic() > end, STEPS)
        try:
            yield connection
        finally:
            driver.set_progress_handler(None, 0)

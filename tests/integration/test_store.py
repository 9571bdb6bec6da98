"""A database's own words become ours, without its secrets."""

from contextlib import ExitStack

import pytest

from lifecycle.errors import StoreUnreachable


def test_a_process_without_a_free_connection_hears_so(database):
    database.engine.pool._timeout = 0.05
    with pytest.raises(StoreUnreachable, match="no connection free for this process"):
        open_all(database)


def open_all(database):
    with ExitStack() as held:
        for _ in range(50):
            held.enter_context(database.read())

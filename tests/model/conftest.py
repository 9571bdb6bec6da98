"""A database in memory for the searches of a file, the summary of what they looked at; PostgreSQL for races."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from lifecycle.store.engine import Database
from tests.integration.conftest import KEPT_EMPTY, Grove, migrate
from tests.model.memory import Memory

LOOKED_AT, KILLED = "looked at", "killed"


@pytest.fixture(scope="module")  # a fork in another file would end it
def memory():
    return Memory()


@pytest.fixture(scope="session")
def raced_url(postgres):
    url = postgres.create_database("raced")
    migrate(url)
    return url


@pytest.fixture
def grove(raced_url):
    database = Database(raced_url)
    with database.begin() as connection:
        connection.execute(sa.text(f"TRUNCATE {', '.join(KEPT_EMPTY)} RESTART IDENTITY"))
    yield Grove(database)
    database.dispose()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture(params=[False, True], ids=["as it is", "mutant"])
def is_mutant(request):
    return request.param


@pytest.fixture
def without(grove, is_mutant):
    """Takes words out of every statement that is sent, if this is the mutant."""
    taken = []

    def take(words):
        def take_out(_connection, _cursor, sql, parameters, _context, _many):
            taken.append(words in sql)
            return sql.replace(words, ""), parameters

        if is_mutant:
            sa.event.listen(grove.database.engine, "before_cursor_execute", take_out, retval=True)

    yield take
    assert any(taken) == is_mutant


def pytest_terminal_summary(terminalreporter):
    passed = [each for each in terminalreporter.stats.get("passed", ()) if each.when == "call"]
    told = [told for each in passed for told in each.user_properties]
    lines = ["{}: {}".format(*found) for name, found in told if name == LOOKED_AT]
    if lines:
        terminalreporter.section("model check")
        for line in lines:
            terminalreporter.write_line(line)
        killed = sum(name == KILLED for name, _ in told)
        terminalreporter.write_line(f"guards taken away, one at a time, and missed: {killed}")

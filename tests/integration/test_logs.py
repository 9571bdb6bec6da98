"""What a body logs never reaches the body again, whatever it is."""

import logging
import time
from types import SimpleNamespace

import pytest

from lifecycle.runtime import execution as executions
from lifecycle.runtime.execution import Execution
from lifecycle.runtime.logs import ContainerLogs
from lifecycle.settings import Settings
from lifecycle.store import logs, schema
from lifecycle.store.engine import Database
from lifecycle.trees import spawn

body_log = logging.getLogger("shop")


@pytest.fixture
def database(sqlite_url):
    database = Database(sqlite_url)
    schema.migrate(database)
    spawn.spawn(database, spawn.Birth(id="worker-1", container_type="WORK", by="test"))
    yield database
    database.dispose()


@pytest.fixture
def handler(database):
    """As in a process whose body runs."""
    handler = ContainerLogs(database, Settings(log_flush=0.02))
    executions.enter(Execution(SimpleNamespace(id="worker-1", epoch=1)))
    handler.start()
    yield handler
    executions.leave()
    handler._over.set()
    logging.getLogger().removeHandler(handler)


def kept(database):
    with database.read() as connection:
        return [line.message for line in logs.read(connection, ["worker-1"])]


def record(text, *arguments, name=body_log.name):
    return logging.LogRecord(name, logging.WARNING, __file__, 1, text, arguments, None)


def test_text_that_no_database_can_keep_is_kept_escaped(handler, database):
    """Straight to the handler: what is logged, pytest reports, and xdist cannot send such text."""
    handler.handle(record("a \udcff name\x00"))
    handler.handle(record("fuel", name="shop.\udcff"))
    handler.flush()
    assert kept(database) == ["a \\udcff name", "fuel"]


def test_arguments_that_do_not_fit_never_reach_the_body(handler, monkeypatch):
    told = []
    monkeypatch.setattr(handler, "handleError", told.append)
    odd = record("%d tons", "no")
    handler.handle(odd)
    assert told == [odd]


def test_a_write_that_fails_is_told_once_and_the_thread_goes_on(handler, database, caplog, monkeypatch):
    write = handler._write
    monkeypatch.setattr(handler, "_write", lambda new, counts: new and 1 / 0)
    body_log.warning("lost")
    time.sleep(0.2)
    monkeypatch.setattr(handler, "_write", write)
    body_log.warning("lost")
    end = time.monotonic() + 10
    while kept(database) != ["lost"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert [line for line in caplog.messages if "dropped" in line] == ["logs dropped lines=1 error=division by zero"]

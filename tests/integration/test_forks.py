"""A fork and the transactions of other threads."""

import os
import posix
import random
import signal
import threading
import time
from contextlib import contextmanager, suppress

import pytest
import sqlalchemy as sa

from lifecycle.store import forks


class Interruption(Exception):
    pass


def interrupt(*_):
    raise Interruption


@contextmanager
def held(block):
    """Another thread is inside a block until the event is set."""
    there, over = threading.Event(), threading.Event()

    def hold():
        with block():
            there.set()
            over.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    there.wait(10)
    yield over
    over.set()
    thread.join()


def test_two_threads_at_once_open_the_connections_of_one_engine(grove, monkeypatch):
    database, meeting = grove.database, threading.Barrier(2, timeout=10)
    database.dispose()  # as a fork leaves it, while other threads wait to go on
    create, used = database._create_engine, []

    def create_together():
        engine = create()
        meeting.wait()
        return engine

    def use():
        with database.read() as connection:
            used.append(connection.engine.pool)

    monkeypatch.setattr(database, "_create_engine", create_together)
    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert used[0] is used[1] is database.engine.pool


@pytest.fixture
def opened():
    """Another thread's open transaction."""
    with held(forks.no_fork) as over:
        yield over


def in_child(call):
    """What the call said in a forked child: True or not."""
    pid = os.fork()
    if not pid:
        said = False
        try:
            said = call()
        finally:
            posix._exit(0 if said else 1)  # os._exit would first write what coverage has seen, for seconds
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def quickly_forked():
    started = time.monotonic()
    return in_child(lambda: True) and time.monotonic() - started < forks.PATIENCE


def test_a_fork_waits_for_another_threads_transaction(opened):
    threading.Timer(0.2, opened.set).start()
    assert in_child(lambda: opened.is_set() and not forks._open)


def test_a_transaction_of_another_thread_is_not_open_in_the_child(opened, monkeypatch):
    monkeypatch.setattr(forks, "PATIENCE", 0.2)
    assert in_child(lambda: not forks._open and quickly_forked())
    assert len(forks._open) == 1


@pytest.fixture
def read_elsewhere(sqlite_database):
    """Another thread reads in a file; set it, and the thread is done."""

    @contextmanager
    def read():
        with sqlite_database.read() as connection:
            connection.execute(sa.text("SELECT 1"))
            yield

    with held(read) as over:
        yield over


def test_a_fork_waits_for_a_file_as_long_as_it_takes(read_elsewhere, monkeypatch):
    """The child would read and write in a log that is deleted once all others have closed the file."""
    monkeypatch.setattr(forks, "PATIENCE", 0.0)
    threading.Timer(1.0, read_elsewhere.set).start()
    assert in_child(lambda: read_elsewhere.is_set() and not forks._open and not forks._files)


def test_a_fork_that_insists_lets_nobody_begin(read_elsewhere, monkeypatch):
    monkeypatch.setattr(forks, "PATIENCE", 0.0)
    fork = threading.Thread(target=in_child, args=[lambda: True])
    fork.start()
    while forks._forking != fork.ident:
        time.sleep(forks.TICK)
    late = threading.Thread(target=enter_and_leave)
    late.start()
    late.join(2 * forks.TURN)
    assert late.is_alive()
    read_elsewhere.set()
    fork.join()
    late.join()


def test_the_forking_threads_own_transaction_is_open_in_the_child_until_it_leaves(opened, monkeypatch):
    monkeypatch.setattr(forks, "PATIENCE", 0.2)
    with forks.no_fork():
        assert in_child(lambda: len(forks._open) == 1)


def test_an_interrupted_block_is_left_wherever_the_signal_came():
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        hits = sum(interrupted() for _ in range(3_000))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert hits > 100
    assert not forks._open
    thread = threading.Thread(target=enter_and_leave, daemon=True)  # no lock stayed taken
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_a_fork_that_waits_for_one_transaction_lets_others_begin(opened):
    fork = threading.Thread(target=in_child, args=[lambda: True])
    fork.start()
    while forks._waiting is None:
        time.sleep(forks.TICK)
    for _ in range(3):
        enter_and_leave()
    assert forks._waiting == fork.ident, "it waits still"
    opened.set()
    fork.join()


def test_an_inner_block_does_not_wait_for_the_fork_that_waits_for_the_outer_one():
    there, stopwatch = threading.Event(), time.monotonic()

    def hold():
        with forks.no_fork():
            there.set()
            time.sleep(0.2)
            enter_and_leave()

    thread = threading.Thread(target=hold)
    thread.start()
    there.wait(10)
    assert in_child(lambda: not forks._open)
    thread.join()
    assert time.monotonic() - stopwatch < 5


def enter_and_leave():
    with forks.no_fork():
        pass


def interrupted():
    with suppress(Interruption):
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 6e-5))
            for _ in range(50):
                with forks.no_fork():
                    pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return False
    return True

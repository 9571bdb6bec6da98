"""A node's threads at moments that no real node can be brought to: no broker, a child at birth, a failing lease."""

import logging
import os
import subprocess
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from lifecycle.domain import ending
from lifecycle.domain.status import Status
from lifecycle.errors import StoreUnreachable
from lifecycle.runtime import dispatcher as dispatchers
from lifecycle.runtime import execution as executions
from lifecycle.runtime import process
from lifecycle.runtime.dispatcher import Dispatcher
from lifecycle.runtime.execution import Execution
from lifecycle.runtime.lease import Lease
from lifecycle.runtime.page import Page, Run
from lifecycle.runtime.pool import ChildPool, ThreadPool
from lifecycle.runtime.seat import ThreadSeat
from lifecycle.runtime.supervisor import Supervisor
from lifecycle.settings import Settings
from lifecycle.store import containers, forks, nodes, runs, schema, tables
from lifecycle.store.engine import Database
from lifecycle.store.runs import Moved
from lifecycle.trees import end, spawn, stop
from tests.integration.test_forks import in_child

SETTINGS = Settings(heartbeat=0.05, lease=1.0, supervise_every=0.2, kill_after=0.2, signal_every=0.05)
SLOT = 3


@pytest.fixture
def database(sqlite_url):
    database = Database(sqlite_url)
    schema.migrate(database)
    about = {"id": "node-1", "hostname": "host", "pid": 1, "pool": "prefork", "concurrency": 1, "version": "1"}
    with database.begin() as connection:
        nodes.register(connection, about, expires_in=3600)
    yield database
    database.dispose()


@pytest.fixture
def page():
    page = Page()
    page.node, page.deadline = "node-1", time.monotonic() + 3600
    return page


@pytest.fixture
def sleeper():
    """A process that stands for a pool child."""
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


class Broker:
    """A doorbell whose broker, or whose results, may hang."""

    def __init__(self, *, away=False):
        self.away, self.published, self.told, self.answers = away, [], [], threading.Event()

    def reach(self):
        if self.away:
            raise ConnectionError("refused")

    def publish(self, container_id, message):
        self.published.append(container_id)

    def revoked(self, container_ids, reason):
        self.answers.wait(10)
        self.told += container_ids

    def is_empty(self, queue):
        return False


def born(database, container_id, **values):
    return spawn.spawn(database, spawn.Birth(id=container_id, container_type="WORK", by="test", **values))


def claimed(database, container_id, pid):
    born(database, container_id)
    with database.begin() as connection:
        return runs.claim(connection, container_id, node="node-1", pid=pid, pid_started=process.started(pid))


def get(database, container_id):
    with database.read() as connection:
        return containers.get(connection, container_id)


def eventually(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def prefork(page, *children):
    """A pool as billiard has it: processes with the number of their slot."""
    inner = SimpleNamespace(_pool=[SimpleNamespace(pid=pid, index=SLOT) for pid in children])
    return ChildPool(SimpleNamespace(_pool=inner, terminate_job=os.kill), page)


def supervised(database, page, sleeper, dispatcher):
    pool = prefork(page, sleeper.pid)
    return Supervisor(database, page, SETTINGS, lambda: pool, dispatcher=dispatcher, may_reap=lambda: True)


@contextmanager
def working(thread):
    thread.start()
    yield thread
    thread.stop()


def test_the_supervisor_kills_and_ends_while_broker_and_results_hang(database, page, sleeper):
    broker = Broker()
    container = claimed(database, "worker-1", sleeper.pid)
    said(page, sleeper.pid, "worker-1", container.epoch)
    dispatcher = Dispatcher(database, page, broker, SETTINGS)
    supervisor = supervised(database, page, sleeper, dispatcher)
    with working(dispatcher), working(supervisor):
        dispatcher.tell([Moved("somebody", Status.STOPPED, None, False, "somebody", None)])  # and there it hangs
        stop.mark(database, stop.Request(container_id="worker-1", by="test", reason=None, grace=0.0))
        eventually(lambda: sleeper.poll() is not None)
        eventually(lambda: get(database, "worker-1").status == "STOPPED")
        assert broker.told == []
        broker.answers.set()
        eventually(lambda: broker.told == ["somebody", "worker-1"])


def test_a_node_that_could_not_look_for_long_kills_before_it_gives_up(database, page, sleeper, caplog):
    """Its main process was paused, or the database away: the deadline is past, and nothing has been tried."""
    container = claimed(database, "worker-1", sleeper.pid)
    said(page, sleeper.pid, "worker-1", container.epoch)
    stop.mark(database, stop.Request(container_id="worker-1", by="test", reason=None, grace=0.0))
    with database.begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(minutes=1)
        connection.execute(tables.containers.update().values(stop_deadline=long_ago))
    with working(supervised(database, page, sleeper, Dispatcher(database, page, Broker(), SETTINGS))):
        eventually(lambda: sleeper.poll() is not None)
        eventually(lambda: get(database, "worker-1").status == "STOPPED")
    assert not [line for line in caplog.messages if "not stopped" in line]


def test_a_process_that_was_killed_as_it_left_has_told_nobody_so_its_node_does(database, page, sleeper):
    """Between the ending of its row and Celery's result."""
    container = claimed(database, "worker-1", sleeper.pid)
    said(page, sleeper.pid, "worker-1", container.epoch)
    stop.mark(database, stop.Request(container_id="worker-1", by="test", reason=None, grace=0.0))
    broker, pool = Broker(), prefork(page, sleeper.pid)
    broker.answers.set()
    kill = pool.kill

    def end_and_be_killed(*whom):
        end.end(database, "worker-1", container.epoch, ending.stopped())
        return kill(*whom)

    pool.kill, pool.signal = end_and_be_killed, lambda *_: None
    dispatcher = Dispatcher(database, page, broker, SETTINGS)
    supervisor = Supervisor(database, page, SETTINGS, lambda: pool, dispatcher=dispatcher, may_reap=lambda: True)
    with working(dispatcher), working(supervisor):
        eventually(lambda: broker.told == ["worker-1"])
        eventually(lambda: not supervisor._stopper.killed)


def test_a_node_gives_up_what_it_has_tried_to_end_for_long(database, page, sleeper):
    container = claimed(database, "worker-1", sleeper.pid)
    said(page, sleeper.pid, "worker-1", container.epoch)
    stop.mark(database, stop.Request(container_id="worker-1", by="test", reason=None, grace=0.0))
    pool = prefork(page, sleeper.pid)
    pool.kill, pool.signal = (lambda *_: False), (lambda *_: None)
    dispatcher = Dispatcher(database, page, Broker(), SETTINGS)
    with working(Supervisor(database, page, SETTINGS, lambda: pool, dispatcher=dispatcher, may_reap=lambda: True)):
        eventually(lambda: get(database, "worker-1").stop_error)
    assert "the process survived a kill" in get(database, "worker-1").stop_error


@pytest.mark.parametrize("where", ["reach", "publish", "revoked", "is_empty"])
def test_no_pool_child_is_made_while_the_dispatcher_is_inside_the_brokers_client(database, page, where, monkeypatch):
    """The child would inherit the locks that the client holds just then, and wait for one for ever."""
    monkeypatch.setattr(dispatchers, "FORK_WAITS", 10.0)
    broker, inside, over = Broker(), threading.Event(), threading.Event()
    broker.answers.set()
    due_or_lost(database, is_lost=where == "is_empty")

    def slow(*_):
        inside.set()
        over.wait(10)

    setattr(broker, where, slow)
    with working(Dispatcher(database, page, broker, SETTINGS)) as dispatcher:
        dispatcher.tell([Moved("somebody", Status.STOPPED, None, False, "somebody", None)])
        assert inside.wait(10)
        threading.Timer(0.2, over.set).start()
        assert in_child(lambda: over.is_set() and not forks._inside)


def due_or_lost(database, *, is_lost):
    """A container whose message is to be sent, or is to be looked for."""
    born(database, "worker-1", wake_in=0)
    if is_lost:
        with database.begin() as connection:
            long_ago = datetime.now(UTC) - timedelta(hours=1)
            connection.execute(tables.containers.update().values(queue="celery", wake_at=None, dispatched_at=long_ago))


def hanging(database, page):
    """A dispatcher whose broker hangs as it publishes; the broker, and the event of it."""
    broker, inside = Broker(), threading.Event()
    broker.publish = lambda *_: (inside.set(), broker.answers.wait(10))
    born(database, "worker-1", wake_in=0)
    return Dispatcher(database, page, broker, SETTINGS), broker, inside


def test_a_fork_does_not_wait_for_ever_for_a_broker_that_hangs(database, page, monkeypatch):
    monkeypatch.setattr(dispatchers, "FORK_WAITS", 0.1)
    dispatcher, broker, inside = hanging(database, page)
    with working(dispatcher):
        assert inside.wait(10)
        assert in_child(lambda: not broker.answers.is_set())
        broker.answers.set()


def test_no_transaction_waits_for_a_fork_that_waits_for_a_broker(database, page, monkeypatch):
    """The lease is renewed meanwhile."""
    monkeypatch.setattr(dispatchers, "FORK_WAITS", 10.0)
    dispatcher, broker, inside = hanging(database, page)
    with working(dispatcher):
        assert inside.wait(10)
        fork = threading.Thread(target=in_child, args=[lambda: True])
        fork.start()
        eventually(lambda: forks._waiting == fork.ident)
        assert get(database, "worker-1").status == "PENDING"
        assert (forks._waiting, forks._forking) == (fork.ident, None), "it waits still"
        broker.answers.set()
        fork.join()


def said(page, pid, container_id, epoch=0):
    """As the process itself would."""
    real = os.getpid
    os.getpid = lambda: pid
    try:
        page.begin(SLOT, container_id, epoch)
    finally:
        os.getpid = real


def test_without_a_broker_nothing_is_taken_from_what_is_due(database, page, caplog):
    born(database, "worker-1", wake_in=0)
    broker = Broker(away=True)
    with caplog.at_level(logging.WARNING), working(Dispatcher(database, page, broker, SETTINGS)):
        time.sleep(3 * SETTINGS.supervise_every)
        assert len([line for line in caplog.messages if "dispatcher waits node=node-1 error=refused" in line]) == 1
        assert broker.published == []
        broker.away = False
        eventually(lambda: broker.published == ["worker-1"])


def test_the_dispatcher_survives_whatever_the_database_raises(caplog):
    broken = SimpleNamespace(begin=lambda: 1 / 0)
    with working(Dispatcher(broken, Page(), Broker(), SETTINGS)):
        eventually(lambda: len([line for line in caplog.messages if "dispatcher failed, goes on" in line]) > 1)


@pytest.mark.parametrize("error", [ZeroDivisionError("what"), StoreUnreachable("what")])
def test_the_lease_survives_and_says_so_once(database, page, caplog, error):
    failing, page.deadline = threading.Event(), 0.0
    failing.set()

    @contextmanager
    def begin():
        if failing.is_set():
            raise error
        with database.begin() as connection:
            yield connection

    with working(Lease(SimpleNamespace(begin=begin), page, SETTINGS, on_lost=lambda: None)):
        time.sleep(5 * SETTINGS.heartbeat)
        assert page.deadline == 0.0
        failing.clear()
        eventually(lambda: page.deadline > time.monotonic())
    lines = [line for line in caplog.messages if line.startswith("lease ")]
    assert lines == ["lease not renewed node=node-1 error=what", "lease renewed again node=node-1"]


def test_a_newborn_is_not_taken_for_the_dead_child_whose_slot_it_has(page, sleeper):
    said(page, 999_999, "worker-1", 1)  # and died, without a word
    pool = prefork(page, sleeper.pid)
    assert pool.runs() == {sleeper.pid: []}
    assert not pool.kill(sleeper.pid, Run("worker-1", 1))
    pool.signal(sleeper.pid, Run("worker-1", 1))
    time.sleep(0.1)
    assert sleeper.poll() is None
    said(page, sleeper.pid, "worker-1", 2)
    assert pool.runs() == {sleeper.pid: [Run("worker-1", 2)]}
    assert not pool.kill(sleeper.pid, Run("worker-1", 1))
    assert pool.kill(sleeper.pid, Run("worker-1", 2))


def test_a_run_that_claims_is_seen_on_threads(page, database):
    seat, pool = ThreadSeat(page), ThreadPool()
    seat.begin("worker-1")
    other = threading.Thread(target=lambda: (seat.begin("worker-1"), seat.clear()))
    other.start()
    other.join()
    assert pool.runs() == {os.getpid(): [Run("worker-1", 0)]}, "a duplicate that lost its claim took it away"
    executions.enter(seat.execution(claimed(database, "worker-1", os.getpid())))
    try:
        assert pool.runs() == {os.getpid(): [Run("worker-1", 1)]}
    finally:
        executions.leave()
        seat.clear()
    assert pool.runs() == {os.getpid(): []}


def test_leaving_takes_nothing_from_the_next_epoch(database):
    first = claimed(database, "worker-1", os.getpid())
    entered, leave = threading.Event(), threading.Event()

    def stale():
        executions.enter(Execution(first))
        entered.set()
        leave.wait(10)
        executions.leave()

    executions.hold_by_thread()
    thread = threading.Thread(target=stale)
    try:
        thread.start()
        entered.wait(10)
        again = Execution(SimpleNamespace(id="worker-1", epoch=2))
        executions.enter(again)
        assert ThreadPool().runs() == {os.getpid(): [Run("worker-1", 1), Run("worker-1", 2)]}
        leave.set()
        thread.join()
        assert executions.running == {("worker-1", 2): again}
    finally:
        executions.leave()
        executions._holder = executions._Process()


def test_a_run_is_lost_only_if_it_was_not_seen_for_the_time_of_a_pass(database, page, sleeper):
    claimed(database, "worker-1", sleeper.pid)
    supervisor = supervised(database, page, sleeper, Dispatcher(database, page, Broker(), SETTINGS))
    for _ in range(3):
        supervisor._look()
    assert get(database, "worker-1").status == "RUNNING"
    said(page, sleeper.pid, "worker-1")
    time.sleep(SETTINGS.supervise_every)
    for _ in range(2):
        supervisor._look()
    assert get(database, "worker-1").status == "RUNNING", "it was seen in between"
    page.clear(SLOT)
    supervisor._look()
    time.sleep(SETTINGS.supervise_every)
    supervisor._look()
    assert get(database, "worker-1").status == "INTERRUPTED"

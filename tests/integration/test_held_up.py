"""What one row, one process or one missed renewal holds up: itself, and nothing else."""

import logging
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from lifecycle.errors import InvalidParent
from lifecycle.runtime import process
from lifecycle.runtime import supervisor as supervisors
from lifecycle.runtime.lease import Lease
from lifecycle.runtime.message import parent_in
from lifecycle.runtime.page import Page
from lifecycle.runtime.supervisor import Supervisor
from lifecycle.settings import Settings
from lifecycle.store import containers, nodes
from lifecycle.store.clock import later, now
from lifecycle.store.engine import Database
from lifecycle.trees import dispatch, recover, spawn, sweep
from tests.integration.test_callers_transaction import task_on
from tests.integration.test_forks import in_child
from tests.integration.test_races import beside
from tests.integration.test_supervision import prefork, said

DOWN = "node shut down"
PATIENCE = 20.0
SOON = 0.3  # seconds that a lock is waited for
LOST = Settings().redispatch
ROWS = ("worker-1", "worker-2", "worker-3")


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def caller(postgres_grove):
    """A user's own connection, in a transaction; it goes before `pool`, whose threads may wait for it."""
    engine = sa.create_engine(postgres_grove.database.url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def hasty(postgres_grove):
    """The same database for one who waits for no lock for long."""
    database = Database(postgres_grove.database.url.render_as_string(hide_password=False), busy_timeout=SOON)
    yield database
    database.dispose()


@pytest.fixture
def sleeper():
    """A process that stands for a pool child."""
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


# What each pass looks for


def lost(grove, name):
    grove.run(name)
    grove.silence()


def over(grove, name):
    grove.run(name)
    grove.edit(name, node=None, outcome="COMPLETED", exit_code=0)


def expired(grove, name):
    grove.spawn(name, expires_in=-1)


def cut_off(grove, name):
    parent = grove.run(name)
    grove.spawn(f"{name}-left", parent)
    grove.lose(name)


PASSES = {
    "sweep_nodes": (lost, sweep.sweep_nodes, "{}", "INTERRUPTED"),
    "sweep_unsettled": (over, sweep.sweep_unsettled, "{}", "COMPLETED"),
    "sweep_expired": (expired, sweep.sweep_expired, "{}", "STOPPED"),
    "supersede": (cut_off, recover.supersede, "{}-left", "STOPPED"),
}


def done(grove, name):
    """The rows that this pass has mended."""
    _, _, row, after = PASSES[name]
    return {each for each in ROWS if grove.status(row.format(each)) == after}


# A row that a caller's open transaction holds


@pytest.mark.postgres
@pytest.mark.parametrize("name", PASSES)
def test_a_row_that_another_holds_is_left_for_the_next_pass(postgres_grove, pool, caller, name):
    grove, (make, sweeping, *_) = postgres_grove, PASSES[name]
    for each in ROWS:
        make(grove, each)
    containers.lock_parent(caller, "worker-2")
    passing = beside(pool, grove, sweeping, grove.database)
    assert passing.done(), "it waits for no lock"
    assert done(grove, name) == {"worker-1", "worker-3"}
    caller.rollback()
    sweeping(grove.database)
    assert done(grove, name) == set(ROWS)


@pytest.mark.postgres
def test_a_spawn_that_its_caller_does_not_commit_keeps_no_node_from_the_others(postgres_grove, pool, caller):
    grove, ship_it = postgres_grove, task_on(postgres_grove.database)
    for each in ROWS:
        grove.run(each)
    ship_it.spawn([7], parent_container_id="worker-2", connection=caller)
    grove.silence()
    for taken in ([*"13"], []):  # as the supervisors of two nodes
        passing = beside(pool, grove, sweep.sweep_nodes, grove.database)
        assert sorted(moved.id[-1] for moved in passing.result(PATIENCE)) == taken
    caller.rollback()
    assert [moved.id for moved in sweep.sweep_nodes(grove.database)] == ["worker-2"]
    assert grove.status(*ROWS) == ["INTERRUPTED"] * 3
    ship_it.lifecycle.database.dispose()


@pytest.mark.postgres
def test_a_row_below_that_another_holds_keeps_the_pass_from_no_other_tree(postgres_grove, hasty, pool, caller, caplog):
    """It cannot be marked; what waits for it waits for the next pass."""
    grove = postgres_grove
    for each in ROWS:
        cut_off(grove, each)
    containers.lock_parent(caller, "worker-2-left")
    with caplog.at_level(logging.INFO, "lifecycle.sweep"):
        marked, _ = pool.submit(recover.supersede, hasty).result(PATIENCE)
    assert sorted(marked) == ["worker-1-left", "worker-3-left"]
    assert "left for the next time what=('worker-2', 1)" in caplog.text
    caller.rollback()
    assert recover.supersede(hasty)[0] == ["worker-2-left"]


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["commit", "rollback"])
def test_a_node_that_is_renewing_is_not_declared_dead(postgres_grove, pool, caller, how):
    grove = postgres_grove
    grove.register("node-2")
    grove.silence()
    grove.silence("node-2")
    nodes.renew(caller, "node-2", expires_in=3600, timeout=5)
    reaping = beside(pool, grove, declare_dead, grove)
    assert reaping.done(), "it waits for no lock"
    assert reaping.result() == ["node-1"]
    getattr(caller, how)()
    assert declare_dead(grove) == {"commit": [], "rollback": ["node-2"]}[how]


def declare_dead(grove):
    with grove.database.begin() as connection:
        return nodes.declare_dead(connection)


# A pass that takes long


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_whose_time_is_over_leaves_the_rest_to_the_next(grove, monkeypatch, name):
    make, sweeping, *_ = PASSES[name]
    for each in ROWS:
        make(grove, each)
    clock = iter(range(100))
    monkeypatch.setattr(sweep, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    sweeping(grove.database, seconds=2.5)
    assert len(done(grove, name)) == 2
    sweeping(grove.database, seconds=2.5)
    assert len(done(grove, name)) == 3


# A node that leaves


def test_a_run_of_a_node_that_left_in_order_is_free_whoever_takes_it(grove):
    grove.register("node-2")
    grove.run("worker-1", max_restarts=0)
    grove.spawn("worker-2", max_restarts=1)
    grove.claim("worker-2", node="node-2")
    with grove.database.begin() as connection:
        nodes.retire(connection, grove.node, DOWN)  # and another node's pass comes between
    grove.silence("node-2")
    sweep.sweep_nodes(grove.database)
    rows = [grove.get(name) for name in ("worker-1", "worker-2")]
    assert [(row.status, row.exit_message, row.restart_count) for row in rows] == [
        ("INTERRUPTED", DOWN, 0),
        ("INTERRUPTED", "node lost", 1),
    ]


def test_what_outlives_its_node_is_not_given_away_before_its_lease_is_over(grove):
    for each in ROWS:
        grove.run(each)
    sweep.leave_node(grove.database, grove.node, ["worker-2"])
    assert grove.sweep().lost == ()
    assert grove.status(*ROWS) == ["INTERRUPTED", "RUNNING", "INTERRUPTED"]
    grove.silence()
    assert grove.sweep().lost == ("worker-2",)


def test_a_node_that_leaves_nothing_behind_is_not_waited_for(grove):
    sweep.leave_node(grove.database, grove.node)
    with grove.database.read() as connection:
        assert nodes.alive(connection) == []


# A process that is slow to halt


@pytest.fixture
def supervised(sleeper, monkeypatch):
    """A supervisor whose one pool child runs a container; it has little time to kill it."""
    monkeypatch.setattr(supervisors, "KILLING", 1.0)
    page = Page()
    said(page, sleeper.pid, "worker-1", 1)
    return supervisor_of(page, prefork(page, sleeper.pid))


def supervisor_of(page, pool):
    return Supervisor(None, page, Settings(), lambda: pool, dispatcher=None, may_reap=lambda: True)


@pytest.mark.parametrize(("fails", "left"), [(0, []), (3, []), (1_000_000, ["worker-1"])])
def test_a_process_is_killed_until_it_is_gone(supervised, sleeper, monkeypatch, fails, left):
    tries, halt = [], process.halt
    monkeypatch.setattr(process, "halt", lambda pid: tries.append(pid) or (len(tries) > fails and halt(pid)))
    assert supervised.survivors() == ["worker-1"]
    supervised.kill_all()
    assert supervised.survivors() == left
    assert (sleeper.poll() is None) == bool(left)


def test_what_cannot_be_killed_is_not_tried_to(monkeypatch):
    monkeypatch.setattr(supervisors, "KILLING", 0.2)
    asked = []
    runs = {os.getpid(): [SimpleNamespace(container_id="worker-1", epoch=1)]}
    pool = SimpleNamespace(can_kill=False, runs=lambda: runs, kill=lambda *which: asked.append(which))
    supervisor = supervisor_of(Page(), pool)
    supervisor.kill_all()
    assert (asked, supervisor.survivors()) == ([], ["worker-1"])


# A run that is lost while another holds its row


class Ship:
    """A node whose supervisor looks when told to: `worker-1` runs in its one pool child."""

    def __init__(self, grove, database, sleeper):
        page = Page()
        page.node, dispatcher = grove.node, SimpleNamespace(tell=lambda _: None, hurry=lambda: None)
        running = {"dispatcher": dispatcher, "may_reap": lambda: True}
        pool = prefork(page, sleeper.pid)
        self.supervisor = Supervisor(database, page, Settings(), lambda: pool, **running)
        self.look = self.supervisor._look
        grove.spawn("worker-1")
        grove.claim("worker-1")
        grove.edit("worker-1", pid=sleeper.pid, pid_started=process.started(sleeper.pid))
        said(page, sleeper.pid, "worker-1", 1)


@pytest.mark.postgres
def test_a_time_limit_that_came_too_late_is_not_held_against_the_next_execution(postgres_grove, sleeper):
    grove = postgres_grove
    ship = Ship(grove, grove.database, sleeper)
    ship.supervisor.overran("worker-1", 5)
    grove.edit("worker-1", epoch=2)  # it rested, and was claimed again
    sleeper.kill()
    sleeper.wait()
    ship.look()
    assert grove.status("worker-1") == "INTERRUPTED"


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("by", "ended"),
    [("its time limit", ("FAILED", "hard time limit of 5 s exceeded")), ("a stop", ("STOPPED", "Stopped by user"))],
)
def test_why_it_was_killed_is_known_once_its_row_is_free(postgres_grove, caller, sleeper, by, ended):
    """A body may be killed in a transaction of its own: its server holds the row for a moment more."""
    grove = postgres_grove
    ship = Ship(grove, grove.database, sleeper)
    if by == "a stop":
        grove.mark("worker-1", grace=0.0)
        ship.look()
    else:
        ship.supervisor.overran("worker-1", 5)
        sleeper.kill()
    sleeper.wait()
    containers.lock_parent(caller, "worker-1")
    ship.look()
    assert grove.status("worker-1") in {"RUNNING", "STOPPING"}
    caller.rollback()
    ship.look()
    row = grove.get("worker-1")
    assert (row.status, row.exit_message) == ended


@pytest.mark.postgres
def test_a_lost_run_whose_child_another_holds_keeps_the_node_from_nothing_else(
    postgres_grove, hasty, pool, caller, sleeper
):
    grove = postgres_grove
    ship = Ship(grove, hasty, sleeper)
    for name in ("worker-2", "worker-3", "worker-4"):
        grove.run(name, max_restarts=0)  # in a process that never was
    grove.run("part-1", "worker-3")
    grove.edit("part-1", node="node-2")
    grove.register("node-2")
    containers.lock_parent(caller, "part-1")
    grove.mark("worker-1", grace=0.0)
    pool.submit(ship.look).result(PATIENCE)
    assert sleeper.wait(PATIENCE)
    assert grove.status("worker-2", "worker-3", "worker-4") == ["FAILED", "RUNNING", "FAILED"]
    caller.rollback()
    ship.look()
    assert grove.status("part-1") == "STOPPING"


# A message that is lost


class Broker:
    """Its queues are empty: whatever was sent and is not claimed is lost."""

    def __init__(self):
        self.published = []

    def publish(self, container_id, message):
        self.published.append(container_id)

    def is_empty(self, queue):
        return True


def test_a_lost_message_of_a_row_that_ran_often_is_looked_for_as_soon_as_any(grove):
    broker = Broker()
    for name, times in (("worker-1", 1), ("worker-2", 9)):
        grove.spawn(name, queue="celery", wake_in=0)
        for _ in range(times):
            dispatch.dispatch(grove.database, broker)
            assert grove.claim(name).dispatch_count == 1
            grove.rest(name, seconds=0)
            assert grove.get(name).dispatch_count == 0
    dispatch.dispatch(grove.database, broker)
    for age, found in ((0.9, []), (2.1, ["worker-1", "worker-2"])):  # a message of a dispatcher is the second try
        for name in ("worker-1", "worker-2"):
            grove.edit(name, dispatched_at=later(now(), -age * LOST))
        broker.published.clear()
        dispatch.redispatch(grove.database, broker, after=LOST)
        assert sorted(broker.published) == found


def test_messages_are_counted_anew_after_an_interruption(grove):
    grove.spawn("worker-1", queue="celery", wake_in=0)
    for _ in range(3):
        dispatch.dispatch(grove.database, Broker())
        assert grove.get("worker-1").dispatch_count == 1
        grove.claim("worker-1")
        grove.interrupt("worker-1")
        grove.recover()


# A plain task that an earlier run began


def go_on(grove, container_id):
    grove.edit(container_id, wake_at=None)
    grove.recover()
    return grove.claim(container_id)


def arrives(grove, container_id, epoch):
    """A container that a plain task has begun, whose message names this run of the parent."""
    birth = replace(grove.birth(container_id), parent=parent_in({"parent": ["coord-123", epoch]}))
    return spawn.spawn(grove.database, birth)


def test_what_a_cut_off_run_began_late_is_refused(grove):
    """The body that runs anew begins it again, and its own is a child of this run."""
    grove.run("coord-123")
    grove.lose("coord-123")
    assert go_on(grove, "coord-123").epoch == 2
    with pytest.raises(InvalidParent, match=r"the run of coord-123 that began this \(epoch 1\) was cut off"):
        arrives(grove, "worker-1", 1)
    arrives(grove, "worker-1", 2)
    assert grove.children("coord-123") == ["worker-1"]
    grove.lose("coord-123")
    assert grove.recover().superseded == ("worker-1",)


def test_what_a_run_began_that_rests_is_not_refused(grove):
    grove.run("coord-123")
    grove.rest("coord-123", seconds=0)
    arrives(grove, "worker-1", 1)
    grove.claim("coord-123")
    arrives(grove, "worker-2", 1)
    grove.lose("coord-123")
    go_on(grove, "coord-123")
    arrives(grove, "worker-3", 1)
    assert grove.status(*ROWS) == ["PENDING"] * 3, "none of them is begun again by the third run"


# A node that missed a renewal


def test_a_pool_child_knows_that_its_node_missed_a_renewal_since_the_fork(pool):
    page, settings = Page(), Settings(lease=60.0)
    lease = Lease(None, page, settings, on_lost=lambda: None)
    lease.publish(time.monotonic())
    there, born = os.pipe()
    listen, bell = os.pipe()

    def child():
        os.write(born, b"!")
        os.read(listen, 1)
        return not lease.may_reap()

    hearing = pool.submit(in_child, child)
    os.read(there, 1)
    page.deadline = time.monotonic() - 1  # the node was suspended, or the database away
    lease.publish(time.monotonic())
    os.write(bell, b"!")
    assert hearing.result(PATIENCE)
    assert page.deadline > time.monotonic()
    page.missed_at = time.monotonic() - settings.lease
    assert lease.may_reap()
    for end in (there, born, listen, bell):
        os.close(end)

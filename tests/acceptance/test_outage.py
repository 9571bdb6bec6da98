"""A broker that is away: spawns go on, nothing is lost and nothing runs twice, whether it kept its messages or not."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from lifecycle.store.clock import later, now
from tests.acceptance.scene import Scene
from tests.acceptance.world import PATIENCE, eventually
from tests.servers import RabbitMQ, forget, main_process

pytestmark = pytest.mark.acceptance
REDISPATCH = 2.0  # seconds; a real node waits a minute: all is thirty times faster here
OUTAGE = 3 * REDISPATCH
SOCKET_TIMEOUT = 1.0
AT_ONCE = 2.0  # seconds: no wait for any retry of Celery's, on a loaded machine


@pytest.fixture
def scene(new_world, own_broker):
    """One slot, so that a busy body keeps all others waiting."""
    world = new_world(broker=own_broker.url, heartbeat=1, lease=10, grace=5, redispatch=REDISPATCH)
    world.start(slots=1)
    made = Scene(world)
    yield made
    made.clear()
    made.check()
    world.close()


def lasts(scene, seconds):
    """Until the database's clock says so: its rows are what looks old."""
    with scene.lifecycle.database.read() as connection:
        end = connection.execute(sa.select(later(now(), seconds))).scalar_one()

    def over():
        with scene.lifecycle.database.read() as connection:
            return connection.execute(sa.select(now())).scalar_one() > end

    eventually("it lasted", over)


def spawn_at_once(scene, plan):
    began = time.monotonic()
    container = scene.start(plan)
    assert time.monotonic() - began < AT_ONCE
    return container.id


def all_ran_once(scene, ids):
    eventually("all over", lambda: all(scene.lifecycle.get(each).is_ended for each in ids), 90)
    rows = [scene.lifecycle.get(each) for each in ids]
    assert [(row.status, row.epoch) for row in rows] == [("COMPLETED", 1)] * len(ids)
    assert [len(scene.world.marks()[each]) for each in ids] == [1] * len(ids)


@pytest.mark.parametrize("messages", ["kept", "lost"])
def test_what_was_sent_before_and_spawned_meanwhile_runs_once(scene, own_broker, tmp_path, messages):
    gate = tmp_path / "gate"
    scene.run(scene.plan("busy", until=str(gate)))
    sent = [scene.start(scene.plan(f"sent-{n}", kind="ANSWER", value=n)).id for n in range(10)]
    own_broker.stop() if messages == "kept" else forget(own_broker)
    spawned = [spawn_at_once(scene, scene.plan(f"spawned-{n}", kind="ANSWER", value=n)) for n in range(5)]
    task = scene.lifecycle.types()["ANSWER"]
    many = [each.id for each in task.spawn_many([((n,), {}) for n in range(30)])]
    assert {scene.lifecycle.get(each).dispatched_at for each in [*spawned, *many]} == {None}, "they are due"
    gate.touch()
    row = scene.ended("busy")
    assert (row.status, row.epoch) == ("COMPLETED", 1), "it was over without a broker"
    lasts(scene, OUTAGE)
    waiting = [each for each in sent if scene.lifecycle.get(each).status == "PENDING"]
    assert len(sent) - len(waiting) <= isinstance(own_broker, RabbitMQ), "one may have been fetched by the busy node"
    assert {scene.lifecycle.get(each).status for each in [*spawned, *many]} == {"PENDING"}
    own_broker.start()
    all_ran_once(scene, [*sent, *spawned, *many])
    assert {scene.lifecycle.get(each).dispatch_count for each in waiting} == {0 if messages == "kept" else 1}


@pytest.fixture
def hasty(monkeypatch):
    """What an app must set where a broker may hang: Celery's client would wait for it for ever."""
    monkeypatch.setenv("PIPELINES_SOCKET_TIMEOUT", str(SOCKET_TIMEOUT))


@pytest.fixture
def pool():
    """Threads for what may wait for ever, so that the test does not."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.mark.only_on("valkey", "redis")
def test_a_broker_that_hangs_loses_nothing(hasty, scene, own_broker, pool, tmp_path):
    """Its port is open, and it answers nobody."""
    scene.allows_strays = True  # what is over and waits for the results' store is taken out of its slot
    gate = tmp_path / "gate"
    scene.run(scene.plan("busy", until=str(gate)))
    sent = [scene.start(scene.plan(f"sent-{n}", kind="ANSWER", value=n)).id for n in range(5)]
    pid = main_process(own_broker)
    os.kill(pid, signal.SIGSTOP)
    try:
        spawning = pool.submit(scene.start, scene.plan("spawned", kind="ANSWER", value=1))
        spawned = spawning.result(10 * SOCKET_TIMEOUT).id
        assert scene.get("spawned").dispatched_at is None, "it is due"
        assert pool.submit(scene.stop, "busy", grace=1).result(PATIENCE).stopped == ("busy",)
        lasts(scene, OUTAGE)
    finally:
        os.kill(pid, signal.SIGCONT)
    all_ran_once(scene, [*sent, spawned])

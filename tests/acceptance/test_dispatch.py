"""Messages that are lost on their way, by whose death or refusal it may be: each container runs once all the same."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.trees.dispatch import redispatch
from tests.acceptance.world import HERE, die_with_tests, eventually, migrate

pytestmark = pytest.mark.acceptance
REDISPATCH = 1.0  # seconds; a real node waits a minute
CLIENT = """
import json, sys, pipelines
moment, *plans = sys.argv[1:]
pipelines.die_at(moment)
for plan in plans:
    pipelines.spawn(json.loads(plan))
"""
NUMBER = 50
MANY = f"""
import sys, pipelines
pipelines.die_at(sys.argv[1])
pipelines.answer.spawn_many([((n,), {{}}) for n in range({NUMBER})], tags={{"many": sys.argv[2]}})
"""


@pytest.fixture(scope="module")
def world(new_world):
    made = new_world(heartbeat=1, lease=10, redispatch=REDISPATCH)
    made.start(slots=3)
    yield made
    made.close()


def killed(world, program, *words):
    """A client that kills itself, and how it died."""
    ran = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=HERE,
        env=world.env,
        preexec_fn=die_with_tests,
        timeout=60,
        check=False,
    )
    return ran.returncode


SENT = {"before_task_publish": 1, "after_task_publish": 0}  # messages that a dispatcher has to send


@pytest.mark.parametrize("moment", SENT)
def test_what_a_client_recorded_before_its_death_runs_once(scene, moment):
    plan = scene.plan("lost", kind="ANSWER", value="found")
    assert killed(scene.world, CLIENT, moment, json.dumps(plan)) == -signal.SIGKILL
    row = scene.ended("lost")
    assert (row.status, row.result, row.epoch) == ("COMPLETED", "found", 1)
    assert row.dispatch_count >= SENT[moment]
    assert len(scene.ticks("lost")) == 1


@pytest.mark.parametrize("moment", SENT)
def test_what_a_body_recorded_before_its_death_runs_once(scene, moment):
    """Detached, for what becomes of a child whose parent is gone is another matter."""
    plan = scene.plan("lost", kind="ANSWER", value="found", detach=True)
    scene.start(scene.plan("coord-123", kind="DYING", child=plan, moment=moment))
    row = scene.ended("lost")
    assert (row.status, row.result, row.epoch) == ("COMPLETED", "found", 1)
    assert row.dispatch_count >= SENT[moment]
    assert len(scene.ticks("lost")) == 1
    assert scene.get("coord-123").started_at < row.started_at


def test_of_many_spawned_at_once_each_runs_once_though_their_spawner_died(scene):
    """Their messages would have gone out together: none has."""
    assert killed(scene.world, MANY, "before_task_publish", scene.suffix) == -signal.SIGKILL
    eventually("all over", lambda: scene.lifecycle.counts(tags={"many": scene.suffix})["COMPLETED"] == NUMBER)
    rows = scene.lifecycle.find(tags={"many": scene.suffix}, limit=None)
    assert sorted(row.result for row in rows) == list(range(NUMBER))
    assert {(row.epoch, row.dispatch_count) for row in rows} == {(1, 1)}
    assert [len(scene.world.marks()[row.id]) for row in rows] == [1] * NUMBER


def test_what_a_node_on_another_database_refuses_is_sent_again_less_and_less_often(scene, new_world, sqlite_url):
    """A wrong configuration costs time: the message comes back until a node of its own database takes it."""
    migrate(sqlite_url)
    other = new_world(broker=scene.world.env["BROKER_URL"], database_url=sqlite_url, heartbeat=1, lease=10)
    stranger = other.start("stranger", queues="elsewhere", slots=1)
    scene.start(scene.plan("worker-1", kind="ANSWER", queue="elsewhere", value="found"))
    refused = f"message of another database not run container={scene.id('worker-1')}"
    eventually("refused four times", lambda: stranger.log_text().count(refused) == 4)
    row = scene.get("worker-1")
    assert (row.status, row.epoch, row.dispatch_count) == ("PENDING", 0, 3)
    assert (row.dispatched_at - row.created_at).total_seconds() >= (1 + 2 + 4) * REDISPATCH
    assert (other.lifecycle.find(), other.marks()) == ([], {})
    other.close()
    own = scene.world.start("own", queues="elsewhere", slots=1)
    row = scene.ended("worker-1")
    assert (row.status, row.result, row.epoch) == ("COMPLETED", "found", 1)
    assert len(scene.ticks("worker-1")) == 1
    own.end()


def test_two_dispatchers_that_see_the_same_loss_send_it_once(new_world):
    """One has looked into the queue when the other is a step ahead."""
    lifecycle = new_world().lifecycle
    lost = lifecycle.start("ANSWER", {"value": 1}, queue="nobody-listens")
    with lifecycle.app.connection_for_write() as connection:
        connection.default_channel.queue_purge("nobody-listens")
    eventually("it looks lost", lambda: datetime.now(UTC) > lost.dispatched_at + timedelta(seconds=0.5))
    sent = []

    class Slower(type(lifecycle.doorbell)):
        def is_empty(self, queue):
            found = super().is_empty(queue)
            sent.append(redispatch(lifecycle.database, lifecycle.doorbell, after=0.5))
            return found

    sent.append(redispatch(lifecycle.database, Slower(lifecycle), after=0.5))
    assert sent == [1, 0]
    assert lost.refresh().dispatch_count == 1

"""Messages that are lost on their way, and those that only wait: the dispatcher on a real node and broker."""

import pytest

from lifecycle.runtime.launch import _births, _record
from lifecycle.runtime.wish import Call, Wish
from tests.acceptance.scene import Scene
from tests.acceptance.world import eventually

REDISPATCH = 1.0  # seconds; a real node waits a minute


@pytest.fixture(scope="module")
def world(new_world):
    made = new_world(heartbeat=1, lease=10, redispatch=REDISPATCH)
    made.start(slots=1)
    return made


@pytest.fixture
def scene(world):
    made = Scene(world)
    yield made
    made.clear()
    made.check()


def record_only(scene, name, kind="ANSWER", **kwargs):
    """The row alone, as a spawner leaves it that dies before it publishes."""
    task = scene.lifecycle.types()[kind]
    births = _births(task, [Call((), kwargs, container_id=scene.id(name))], Wish(), {})
    return _record(task, births, {scene.id(name)}, None)[0]


def test_a_message_lost_between_commit_and_publish_is_sent_again_and_runs_once(scene):
    record_only(scene, "lost", value="found")
    row = scene.ended("lost")
    assert (row.status, row.result, row.epoch, row.dispatch_count) == ("COMPLETED", "found", 1, 1)


def test_a_backlog_is_not_doubled_by_its_age(scene):
    """The last message waits for several times what makes one look lost."""
    names = [f"waiting-{n}" for n in range(40)]
    for name in names:
        scene.start(scene.plan(name, seconds=0.15))
    eventually("all over", lambda: all(row.is_ended for row in scene.rows()))
    rows = [scene.get(name) for name in names]
    waited = max((row.started_at - row.created_at).total_seconds() for row in rows)
    assert waited > 3 * REDISPATCH
    assert {(row.status, row.epoch, row.dispatch_count) for row in rows} == {("COMPLETED", 1, 0)}

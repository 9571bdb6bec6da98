"""What prefork does with its processes while containers run: it adds, ends and replaces them; no container minds."""

import json

import pytest

from tests.acceptance.scene import eventually
from tests.acceptance.truth import ticks_on
from tests.acceptance.world import PATIENCE

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def world(new_world):
    world = new_world(heartbeat=1, lease=10, grace=5, log_flush=0.3)
    yield world
    world.close()


@pytest.fixture
def start(scene):
    """Start a node with these words and settings of Celery; all tests' containers wait in one queue."""
    nodes = []

    def start(*more, slots=2, conf=None, **env):
        env["PIPELINES_CONF"] = json.dumps(conf or {})
        nodes.append(scene.world.start("main", slots=slots, more=more, env=env))
        return nodes[-1]

    yield start
    for node in nodes:
        node.end()


def tell(node, command, **arguments):
    """A word of `celery control`; what the node answers."""
    where = {"destination": [node.row.hostname], "reply": True, "timeout": PATIENCE, "limit": 1}
    ((answer,),) = [reply.values() for reply in node.world.app.control.broadcast(command, arguments, **where)]
    return answer


def assert_done(scene, *names):
    """Each ran once, from its claim to its end."""
    for name in names:
        row = scene.ended(name)
        assert (row.status, row.epoch, row.restart_count) == ("COMPLETED", 1, 0)


def test_a_pool_that_scales_itself(scene, start, tmp_path):
    node = start("--autoscale=4,1", slots=4, AUTOSCALE_KEEPALIVE="1")
    eventually("few processes", lambda: len(node.children()) == 1)
    gate, brief, last = tmp_path / "gate", ["brief-1", "brief-2", "brief-3"], tmp_path / "last"
    scene.run(scene.plan("worker-1", until=str(last)))
    for name in brief:
        scene.run(scene.plan(name, until=str(gate)))
    assert len(node.children()) == 4
    gate.touch()
    assert_done(scene, *brief)
    eventually("few processes again", lambda: len(node.children()) == 1)
    ticks_on(scene, "worker-1")
    last.touch()
    assert_done(scene, "worker-1")
    scene.run(scene.plan("worker-2", kind="STUBBORN"))
    assert scene.stop("worker-2", grace=1).stopped == ("worker-2",)


@pytest.mark.parametrize("conf", [{"worker_max_tasks_per_child": 1}, {"worker_max_memory_per_child": 1_000}])
def test_a_process_that_is_replaced_after_each_run(scene, start, conf):
    start(conf=conf)
    names = [f"worker-{each}" for each in range(4)]
    for name in names:
        scene.start(scene.plan(name, kind="ANSWER", value=name))
    scene.start(scene.plan("thrice", kind="THRICE"))
    assert_done(scene, *names)
    row = scene.ended("thrice")
    assert (row.status, row.progress, row.epoch, row.restart_count) == ("COMPLETED", "3/3", 3, 0)
    pids = [mark["pid"] for name in [*names, "thrice"] for mark in scene.ticks(name)]
    assert len(set(pids)) == len(pids) == 7
    scene.run(scene.plan("coord-123", scene.plan("stubborn", kind="STUBBORN")))
    assert scene.stop("coord-123", grace=1).stopped == ("stubborn", "coord-123")


def test_a_fair_pool_gives_nothing_to_who_is_busy(scene, start):
    start("-O", "fair")
    scene.run(scene.plan("worker-1"))
    names = [f"quick-{each}" for each in range(6)]
    for name in names:
        scene.start(scene.plan(name, kind="QUICK"))
    assert_done(scene, *names)
    ticks_on(scene, "worker-1")
    assert scene.stop("worker-1").stopped == ("worker-1",)


def test_a_pool_that_is_restarted(scene, start, tmp_path):
    node, gate = start(slots=1, conf={"worker_pool_restarts": True}), tmp_path / "gate"
    scene.run(scene.plan("worker-1", until=str(gate)))
    assert tell(node, "pool_restart") == {"ok": "reload started"}
    ticks_on(scene, "worker-1")
    gate.touch()
    assert_done(scene, "worker-1")
    scene.start(scene.plan("worker-2", kind="ANSWER", value=2))
    assert_done(scene, "worker-2")
    assert scene.ticks("worker-1")[0]["pid"] != scene.ticks("worker-2")[0]["pid"]


def test_a_pool_that_is_told_to_grow_and_to_shrink(scene, start, tmp_path):
    node, gate = start(slots=1), tmp_path / "gate"
    scene.run(scene.plan("worker-1"))
    scene.start(scene.plan("worker-2", until=str(gate)))
    assert tell(node, "pool_grow", n=1) == {"ok": "pool will grow"}
    eventually("there is a slot for it", lambda: scene.ticks("worker-2"))
    assert "All processes busy" in str(tell(node, "pool_shrink", n=1))
    ticks_on(scene, "worker-1", "worker-2")
    gate.touch()
    assert_done(scene, "worker-2")
    eventually("it shrinks", lambda: tell(node, "pool_shrink", n=1) == {"ok": "pool will shrink"})
    eventually("one process", lambda: len(node.children()) == 1)
    ticks_on(scene, "worker-1")
    assert scene.stop("worker-1").stopped == ("worker-1",)

"""Pools that cannot kill what they run: threads, gevent, solo. A body there ends only where it looks; that is said."""

import os
import re
import signal
import subprocess
import sys

import pytest

from tests.acceptance.scene import Scene, eventually
from tests.acceptance.truth import ticks_on
from tests.acceptance.world import PATIENCE

pytestmark = pytest.mark.acceptance

SLOTS = {"threads": 3, "gevent": 3, "solo": 1}
RESTLESS = {"heartbeat": 0.5, "lease": 5, "grace": 5, "log_flush": 0.3}  # a lost node is noticed within six seconds


@pytest.fixture(scope="module")
def world(new_world):
    world = new_world(**RESTLESS)
    yield world
    world.close()


@pytest.fixture(scope="module", params=SLOTS)
def node(request, world):
    """A node on each pool in turn; it and its queue are named after the pool."""
    node = start(world, request.param, request.param, request.param)
    yield node
    node.end()


@pytest.fixture
def scene(world, node):
    scene = Scene(world)
    yield scene
    scene.clear()
    scene.check()


@pytest.fixture
def doomed(scene, node):
    """Another node on the same pool, with a queue of its own and a body that looks."""
    queue = scene.id("doomed")
    doomed = start(scene.world, f"doomed-{node.name}", node.name, queue)
    scene.run(scene.plan("worker-1", kind="PATIENT", queue=queue))
    assert scene.get("worker-1").node == doomed.row.id
    options = {"destination": [node.row.hostname], "reply": True, "timeout": PATIENCE, "limit": 1}
    assert "add consumer" in str(scene.world.app.control.add_consumer(queue, **options))
    yield doomed
    doomed.end()


def start(world, name, pool, queue):
    return world.start(name, pool=pool, queues=queue, slots=SLOTS[pool])


def ran_on(scene, name):
    return [change.node for change in scene.lifecycle.history(scene.id(name)) if change.to_status == "RUNNING"]


def test_a_tree_runs_to_its_end(scene, node):
    below = [scene.plan(f"worker-{each}", kind="ANSWER", queue=node.name, value=each) for each in (1, 2)]
    scene.start(scene.plan("coord-123", *below, queue=node.name, seconds=0))
    assert scene.ended("coord-123").status == "COMPLETED"
    assert [scene.get(f"worker-{each}").result for each in (1, 2)] == [1, 2]
    assert [child.id for child in scene.lifecycle.children(scene.id("coord-123"))] == [
        scene.id("worker-1"),
        scene.id("worker-2"),
    ]
    assert [ran_on(scene, name) for name in ("coord-123", "worker-1", "worker-2")] == [[node.row.id]] * 3
    assert scene.world.app.AsyncResult(scene.id("worker-2")).get(timeout=10) == 2


@pytest.mark.parametrize(("kind", "kwargs"), [("PATIENT", {}), ("TURNING_PAGES", {"pages": 72_000})])
def test_a_stop_meets_a_body_where_it_looks(scene, node, kind, kwargs):
    """In `sleep()`, in `checkpoint()`; what runs beside it goes on."""
    others = ["other"] if SLOTS[node.name] > 1 else []
    for name in others:
        scene.run(scene.plan(name, kind="ATTENTIVE", queue=node.name))
    scene.run(scene.plan("worker-1", kind=kind, queue=node.name, **kwargs))
    assert scene.stop("worker-1", grace=30).stopped == ("worker-1",)
    assert scene.get("worker-1").exit_code == 143
    ticks_on(scene, *others)
    scene.start(scene.plan("next", kind="ANSWER", queue=node.name, value=1)) if not others else None


def test_a_body_that_never_looks_is_told_before_the_wait_and_after(scene, node, tmp_path):
    release, pool = tmp_path / "release", node.name
    scene.run(scene.plan("deaf", queue=pool, until=str(release)))
    typed = scene.world.command("stop", scene.id("deaf"), "--grace", "1")
    looks = "checkpoint() or sleep()"
    assert f"1 container on {pool} cannot be killed, and will stop only at the next {looks}\n" in typed.stderr
    why = rf"on a {pool} pool nothing can be killed; it stops at its next {looks}, or when its node is killed"
    why = re.escape(f"{why} (kill -9 {node.pid})")
    first, last = typed.stdout.splitlines()
    assert re.fullmatch(rf"{scene.id('deaf')}  not stopped: still running \d+ s after its deadline: {why}", first)
    assert (last, typed.returncode) == ("1 not stopped", 1)
    row = scene.get("deaf")
    assert (row.status, row.stop_error in first) == ("STOPPING", True)
    assert row.stop_error in scene.world.command("get", row.id).stdout
    ticks_on(scene, "deaf")
    release.touch()
    assert scene.ended("deaf").status == "COMPLETED", "it ended by itself, no stop was ever raised in it"


def test_a_revoke_of_a_body_that_never_looks_is_told_on_its_row(scene, node, tmp_path):
    release = tmp_path / "release"
    scene.run(scene.plan("deaf", queue=node.name, until=str(release)))
    scene.world.app.control.revoke(scene.id("deaf"), terminate=True, signal="SIGKILL")
    row = eventually("given up", lambda: (row := scene.get("deaf")).stop_error and row)
    assert (row.status, row.stop_by) == ("STOPPING", "Celery revoke")
    assert f"on a {node.name} pool nothing can be killed" in row.stop_error
    ticks_on(scene, "deaf")
    release.touch()
    assert scene.ended("deaf").status == "COMPLETED"


def test_a_node_says_in_check_what_it_cannot_do(scene, node):
    said = scene.world.command("check").stdout
    assert f"{node.row.id} is on {node.name}: a body stops only at checkpoint() or sleep(), and is never killed" in said


def test_what_rests_holds_no_slot(scene, node):
    resting = [f"drowsy-{each}" for each in range(SLOTS[node.name])]
    for name in resting:
        scene.start(scene.plan(name, kind="DROWSY", queue=node.name))
    scene.start(scene.plan("endless", kind="ENDLESS", queue=node.name))
    for name in resting:
        row = eventually(f"{name} rests", lambda name=name: (row := scene.get(name)).wake_at and row)
        assert (row.status, row.node, row.pid) == ("RUNNING", None, None)
    eventually("woken after its interval", lambda: len(scene.ticks("endless")) >= 2)
    scene.start(scene.plan("worker-1", kind="ANSWER", queue=node.name, value=1))
    assert scene.ended("worker-1").result == 1
    assert scene.stop(resting[0], wait=False).stopped == (resting[0],)


def test_a_node_that_leaves_interrupts_what_looks_and_another_goes_on(scene, node, doomed):
    left = doomed.row.id
    os.kill(doomed.pid, signal.SIGTERM)
    assert doomed.wait() == 0
    row = scene.ended("worker-1")
    assert (row.status, row.result, row.epoch, row.restart_count) == ("COMPLETED", "again", 2, 0)
    assert [mark["by"] for mark in scene.marks("worker-1", "cut")] == ["ContainerInterrupted"]
    assert ran_on(scene, "worker-1") == [left, node.row.id]


def test_what_a_killed_node_ran_goes_on_elsewhere(scene, node, doomed):
    lost = doomed.row.id
    doomed.kill()
    assert scene.becomes("worker-1", "INTERRUPTED").exit_message == "node lost"
    row = scene.ended("worker-1")
    assert (row.status, row.result, row.epoch, row.restart_count) == ("COMPLETED", "again", 2, 1)
    assert scene.marks("worker-1", "cut") == []
    assert ran_on(scene, "worker-1") == [lost, node.row.id]


@pytest.mark.parametrize("node", ["gevent"], indirect=True)
def test_a_node_on_gevent_lives_while_a_body_lets_no_greenlet_run(scene, node):
    before = node.row.id
    scene.run(scene.plan("worker-1", kind="ATTENTIVE", queue="gevent"))
    scene.run(scene.plan("blocking", kind="BLOCKING", queue="gevent", seconds=RESTLESS["lease"] + 3.0))
    row = scene.ended("blocking")
    assert (row.status, row.epoch, node.row.id) == ("COMPLETED", 1, before)
    assert scene.stop("worker-1").stopped == ("worker-1",)


@pytest.mark.parametrize("node", ["gevent"], indirect=True)
def test_what_threads_of_ours_publish_leaves_greenlets_their_sockets(scene, node):
    """gevent's sockets can be used in no other thread, and Celery's pools are for all."""
    for each in range(2):
        scene.start(scene.plan(f"worker-{each}", kind="GOING_ON_LATER", times=8, seconds=0.1, queue="gevent"))
    where = {"destination": [node.row.hostname], "limit": 1, "timeout": PATIENCE}
    while not all(scene.get(f"worker-{each}").is_ended for each in range(2)):
        assert len(scene.world.app.control.ping(**where)) == 1
    assert "different thread" not in node.log_text()


SLOW = """
import _frozen_importlib
from lifecycle.runtime.native import native

while not _frozen_importlib._module_locks["slow"]().waiters:
    native("time", "sleep")(0.001)
"""
IMPORTING = """
from gevent import monkey

monkey.patch_all()
import sys
from lifecycle.runtime.native import native, start_thread

failed = []


def load():
    try:
        import slow
    except BaseException as error:
        failed.append(repr(error))


def load_second():
    while "slow" not in sys.modules:
        native("time", "sleep")(0.001)
    load()


first, second = (load, load_second) if sys.argv[1] == "thread" else (load_second, load)
join = start_thread(first, "importing")
second()
assert join(10), "the thread waits for ever"
sys.exit("; ".join(failed) or 0)
"""


@pytest.mark.parametrize("first", ["thread", "main"])
def test_under_gevent_a_thread_may_wait_for_the_import_of_another(tmp_path, first):
    """Neither has anything else to wait for, as in a node that starts."""
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "importing.py").write_text(IMPORTING)
    command = [sys.executable, str(tmp_path / "importing.py"), first]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


PATCHED_LATER = """
from lifecycle.runtime import execution
from gevent import monkey, spawn

monkey.patch_all()
execution.hold_by_thread()
execution._holder.execution = "mine"
print(spawn(execution.current_execution).get())
"""


def test_each_greenlet_has_an_execution_of_its_own_where_gevent_patches_late():
    command = [sys.executable, "-W", "ignore", "-c", PATCHED_LATER]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ran.stdout, ran.returncode) == ("None\n", 0), ran.stderr

"""Revokes from outside, by all who can send one: a container's is a stop of its tree, any other task's is Celery's."""

import contextlib
import http.client
import subprocess
import sys
import urllib.parse

import pytest
import sqlalchemy as sa
from celery import VERSION, Celery, group
from celery.result import AsyncResult

from job.servers import free_port
from lifecycle.store.tables import stops
from tests.acceptance.scene import Scene
from tests.acceptance.world import HERE, eventually

BY = "Celery revoke"
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture(scope="module")
def world(new_world):
    """Two nodes, on a broker of their own: what revokes say of stamps, they never forget."""
    world = new_world(heartbeat=1, lease=10, grace=5, log_flush=0.3)
    world.start(slots=6)
    world.start("other", slots=4, queues="other")
    yield world
    world.close()


@pytest.fixture
def stranger(world):
    """An app that knows nothing of containers, on the same broker."""
    with Celery(
        "stranger", broker=world.env["BROKER_URL"], backend=world.env["REDIS_URL"], set_as_current=False
    ) as app:
        yield app


def command(*words, app="pipelines"):
    """`celery control …` as an operator types it, with our app or without."""

    def send(world, container_id):
        of_app = ["-A", app] if app else ["-b", world.env["BROKER_URL"]]
        line = [sys.executable, "-m", "celery", *of_app, "control", *words, container_id]
        subprocess.run(line, cwd=HERE, env=world.env, check=True, timeout=60, **QUIET)

    return send


def plainly(world, container_id):
    world.app.control.revoke(container_id)


def terminating(world, container_id):
    world.app.control.revoke(container_id, terminate=True)


def by_result(world, container_id):
    AsyncResult(container_id, app=world.app).revoke(terminate=True)


def as_a_stranger(world, container_id):
    stranger = Celery("stranger", broker=world.env["BROKER_URL"], set_as_current=False)
    stranger.control.revoke(container_id)
    stranger.close()


def by_a_strangers_result(world, container_id):
    stranger = Celery("stranger", broker=world.env["BROKER_URL"], backend=world.env["REDIS_URL"], set_as_current=False)
    AsyncResult(container_id, app=stranger).revoke(terminate=True, signal="SIGTERM")
    stranger.close()


SENDERS = {
    "control.revoke": plainly,
    "control.revoke, terminate": terminating,
    "AsyncResult.revoke": by_result,
    "celery control revoke": command("revoke"),
    "celery control terminate": command("terminate", "SIGTERM"),
    "a stranger's control.revoke": as_a_stranger,
    "a stranger's AsyncResult.revoke": by_a_strangers_result,
    "celery control revoke without an app": command("revoke", app=None),
    "celery control terminate without an app": command("terminate", "SIGTERM", app=None),
}
STATES = ("running", "queued", "sleeping", "eta")


@pytest.mark.parametrize("sender", SENDERS)
def test_every_sender_stops_the_tree_of_a_container_in_every_state(scene, sender):
    """The tree is over two nodes; the other three run nowhere now."""
    scene.run(scene.plan("running", scene.plan("worker-1", queue="other"), scene.plan("worker-2")))
    plant_idle(scene)
    for name in STATES:
        SENDERS[sender](scene.world, scene.id(name))
    for name in (*STATES, "worker-1", "worker-2"):
        row = scene.becomes(name, "STOPPED")
        assert (row.stop_by, row.exit_code) == (BY, 143), name
        assert row.stop_reason.startswith(("revoke", "terminate")), name
        waited_for(scene.world.app, row.id)
    assert {scene.get(name).exit_message for name in STATES} == {"Stopped by user"}
    assert len(stops_of(scene, "running")) == 1
    assert not {scene.id(name) for name in STATES} & revoked_of(scene)  # each node would discard it for hours


def plant_idle(scene):
    scene.start(scene.plan("queued", queue="nobody-consumes-it"))
    scene.world.pipelines.quick.apply_async(task_id=scene.id("eta"), countdown=3600)
    scene.run(scene.plan("sleeping", kind="SLEEPY"))
    eventually("asleep", lambda: scene.get("sleeping").node is None)


def test_a_revoke_says_revoked_only_when_the_process_is_gone(scene):
    scene.run(scene.plan("cleaning", kind="CLEANING", seconds=2.0))
    result = scene.world.app.AsyncResult(scene.id("cleaning"))
    scene.world.app.control.revoke(result.id, terminate=True)
    seen = set()
    while True:
        state = result.state
        if scene.get("cleaning").is_ended:
            break
        seen.add(state)
    assert seen
    assert "REVOKED" not in seen
    waited_for(scene.world.app, result.id)
    assert scene.marks("cleaning", "clean")


@pytest.mark.parametrize("words", [("terminate", "KILL"), ("terminate", "SIGKILL")])
def test_sigkill_kills_at_once_what_would_not_stop(scene, words):
    scene.run(scene.plan("stubborn", kind="STUBBORN", grace=60))
    command(*words)(scene.world, scene.id("stubborn"))
    row = scene.becomes("stubborn", "STOPPED", patience=15)
    assert (row.stop_by, row.stop_reason.split(" by ")[0]) == (BY, f"terminate with {words[1]}")


def test_a_kill_after_a_patient_revoke_is_heard(scene):
    scene.run(scene.plan("stubborn", kind="STUBBORN", grace=60))
    scene.world.app.control.revoke(scene.id("stubborn"))
    scene.becomes("stubborn", "STOPPING")
    scene.world.app.control.terminate(scene.id("stubborn"), signal="SIGKILL")
    scene.becomes("stubborn", "STOPPED", patience=15)
    assert [row.grace for row in stops_of(scene, "stubborn")] == [None, 0.0]


@pytest.mark.parametrize("terminate", [False, True])
@pytest.mark.parametrize("who", ["ours", "a stranger"])
def test_stamped_headers_stop_what_carries_them(scene, stranger, who, terminate):
    stamp = {"stamped_headers": ["fleet"], "fleet": f"{scene.suffix}"}
    for name, options in {"running": {}, "queued": {"queue": "nobody-consumes-it"}, "eta": {"countdown": 3600}}.items():
        worker = scene.world.pipelines.worker
        worker.apply_async(kwargs={"seconds": 3600.0}, task_id=scene.id(name), **options, **stamp)
    scene.start(scene.plan("unstamped", kind="WORKER"))
    for name in ("running", "unstamped"):
        eventually(f"{name} at work", lambda name=name: scene.ticks(name))
    sender = scene.world.app if who == "ours" else stranger
    sender.control.revoke_by_stamped_headers({"fleet": scene.suffix}, terminate=terminate)
    for name in ("running", "queued", "eta"):
        row = scene.becomes(name, "STOPPED")
        assert (row.stop_by, row.stop_reason.split(" ")[0]) == (BY, "revoke_by_stamped_headers")
    assert scene.status("unstamped") == "RUNNING"


def test_a_stamp_that_was_revoked_stops_what_comes_later(scene):
    """Nodes keep revoked stamps for ever: they discard the message, and nothing would run the container."""
    scene.world.app.control.revoke_by_stamped_headers({"fleet": scene.suffix})
    scene.world.pipelines.worker.apply_async(
        task_id=scene.id("late"), stamped_headers=["fleet"], fleet=scene.suffix, kwargs={"seconds": 3600.0}
    )
    assert scene.becomes("late", "STOPPED").stop_by == BY
    assert not scene.ticks("late")


@pytest.mark.parametrize("known", [True, False])
def test_flowers_buttons(scene, known):
    """Flower with our app, and one that only knows the broker."""
    scene.run(scene.plan("running", scene.plan("worker-1", queue="other")))
    plant_idle(scene)
    with flower(scene.world, known=known) as post:
        post(f"/api/task/revoke/{scene.id('running')}", terminate="true", signal="SIGTERM")
        for name in ("queued", "sleeping", "eta"):
            post(f"/api/task/revoke/{scene.id(name)}")
    for name in (*STATES, "worker-1"):
        assert scene.becomes(name, "STOPPED").stop_by == BY, name


@contextlib.contextmanager
def flower(world, *, known):
    port = free_port()
    which = ["-A", "pipelines"] if known else ["-b", world.env["BROKER_URL"]]
    words = ["flower", f"--port={port}", "--address=127.0.0.1"]
    env = {**world.env, "FLOWER_UNAUTHENTICATED_API": "true"}
    process = subprocess.Popen([sys.executable, "-m", "celery", *which, *words], cwd=HERE, env=env, **QUIET)
    try:
        eventually("Flower up", lambda: asked(port, "GET", "/healthcheck") == 200)

        def post(path, **arguments):
            assert asked(port, "POST", f"{path}?{urllib.parse.urlencode(arguments)}") == 200

        yield post
    finally:
        process.terminate()
        process.wait(20)


def asked(port, method, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def test_with_no_node_up_a_revoke_of_ours_holds(new_world):
    world = new_world(heartbeat=1, lease=10, grace=5, log_flush=0.3)
    scene = Scene(world)
    scene.start(scene.plan("queued"))
    world.app.control.revoke(scene.id("queued"))
    row = scene.becomes("queued", "STOPPED")
    assert row.stop_by == BY
    waited_for(world.app, row.id)
    world.start(slots=2)
    scene.start(scene.plan("next", kind="ANSWER", value=1))
    scene.ended("next")
    assert not scene.ticks("queued")
    scene.check()


def test_a_body_that_revokes_its_own_tree_is_stopped(scene):
    scene.run(scene.plan("coord-123", scene.plan("self", kind="REVOKING_PARENT")))
    scene.becomes("coord-123", "STOPPED")
    assert scene.status("self") == "STOPPED"
    assert not scene.marks("self", "went on")


def test_a_group_is_revoked_with_all_its_members(scene):
    worker = scene.world.pipelines.worker
    ids = [scene.id(f"member-{n}") for n in range(3)]
    result = group(worker.s(seconds=3600.0).set(task_id=each) for each in ids).apply_async()
    for n in range(3):
        eventually("at work", lambda n=n: scene.ticks(f"member-{n}"))
    result.revoke(terminate=True)
    for n in range(3):
        scene.becomes(f"member-{n}", "STOPPED")
    assert len(stops_of(scene, "member-0")) <= 1


@pytest.mark.skipif(VERSION < (5, 7), reason="this Celery tells only the nodes that are up")
def test_what_is_no_container_is_revoked_by_celery(scene, stranger):
    """In one call with a container, on both doors: it is discarded, and kept in mind as revoked."""
    plain = scene.world.pipelines.plain
    scene.run(scene.plan("running"))
    for name in ("plain-1", "plain-2", "plain-3"):
        plain.apply_async([scene.id(f"of-{name}")], queue="other", countdown=5, task_id=scene.id(name))
    for sender, name in ((scene.world.app, "plain-1"), (stranger, "plain-2")):
        sender.control.revoke([scene.id(name), scene.id("running")], reply=True, limit=2)
    scene.becomes("running", "STOPPED")
    revoked = revoked_of(scene)
    assert {scene.id("plain-1"), scene.id("plain-2")} <= revoked
    assert scene.id("running") not in revoked
    eventually("the one that was not revoked", lambda: scene.found("of-plain-3"))
    assert [scene.found(f"of-{name}") for name in ("plain-1", "plain-2")] == [None, None]
    for name in ("plain-1", "plain-2"):
        waited_for(scene.world.app, scene.id(name))


def test_a_copy_that_has_expired_stops_nothing(scene, stranger):
    """Two messages of one id from elsewhere: the one that runs is not the one that expires."""
    said = {"kwargs": {"seconds": 2.5}, "task_id": scene.id("twice"), "queue": "narrow-1"}
    node = scene.world.start("narrow-1", queues="narrow-1", slots=1)
    stranger.send_task("pipelines.worker", **said)
    eventually("at work", lambda: scene.ticks("twice"))
    stranger.send_task("pipelines.worker", **{**said, "queue": "other"}, countdown=0.2, expires=0.1)
    eventually("expired", lambda: scene.id("twice") in revoked_of(scene))
    assert scene.ended("twice").status == "COMPLETED"
    node.end()


def test_a_purge_stops_nothing(scene):
    scene.start(scene.plan("purged", kind="ANSWER", value=7, queue="purged"))
    purge = [sys.executable, "-m", "celery", "-A", "pipelines", "purge", "-f", "-Q", "purged"]
    subprocess.run(purge, cwd=HERE, env=scene.world.env, check=True, timeout=60, **QUIET)
    assert scene.status("purged") == "PENDING"
    node = scene.world.start("purged", queues="purged", slots=1, env={"LIFECYCLE_REDISPATCH": "1"})
    assert scene.ended("purged", patience=60).status == "COMPLETED"
    node.end()


def waited_for(app, container_id):
    result = app.AsyncResult(container_id)
    eventually(f"{container_id} revoked", lambda: result.state == "REVOKED")


def stops_of(scene, name):
    query = sa.select(stops).where(stops.c.container_id == scene.id(name)).order_by(stops.c.id)
    with scene.lifecycle.database.read() as connection:
        return connection.execute(query).all()


def revoked_of(scene):
    """Ids that the nodes keep as revoked."""
    answers = eventually("nodes answer", lambda: scene.world.app.control.inspect(timeout=2, limit=2).revoked())
    return {each for ids in answers.values() for each in ids}

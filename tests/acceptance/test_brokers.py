"""What brokers do to messages: deliver twice, forget, restart under load. Each container runs once all the same."""

import json
import os
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from job.servers import Server
from lifecycle.domain.status import LIVE
from tests.acceptance.scene import Scene, names_in
from tests.acceptance.truth import overlaps
from tests.acceptance.world import eventually
from tests.servers import RabbitMQ, forget

pytestmark = pytest.mark.acceptance
REDISPATCH = 2.0  # seconds; a real node waits a minute: all is thirty times faster here
SETTINGS = {"heartbeat": 1, "lease": 10, "grace": 5, "redispatch": REDISPATCH}
VISIBLE_AGAIN = 1  # seconds: the broker's visibility timeout
IMPATIENT = {"visibility_timeout": VISIBLE_AGAIN, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
NUMBER = 3  # containers, of which each message comes twice
CHILDREN = 30  # of one coordinator, spawned one after the other
EACH = 8  # of so many plans of a client, one is a coordinator's
PACE = 0.1  # seconds between two spawns of a client: less than two nodes can run
RESTARTS = 2
DONE = ("COMPLETED", 1)  # status and epoch
PATIENCE = 180.0  # seconds: for hundreds of containers on a loaded machine


def deliveries(scene, name):
    """How often nodes have received its message."""
    return scene.world.log().count(f"[{scene.id(name)}] received")


def refused(scene, name):
    """How many of its messages have lost their claim."""
    return scene.world.log().count(f"[{scene.id(name)}] ignored")


# A visibility timeout that is shorter than a run


@pytest.fixture
def impatient_scene(new_world):
    """Nodes whose broker sends a message again that is not acknowledged at once."""
    world = new_world(**{**SETTINGS, "redispatch": 60})
    made = Scene(world)
    yield made
    made.clear()
    made.check()
    world.close()


def start_impatient(scene, name, **conf):
    env = {"PIPELINES_CONF": json.dumps({"broker_transport_options": IMPATIENT, **conf})}
    return scene.world.start(name, slots=2 * NUMBER, env=env)


@pytest.mark.only_on("valkey", "redis")
def test_what_is_acknowledged_late_and_sent_again_while_it_runs_is_not_started_twice(impatient_scene, tmp_path):
    scene, gate = impatient_scene, tmp_path / "gate"
    start_impatient(scene, "main", task_annotations={"*": {"acks_late": True}})
    names = [f"worker-{n}" for n in range(NUMBER)]
    for name in names:
        scene.run(scene.plan(name, until=str(gate)))
    scene.run(scene.plan("stubborn", kind="STUBBORN"))
    for name in [*names, "stubborn"]:
        eventually(f"{name} sent again, and refused", lambda name=name: refused(scene, name))
        assert deliveries(scene, name) == 2
    assert scene.stop("stubborn", grace=1).stopped == ("stubborn",), "its second message has not hidden it"
    gate.touch()
    for name in names:
        row = scene.ended(name)
        assert (row.status, row.epoch, row.dispatch_count) == ("COMPLETED", 1, 0)
        assert len({mark["pid"] for mark in scene.marks(name)}) == len(scene.marks(name, "end")) == 1


@pytest.mark.only_on("valkey", "redis")
def test_what_waits_behind_a_run_and_is_sent_again_runs_on_another_node_and_once(impatient_scene, tmp_path):
    """The app has allowed its nodes to fetch more than they can run."""
    scene, gate = impatient_scene, tmp_path / "gate"
    greedy = {"worker_disable_prefetch": False, "worker_prefetch_multiplier": 4}
    env = {"PIPELINES_CONF": json.dumps({"broker_transport_options": IMPATIENT, **greedy})}
    busy = scene.world.start("busy", slots=1, env=env)
    scene.run(scene.plan("busy", until=str(gate)))
    scene.start(scene.plan("worker-1", kind="ANSWER", value=1))
    eventually("it waits behind the run", lambda: deliveries(scene, "worker-1"))
    start_impatient(scene, "idle")
    row = scene.ended("worker-1")
    assert (row.status, row.epoch, row.dispatch_count) == ("COMPLETED", 1, 0)
    assert row.node != busy.row.id
    gate.touch()
    scene.ended("busy")
    eventually("the first message refused", lambda: refused(scene, "worker-1"))
    assert len(scene.ticks("worker-1")) == 1


# What a node has fetched and cannot run yet


@pytest.fixture
def loaded_scene(new_world, own_broker):
    """A broker for one test, and nobody on it yet."""
    world = new_world(broker=own_broker.url, **SETTINGS)
    made = Scene(world)
    yield made
    made.clear()
    made.check()
    world.close()


@pytest.mark.only_on("rabbitmq")
def test_what_a_busy_node_has_fetched_is_sent_again_to_one_that_is_free(loaded_scene, tmp_path):
    """RabbitMQ has handed out one message for each slot; nobody else sees it, and its queue is empty."""
    scene, gate = loaded_scene, tmp_path / "gate"
    busy = scene.world.start("busy", slots=1)
    scene.run(scene.plan("busy", until=str(gate)))
    scene.start(scene.plan("worker-1", kind="ANSWER", value=1))
    eventually("it waits behind the run", lambda: deliveries(scene, "worker-1"))
    scene.world.start("idle", slots=1)
    row = scene.ended("worker-1")
    assert (row.status, row.epoch) == ("COMPLETED", 1)
    assert row.dispatch_count >= 1
    assert row.node != busy.row.id
    gate.touch()
    scene.ended("busy")
    eventually("the first message refused", lambda: refused(scene, "worker-1"))
    assert len(scene.ticks("worker-1")) == 1


@pytest.fixture
def giving_back(tmp_path):
    """What a node is started with that gives back after a second what waits, not after five minutes."""
    (tmp_path / "sitecustomize.py").write_text("from lifecycle.runtime import fetched; fetched.GIVE_BACK = 1.0")
    return {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}


@pytest.mark.only_on("rabbitmq")
def test_a_long_run_behind_which_a_message_waits_costs_no_node(new_world, giving_back, tmp_path):
    """RabbitMQ waits for an acknowledgement for a while, half an hour if not told, and then ends the consumer."""
    gate = tmp_path / "gate"
    with RabbitMQ(hosts=1, consumer_timeout=5_000, channel_tick_interval=500) as broker:
        world = new_world(broker=broker.url, **SETTINGS)
        scene = Scene(world)
        world.start(slots=1, env=giving_back)
        scene.run(scene.plan("busy", until=str(gate)))
        scene.start(scene.plan("worker-1", kind="ANSWER", value=1))
        eventually("given back for longer than that", lambda: deliveries(scene, "worker-1") > 5)
        gate.touch()
        rows = [scene.ended("busy"), scene.ended("worker-1")]
        assert {(row.status, row.epoch) for row in rows} == {("COMPLETED", 1)}
        assert len(scene.ticks("worker-1")) == 1
        scene.check()
        world.close()


@pytest.mark.only_on("rabbitmq")
def test_a_plain_task_that_waits_behind_a_run_is_not_given_back(loaded_scene, giving_back, tmp_path):
    """No claim would keep it from running once for each time that it came."""
    scene, gate = loaded_scene, tmp_path / "gate"
    scene.world.start(slots=2, env=giving_back)
    for number in range(2):
        scene.run(scene.plan(f"busy-{number}", until=str(gate)))
    plain = scene.lifecycle.app.send_task("pipelines.plain", [scene.id("child")], task_id=scene.id("plain"))
    scene.start(scene.plan("worker-1", kind="ANSWER", value=1))
    eventually("one is given back", lambda: deliveries(scene, "worker-1") > 3)
    gate.touch()
    scene.ended("worker-1")
    plain.get(timeout=30)
    assert deliveries(scene, "plain") == 1


# Restarts under load


@contextmanager
def spawning(scene):
    """A client that goes on and on, with the plans that it has started."""
    plans, over = [], Event()

    def work():
        while not over.is_set():
            n = len(plans)
            children = [scene.plan(f"answer-{n}-{each}", kind="ANSWER", value=each) for each in range(CHILDREN)]
            plan = children[0] if n % EACH else scene.plan(f"coord-{n}", *children, seconds=0)
            scene.start(plan)
            plans.append(plan)
            over.wait(PACE)

    client = Thread(target=work)
    client.start()
    try:
        yield plans
    finally:
        over.set()
        client.join()


def in_the_midst(scene):
    """True while a body has spawned some of its children, and not yet all."""
    spawners = scene.lifecycle.find(type="COORDINATOR", status="RUNNING")
    return any(0 < len(scene.lifecycle.children(each.id)) < CHILDREN for each in spawners)


AWAY = {  # how it goes, and whether it has its messages when it is back
    "stopped": Server.stop,
    "killed": lambda server: server.process.kill(),
    "forgets": forget,
}


@pytest.mark.parametrize("how", AWAY)
def test_a_broker_that_restarts_under_load_loses_nothing(loaded_scene, own_broker, how):
    """Spawned by a client and by bodies, before, while it is away and after."""
    scene = loaded_scene
    for node in ("one", "two"):
        scene.world.start(node, slots=3)
    with spawning(scene) as plans:
        for _ in range(RESTARTS):
            eventually("a body is spawning", lambda: in_the_midst(scene))
            AWAY[how](own_broker)
            before = len(plans)
            eventually("spawned meanwhile", lambda before=before: len(plans) > before + 10)
            own_broker.start()
            for _ in fallen(scene.world):
                scene.world.start(f"node-{len(scene.world.nodes)}", slots=3)
            scene.ended(scene.name(plans[-1]["options"]["container_id"]), PATIENCE)
    eventually("all over", lambda: not scene.lifecycle.find(status=LIVE, limit=1), PATIENCE)
    cut_off = {row.id for row in scene.rows() if row.epoch > 1}
    assert not cut_off or fallen(scene.world)
    told = [set(names_in(plan)) for plan in plans]
    assert {row.id for row in scene.rows()} <= set().union(*told)
    ids = set().union(*(each for each in told if not each & cut_off))
    assert {row.id: (row.status, row.epoch) for row in scene.rows() if row.id in ids} == dict.fromkeys(ids, DONE)
    assert {each: len(begun(scene, each)) for each in ids} == dict.fromkeys(ids, 1)
    assert overlaps(scene.world) == []


def fallen(world):
    """Nodes that left by themselves: Celery ends one when kombu fails to put back what it had not acknowledged."""
    return [node for node in world.nodes if node.has_ended]


def begun(scene, container_id):
    """One line for each run of a body."""
    return [mark for mark in scene.world.marks().get(container_id, ()) if mark["what"] in {"tick", "spawned"}]

"""Nodes that are shut down in order, by every way there is: what they ran is interrupted, and goes on elsewhere."""

import json
import os
import signal

import pytest
import sqlalchemy as sa

from lifecycle.store.tables import nodes
from tests.acceptance.scene import Scene
from tests.acceptance.world import PATIENCE, eventually

SETTINGS = {"heartbeat": 1, "lease": 60, "grace": 5, "log_flush": 0.3}  # no lease runs out within a test's patience
DOWN = "node shut down"
ONCE_MORE = ["PENDING", "RUNNING", "INTERRUPTED", "PENDING", "RUNNING", "COMPLETED"]
STILL = 30  # seconds of grace: what does not wait for it is seen to

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def sea(new_world):
    """A node that stays, for whatever the others leave."""
    world = new_world(**SETTINGS)
    world.start("harbour", queues="harbour", slots=8)
    yield world
    world.close()


@pytest.fixture
def scene(sea):
    scene = Scene(sea)
    yield scene
    scene.clear()
    scene.check()
    for node in sea.nodes[1:]:
        node.end()


class Ship:
    """A node with a queue of its own, which is going to leave."""

    def __init__(self, scene, *, slots=4, queue=None, conf=None, env=None, **options):
        self.scene, self.queue = scene, queue or scene.id("queue")
        env = {"PIPELINES_CONF": json.dumps(conf or {}), **(env or {})}
        name = f"ship-{len(scene.world.nodes)}"
        self.node = scene.world.start(name, queues=self.queue, slots=slots, env=env, **options)
        self.row, self.pids = self.node.row, [self.node.pid, *self.node.children()]

    def plan(self, name, kind="MOORED", **options):
        return self.scene.plan(name, kind=kind, queue=self.queue, **options)

    def run(self, *plans):
        for plan in plans:
            self.scene.start(plan)
        for plan in plans:
            name = self.scene.name(plan["options"]["container_id"])
            eventually(f"{name} at work", lambda name=name: self.scene.marks(name))

    def hand_over(self):
        """From now on the node in the harbour takes this queue's messages too."""
        harbour = self.scene.world.nodes[0].row.hostname
        options = {"destination": [harbour], "reply": True, "timeout": PATIENCE, "limit": 1}
        assert "add consumer" in str(self.scene.world.app.control.add_consumer(self.queue, **options))

    def tell(self, number):
        self.node._process.send_signal(number)

    def dead_why(self):
        query = sa.select(nodes.c.dead_why).where(nodes.c.id == self.row.id)
        with self.scene.lifecycle.database.read() as connection:
            return connection.execute(query).scalar_one()

    def gone(self):
        """It has ended, and has said so itself; nothing of it is left."""
        self.node.wait()
        assert self.dead_why() == DOWN
        eventually("no process left", lambda: not set(self.pids) & set(self.scene.world.processes()))

    def leave(self, number=signal.SIGTERM):
        """Warm unless told otherwise, while another node takes over."""
        self.hand_over()
        self.tell(number)
        self.gone()


def cuts(scene, name):
    return [mark["by"] for mark in scene.marks(name, "cut")]


def whats(scene, name):
    """What a body wrote, without its ticks."""
    return [(mark["epoch"], mark["what"]) for mark in scene.marks(name) if mark["what"] != "tick"]


def interruption(scene, name):
    """Why and by whom it was cut off, each time."""
    changes = scene.lifecycle.history(scene.id(name))
    return [(change.why, change.by) for change in changes if change.to_status == "INTERRUPTED"]


def assert_free(scene, name, status="COMPLETED"):
    """It was interrupted once, ran again, and paid nothing for it."""
    row = scene.ended(name)
    assert (row.status, row.epoch, row.restart_count) == (status, 2, 0)
    assert [why for why, _ in interruption(scene, name)] == [DOWN]


def test_a_body_is_interrupted_cleans_up_and_runs_elsewhere(scene):
    ship = Ship(scene)
    ship.run(ship.plan("worker-1", seconds=0.5))
    ship.leave()
    assert_free(scene, "worker-1")
    assert scene.history("worker-1") == ONCE_MORE
    assert interruption(scene, "worker-1") == [(DOWN, ship.row.id)]
    assert cuts(scene, "worker-1") == ["ContainerInterrupted"]
    assert whats(scene, "worker-1") == [(1, "cut"), (1, "end"), (2, "again")]
    cut, again = scene.marks("worker-1", "cut")[0], scene.marks("worker-1", "again")[0]
    assert again["pid"] in scene.world.nodes[0].children()
    assert again["at"] - cut["at"] < 0.5 + 10, "within seconds, on a loaded machine"
    assert scene.world.app.AsyncResult(scene.id("worker-1")).get(timeout=10) == "again"


def test_what_a_body_answers_to_its_interrupt(scene):
    ship = Ship(scene)
    ship.run(*(ship.plan(each, then=each) for each in ("later", "finish", "return")))
    ship.leave()
    later = scene.ended("later")
    assert (later.status, later.epoch, later.state) == ("COMPLETED", 2, {"port": "north"})
    assert interruption(scene, "later") == []
    assert scene.marks("later", "again")[0]["state"] == {"port": "north"}
    finished = scene.ended("finish")
    assert (finished.status, finished.epoch, finished.result) == ("COMPLETED", 1, "half")
    assert finished.exit_message == "enough"
    assert_free(scene, "return")
    assert scene.ended("return").result == "again"


def test_shield_defers_and_what_does_not_listen_is_killed_after_its_own_grace(scene):
    ship = Ship(scene)
    ship.run(
        ship.plan("shielding", "SHIELDING", seconds=1.5),
        ship.plan("stubborn", "STUBBORN", grace=1),
        ship.plan("busy", "BLOCKING", seconds=3600.0, grace=STILL),
        ship.plan("coord-123", "COORDINATOR", grace=STILL),
    )
    ship.leave()
    assert_free(scene, "shielding")
    assert whats(scene, "shielding") == [(1, "shield over"), (2, "shield over"), (2, "after shield")]
    for name in ("stubborn", "busy", "coord-123"):
        eventually(f"{name} goes on", lambda name=name: scene.marks(name)[-1]["epoch"] == 2)
        assert (scene.get(name).restart_count, interruption(scene, name)) == (0, [(DOWN, ship.row.id)])
    killed = [line for line in ship.node.log_text().splitlines() if "killed, the node shuts down" in line]
    assert [scene.id("stubborn") in line for line in killed] == [True], "each within its own grace"


def test_children_of_an_interrupted_coordinator_are_stopped_elsewhere_and_spawned_again(scene):
    ship = Ship(scene)
    ship.run(ship.plan("coord-123", "ADMIRAL", count=2, queue_below="harbour"))
    eventually("its children at work", lambda: len(at_work(scene, "coord-123")) == 2)
    first = set(at_work(scene, "coord-123"))
    ship.leave()
    eventually("spawned again", lambda: len(set(at_work(scene, "coord-123")) - first) == 2)
    for each in first:
        row = scene.lifecycle.get(each)
        assert (row.status, row.exit_code, row.exit_message) == ("STOPPED", 143, "Superseded - parent restarted")
    spawned = scene.marks("coord-123", "spawned")
    assert [mark["epoch"] for mark in spawned] == [1, 2]
    assert spawned[1]["at"] > max(row.stopped_at.timestamp() for row in map(scene.lifecycle.get, first))
    assert (scene.get("coord-123").restart_count, scene.status("coord-123")) == (0, "RUNNING")


def at_work(scene, name):
    """Ids of its children that have ticked."""
    return [row.id for row in scene.lifecycle.children(scene.id(name)) if scene.world.marks().get(row.id)]


def test_sleepers_are_left_alone(scene):
    ship = Ship(scene, slots=1)
    ship.run(ship.plan("coord-123", "DROWSY", children=[scene.plan("worker-1", queue="harbour")]))
    sleeping = eventually("it sleeps", lambda: (row := scene.get("coord-123")).wake_at and row)
    eventually("its worker at work", lambda: scene.ticks("worker-1"))
    ship.leave()
    assert scene.get("coord-123") == sleeping
    assert scene.status("worker-1") == "RUNNING"


GREEDY = {"worker_disable_prefetch": False, "worker_prefetch_multiplier": 8}


@pytest.mark.parametrize(
    ("conf", "pool"), [({}, "prefork"), (GREEDY, "prefork"), (GREEDY, "threads")], ids=["waiting", "fetched", "threads"]
)
def test_messages_that_a_node_has_not_begun_run_elsewhere_once_each(scene, conf, pool):
    ship = Ship(scene, slots=1, conf=conf, pool=pool)
    ship.run(ship.plan("first", "PATIENT"))
    names = [f"worker-{each}" for each in range(5)]
    for name in names:
        scene.start(ship.plan(name, "ANSWER", value=name))
    if conf:
        eventually("all fetched", lambda: ship.node.log_text().count("pipelines.answer") >= len(names))
    ship.leave()
    assert_free(scene, "first")
    for name in names:
        row = scene.ended(name)
        assert (row.status, row.epoch, row.result, len(scene.ticks(name))) == ("COMPLETED", 1, name, 1)


def test_a_stop_beats_the_shutdown(scene):
    ship = Ship(scene)
    ship.run(ship.plan("worker-1", seconds=STILL))
    ship.hand_over()
    ship.tell(signal.SIGTERM)
    eventually("interrupted", lambda: cuts(scene, "worker-1"))
    assert scene.stop("worker-1", grace=STILL, reason="enough").stopped == ("worker-1",)
    ship.gone()
    assert scene.history("worker-1") == ["PENDING", "RUNNING", "STOPPING", "STOPPED"]
    assert whats(scene, "worker-1") == [(1, "cut")], "the stop reached its clean-up"
    assert scene.get("worker-1").stop_reason == "enough"


def test_a_cold_shutdown_does_not_wait_for_the_deadline_of_a_stop(scene):
    ship = Ship(scene, slots=1)
    ship.run(ship.plan("stubborn", "STUBBORN"))
    scene.stop("stubborn", grace=600, wait=False)
    ship.tell(signal.SIGQUIT)
    ship.gone()
    row = scene.get("stubborn")
    assert (row.status, row.exit_code, row.epoch) == ("STOPPED", 143, 1)


def test_a_pool_child_that_has_a_message_as_its_node_leaves_does_not_claim_it(scene):
    ship = Ship(scene, slots=1)
    (child,) = ship.node.children()
    os.kill(child, signal.SIGSTOP)
    scene.start(ship.plan("worker-1", "ANSWER", value=1))
    eventually("the child has it", lambda: f"answer[{scene.id('worker-1')}] received" in ship.node.log_text())
    ship.hand_over()
    ship.tell(signal.SIGTERM)
    eventually("it leaves", lambda: "Warm shutdown" in ship.node.log_text())
    os.kill(child, signal.SIGCONT)
    ship.gone()
    row = scene.ended("worker-1")
    assert (row.status, row.epoch, len(scene.ticks("worker-1"))) == ("COMPLETED", 1, 1)
    assert scene.ticks("worker-1")[0]["pid"] in scene.world.nodes[0].children()


def twice(ship):
    """Ctrl-C, and once more."""
    ship.tell(signal.SIGINT)
    eventually("the first one heard", lambda: "Hitting Ctrl+C again" in ship.node.log_text())
    ship.tell(signal.SIGINT)


def by_command(ship):
    """As when an error ends it: no signal has said so before."""
    ship.scene.world.app.control.broadcast("end_worker", destination=[ship.row.hostname])


COLD = {
    "QUIT": ({}, lambda ship: ship.tell(signal.SIGQUIT)),
    "INT twice": ({}, twice),
    "QUIT during TERM": ({}, lambda ship: (ship.tell(signal.SIGTERM), ship.tell(signal.SIGQUIT))),
    "REMAP_SIGTERM": ({"env": {"REMAP_SIGTERM": "SIGQUIT"}}, lambda ship: ship.tell(signal.SIGTERM)),
    "by command": ({}, by_command),
    "soft": ({"conf": {"worker_soft_shutdown_timeout": 2}}, lambda ship: ship.tell(signal.SIGQUIT)),
}


@pytest.mark.parametrize("way", COLD)
def test_every_cold_shutdown_ends_in_the_same_rows(scene, way):
    options, shut_down = COLD[way]
    ship = Ship(scene, slots=3, **options)
    ship.run(
        ship.plan("stubborn", "STUBBORN", grace=600),
        ship.plan("worker-1", seconds=0.5),
        ship.plan("shielding", "SHIELDING", seconds=1.0),
    )
    shut_down(ship)
    ship.gone()
    assert_interrupted(scene, ship, "stubborn", "worker-1")
    ship.hand_over()
    assert_free(scene, "worker-1")
    assert scene.world.app.AsyncResult(scene.id("worker-1")).get(timeout=10) == "again"
    eventually("stubborn goes on", lambda: scene.ticks("stubborn")[-1]["epoch"] == 2)
    if way == "soft":
        assert cuts(scene, "worker-1") == ["ContainerInterrupted"]
        assert whats(scene, "worker-1")[:2] == [(1, "cut"), (1, "end")], "as the soft time began, not at its end"
        assert (1, "shield over") in whats(scene, "shielding")


def assert_interrupted(scene, ship, *names):
    """Their rows say so, and Celery's results say nothing."""
    for name in names:
        row = scene.get(name)
        assert (row.node, row.epoch, row.restart_count) == (None, 1, 0)
        assert interruption(scene, name) == [(DOWN, ship.row.id)]
        assert scene.world.app.AsyncResult(row.id).state in {"PENDING", "STARTED"}, (
            "it says nothing: neither RETRY nor REVOKED"
        )


def test_a_shutdown_by_remote_control(scene):
    ship = Ship(scene, slots=2)
    ship.run(ship.plan("worker-1"), ship.plan("stubborn", "STUBBORN", grace=1))
    scene.world.app.control.shutdown(destination=[ship.row.hostname])
    ship.gone()
    assert_interrupted(scene, ship, "worker-1", "stubborn")
    assert cuts(scene, "worker-1") == ["ContainerInterrupted"]
    ship.hand_over()
    assert_free(scene, "worker-1")


def test_a_signal_to_all_of_a_node_ends_in_the_same_rows(scene):
    """As service managers send it, unless told otherwise: Celery's children exit by it, wherever they are."""
    ship = Ship(scene, slots=2)
    ship.run(ship.plan("worker-1", seconds=0.5), ship.plan("stubborn", "STUBBORN", grace=1))
    ship.hand_over()
    ship.node.signal_all(signal.SIGTERM)
    ship.gone()
    assert_free(scene, "worker-1")
    eventually("stubborn goes on", lambda: scene.ticks("stubborn")[-1]["epoch"] == 2)
    assert (scene.get("stubborn").restart_count, interruption(scene, "stubborn")) == (0, [(DOWN, ship.row.id)])


def test_a_hangup_is_a_node_that_leaves_and_another_that_joins(scene):
    ship = Ship(scene, slots=2, script=True)
    ship.run(ship.plan("worker-1"), ship.plan("stubborn", "STUBBORN", grace=1))
    ship.tell(signal.SIGHUP)
    assert_free(scene, "worker-1")
    assert ship.dead_why() == DOWN
    eventually("stubborn goes on", lambda: scene.ticks("stubborn")[-1]["epoch"] == 2)
    joined = ship.node.row
    assert (joined.id != ship.row.id, joined.pid) == (True, ship.node.pid)
    assert interruption(scene, "stubborn") == [(DOWN, ship.row.id)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT], ids=["TERM", "QUIT"])
@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_what_looks_leaves_a_pool_that_cannot_be_signalled(scene, pool, number):
    ship = Ship(scene, slots=1, pool=pool)
    ship.run(ship.plan("worker-1", "PATIENT"))
    ship.leave(number)
    assert_free(scene, "worker-1")
    assert cuts(scene, "worker-1") == ["ContainerInterrupted"]


LEGS = 15  # a tenth of a second each


def test_a_rolling_restart_of_three_nodes_under_load_loses_nothing_and_does_nothing_twice(scene):
    fleet, voyages = [Ship(scene, slots=2, queue=scene.id("fleet")) for _ in range(3)], []
    plan = fleet[0].plan
    fleet[0].run(plan("coord-123", "ADMIRAL", count=2, queue_below=fleet[0].queue, seconds=5.0))
    fleet[0].run(plan("endless", "ENDLESS"), plan("infinite", "COORDINATOR"))
    for turn, ship in enumerate(fleet):
        names = [f"voyage-{turn}-{each}" for each in range(10)]
        for name in names:
            scene.start(plan(name, "VOYAGE", legs=LEGS))
        voyages += names
        eventually("under load", lambda names=names: any(scene.marks(name, "leg") for name in names))
        replace(scene, ship, new_first=turn != 1)
    for name in voyages:
        row = scene.ended(name)
        assert (row.status, row.result, row.restart_count) == ("COMPLETED", LEGS, 0)
        assert [mark["leg"] for mark in scene.marks(name, "leg")] == list(range(LEGS))
    assert any(interruption(scene, name) for name in voyages), "else nothing was tested"
    assert_mustered(scene)
    assert scene.status("endless", "infinite") == ["RUNNING"] * 2
    assert interruption(scene, "infinite"), "it is on one of the three"
    assert scene.get("infinite").restart_count == 0
    for row in scene.rows():
        assert_one_at_a_time(scene.world.marks().get(row.id, []))


def replace(scene, ship, *, new_first):
    """As an operator would: one node goes for one that comes."""
    if new_first:
        Ship(scene, slots=2, queue=ship.queue)
    ship.tell(signal.SIGTERM)
    ship.gone()
    if not new_first:
        Ship(scene, slots=2, queue=ship.queue)


def assert_mustered(scene):
    """The last run of the coordinator has had all its children; those of runs that were cut off had ended before it."""
    row = scene.ended("coord-123")
    assert (row.status, row.restart_count) == ("COMPLETED", 0)
    *_, last = scene.marks("coord-123", "spawned")
    children = {child.id: child for child in scene.lifecycle.children(row.id)}
    assert {child.restart_count for child in children.values()} == {0}
    assert {children.pop(each).status for each in last["below"]} == {"COMPLETED"}
    for child in children.values():
        assert child.status in {"STOPPED", "COMPLETED"}
        assert child.stopped_at.timestamp() <= last["at"]


def assert_one_at_a_time(marks):
    """No run of a container has written anything once the next one had."""
    assert [mark["epoch"] for mark in marks] == sorted(mark["epoch"] for mark in marks)

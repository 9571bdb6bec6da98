"""A thousand coordinators that sleep, on two slots."""

import time
from collections import Counter

import pytest
import sqlalchemy as sa

from lifecycle.store.clock import now
from lifecycle.store.tables import containers
from tests.acceptance.conftest import CALM, played
from tests.acceptance.world import eventually

pytestmark = pytest.mark.acceptance

MANY = 1_000
WOKEN = 300
PATIENCE = 150.0  # seconds, for as many runs on a loaded machine


@pytest.fixture(scope="module")
def world(new_world):
    made = new_world(**CALM)
    made.start(slots=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def played_world(world):
    yield from played(world)


@pytest.fixture(scope="module")
def scene(played_world):
    """All of them asleep, below one that sleeps too."""
    scene = played_world
    fleet = scene.start(scene.plan("fleet", kind="DROWSY"))
    eventually("asleep", lambda: scene.get("fleet").wake_at)
    drowsy = scene.lifecycle.types()["DROWSY"]
    began = time.monotonic()
    made = drowsy.spawn_many([((), {})] * MANY, parent_container_id=fleet.id)
    print(f"{len(made)} spawned in {time.monotonic() - began:.2f} s")
    eventually("all asleep", lambda: asleep(scene) == MANY + 1, PATIENCE)
    print(f"all asleep after {time.monotonic() - began:.1f} s")
    return scene


def asleep(scene):
    """How many rows of the tree say so: RUNNING, on no node, with a time to wake."""
    c = containers.c
    sleeping = sa.and_(c.status == "RUNNING", c.node.is_(None), c.pid.is_(None), c.outcome.is_(None))
    query = sa.select(sa.func.count()).where(c.root_id == scene.id("fleet"), sleeping, c.wake_at > now())
    with scene.lifecycle.database.read() as connection:
        return connection.execute(query).scalar_one()


def runs(scene, made):
    """How often each body ran, by how many did."""
    marks = scene.world.marks()
    return Counter(len(marks.get(each.id, ())) for each in made)


def test_each_has_run_once(scene):
    made = scene.lifecycle.children(scene.id("fleet"))
    assert runs(scene, made) == {1: MANY}
    assert Counter((each.epoch, each.progress, each.dispatch_count) for each in made) == {(1, "0/1", 0): MANY}


def test_another_container_runs_at_once_beside_them(scene):
    """Both slots are free: two run side by side."""
    began = time.time()
    for name in ("worker-1", "worker-2"):
        scene.start(scene.plan(name))
    first = [
        eventually("at work", lambda name=name: scene.ticks(name))[0]["at"] - began for name in ("worker-1", "worker-2")
    ]
    print(f"at work after {max(first):.2f} s")
    assert max(first) < 3
    assert scene.status("worker-1", "worker-2") == ["RUNNING"] * 2
    for name in ("worker-1", "worker-2"):
        scene.stop(name)


def test_one_that_sleeps_is_stopped_at_once(scene):
    before = asleep(scene)
    one, *_ = scene.lifecycle.children(scene.id("fleet"), status="RUNNING")
    began = time.monotonic()
    report = scene.lifecycle.stop(one.id)
    took = time.monotonic() - began
    print(f"one stopped in {took * 1000:.0f} ms")
    row = one.refresh()
    assert (report.stopped, row.status, row.exit_code, row.wake_at) == ((one.id,), "STOPPED", 143, None)
    assert took < 1
    assert asleep(scene) == before - 1


def test_those_that_wake_at_one_instant_run_once_more_each(scene):
    made = scene.lifecycle.children(scene.id("fleet"), status="RUNNING")
    woken, others = made[:WOKEN], made[WOKEN:]
    before = asleep(scene)
    began = time.monotonic()
    with scene.lifecycle.database.begin() as connection:
        update = containers.update().where(containers.c.id.in_([each.id for each in woken]))
        connection.execute(update.values(wake_at=now()))
    eventually("they have run", lambda: runs(scene, woken) == {2: WOKEN}, PATIENCE)
    eventually("all asleep again", lambda: asleep(scene) == before, PATIENCE)
    print(f"{WOKEN} woken, run and asleep again after {time.monotonic() - began:.1f} s")
    rows = {each.id: each for each in scene.lifecycle.children(scene.id("fleet"), status="RUNNING")}
    assert Counter(rows[each.id].epoch for each in woken) == {2: WOKEN}
    assert Counter(rows[each.id].epoch for each in others) == {1: len(others)}
    assert (runs(scene, woken), runs(scene, others)) == ({2: WOKEN}, {1: len(others)})


def test_all_that_sleep_are_stopped_at_once(scene):
    made = scene.lifecycle.children(scene.id("fleet"), status="RUNNING")
    before = runs(scene, made)
    began = time.monotonic()
    report = scene.stop("fleet")
    took = time.monotonic() - began
    print(f"{len(report.stopped)} stopped in {took:.2f} s")
    assert (len(report.stopped), report.order[-1], report.ok) == (len(made) + 1, "fleet", True)
    assert took < 10
    assert Counter(each.refresh().status for each in made) == {"STOPPED": len(made)}
    assert runs(scene, made) == before

"""Periodic passes on real nodes: without beat and without a free slot, with two beats, with one inside a worker."""

import os
import signal
import subprocess
from contextlib import contextmanager
from itertools import pairwise

import pytest
import sqlalchemy as sa

from lifecycle.store import passes
from lifecycle.store.clock import now
from lifecycle.store.tables import passes as table
from tests.acceptance.scene import Scene
from tests.acceptance.world import HERE, die_with_tests, eventually

pytestmark = pytest.mark.acceptance
PERIOD = 8.0  # seconds; a real one is five minutes
SHORT = 4.0
NAMES = ("sweep", "recover", "prune")
SENT = "Sending due task lifecycle.sweep"


@pytest.fixture
def make_scene(new_world):
    made = []

    def make(every, **options):
        world = new_world(grace=5, **{f"{name}_every": every for name in NAMES})
        world.start(**options)
        made.append(Scene(world))
        return made[-1]

    yield make
    for scene in made:
        scene.clear()
        scene.check()
        scene.world.close()


@contextmanager
def celery(world, name, *words):
    """One more Celery process, by its log."""
    log = world.folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            world.celery(*words, "--schedule", world.folder / name, "-l", "INFO"),
            cwd=HERE,
            env=world.env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_tests,  # noqa: PLW1509 - one libc call
        )
    try:
        yield log
    finally:
        process.kill() if words[0] == "beat" else os.kill(process.pid, signal.SIGTERM)
        process.wait(30)


def beat(world, name):
    return celery(world, name, "beat", "--pidfile=")


def begun(scene):
    """When each pass began last."""
    with scene.lifecycle.database.read() as connection:
        return dict(connection.execute(sa.select(table.c.name, table.c.begun_at)).all())


def begin_now(scene, name):
    """As whoever runs it next would; when that was."""
    with scene.lifecycle.database.begin() as connection:
        assert passes.begin(connection, name, by="test", at_most_every=0)
        return connection.execute(sa.select(now())).scalar_one()


def test_with_all_slots_busy_and_beat_killed_an_orphan_is_ended_within_two_periods(make_scene):
    scene = make_scene(PERIOD, slots=2)
    scene.start(scene.plan("boss", scene.plan("orphan"), seconds=0))
    eventually("orphan alone at work", lambda: scene.ticks("orphan") and scene.found("boss").outcome)
    scene.run(scene.plan("busy", kind="WORKER"))
    with beat(scene.world, "beat") as log:
        eventually("a message waits for a slot", lambda: SENT in log.read_text())
    scene.edit("boss", status="STOPPED")
    since = begin_now(scene, "sweep")  # at worst, one has just looked
    orphan = scene.ended("orphan")
    assert (orphan.status, orphan.exit_code, orphan.exit_message) == (
        "STOPPED",
        143,
        "Orphaned worker - parent stopped",
    )
    assert (orphan.stopped_at - since).total_seconds() < 2 * PERIOD
    assert scene.status("busy") == "RUNNING"
    with scene.lifecycle.database.read() as connection:
        ran_by = connection.execute(sa.select(table.c.ran_by).where(table.c.name == "sweep")).scalar_one()
    assert ran_by == scene.world.nodes[0].row.id


def test_two_beats_run_everything_once_a_period(make_scene):
    scene = make_scene(SHORT, slots=2)
    with beat(scene.world, "one") as one, beat(scene.world, "two") as two:
        eventually("both send", lambda: SENT in one.read_text() and SENT in two.read_text())
        began = watch(scene, times=5)
        sent = one.read_text().count(SENT) + two.read_text().count(SENT)
        said = [log.read_text() for log in (one, two)]
    for name, times in began.items():
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
        assert min(gaps) > SHORT / 2, name
        assert sum(gaps) / len(gaps) > 0.8 * SHORT, name
        assert sum(gaps) / len(gaps) < 1.5 * SHORT, name
    assert sent > len(began["sweep"]), "two beats send more often than a pass begins"
    for text in [*said, scene.world.log()]:
        assert "Traceback" not in text
        assert "ERROR" not in text


def watch(scene, times):
    """Each beginning of each pass, until all have begun so often."""
    seen = {name: [] for name in NAMES}

    def enough():
        for name, at in begun(scene).items():
            if at not in seen[name]:
                seen[name].append(at)
        return min(map(len, seen.values())) >= times

    eventually("all passes began often enough", enough)
    return seen


def test_beat_inside_a_worker_sends_them_and_its_slots_run_them(make_scene):
    scene = make_scene(SHORT, slots=1, queues="elsewhere")
    words = ("worker", "-B", "-c", "1", "-n", "embedding@%h", "--without-gossip", "--without-mingle")
    with celery(scene.world, "embedding", *words) as log:
        for name in NAMES:
            ran = f"Task lifecycle.{name}["
            eventually(f"{name} ran", lambda ran=ran: any(ran in line and "succeeded" in line for line in lines(log)))
        assert "Traceback" not in log.read_text()


def lines(log):
    return log.read_text().splitlines()

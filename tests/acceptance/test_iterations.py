"""Bodies that go on later, finish early, and keep a state between their runs."""

import os
import signal
from itertools import pairwise

import pytest

from tests.acceptance.scene import eventually

pytestmark = pytest.mark.acceptance

LATER = 0.2  # seconds; the dispatcher looks once a second
CLOCK = 0.005  # seconds: a body reads its time a moment after its row did


# later


def test_a_body_goes_on_later_with_what_it_said_before(scene):
    container = scene.start(scene.plan("worker-1", kind="GOING_ON_LATER", times=3))
    row = scene.ended("worker-1")
    assert (row.status, row.progress, row.epoch) == ("COMPLETED", "1/1", 4)
    said = [{}, {"n": 1, "after-0": 1}, {"n": 2, "after-0": 1, "after-1": 2}]
    said.append({**said[-1], "n": 3, "after-2": 3})
    runs = scene.ticks("worker-1")
    assert [(mark["epoch"], mark["state"]) for mark in runs] == list(enumerate(said, start=1))
    assert [mark["progress"] for mark in runs] == ["0/1"] * 4
    assert [later["at"] - earlier["at"] >= LATER - CLOCK for earlier, later in pairwise(runs)] == [True] * 3
    assert scene.history("worker-1") == ["PENDING", "RUNNING", "COMPLETED"]
    assert scene.world.app.AsyncResult(container.id).get(timeout=10) == row.state == said[-1]


@pytest.mark.parametrize("said_as", ["timedelta", "datetime"])
def test_a_body_says_in_its_own_words_when_it_goes_on(scene, said_as):
    scene.start(scene.plan("worker-1", kind="GOING_ON_LATER", times=1, seconds=0.5, said_as=said_as))
    assert scene.ended("worker-1").status == "COMPLETED"
    first, second = (mark["at"] for mark in scene.ticks("worker-1"))
    assert second - first >= 0.5 - CLOCK


def test_between_its_runs_no_node_has_it(scene):
    scene.start(scene.plan("worker-1", kind="GOING_ON_LATER", times=1, seconds=3600))
    row = eventually("asleep", lambda: (row := scene.get("worker-1")).wake_at and row)
    assert (row.status, row.node, row.pid, row.outcome, row.progress) == ("RUNNING", None, None, None, "0/1")
    assert 3590 < (row.wake_at - row.started_at).total_seconds() < 3610
    assert row.activity.startswith("sleeping until ")


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("negative", "when is a number of seconds from 0 to 1,000,000,000, not -1"),
        ("naive", "a time must be timezone-aware"),
        ("no JSON", "a container's state must be JSON: Object of type object"),
        ("NaN", "a container's state must be JSON: Out of range float"),
        ("no text", "a message is text, not 42"),
    ],
)
def test_what_cannot_be_meant_fails_the_body_and_says_why(scene, how, named):
    scene.start(scene.plan("worker-1", kind="MISTAKEN", how=how))
    row = scene.ended("worker-1")
    assert (row.status, row.exit_code, row.progress, row.state) == ("FAILED", 1, "0/1", {})
    assert row.exit_message.startswith(f"InvalidArgument: {named}")


# finish, and what counts as an iteration


def test_an_infinite_body_finishes(scene):
    container = scene.start(scene.plan("worker-1", kind="SCRIPTED_ENDLESS", script=["return", "return", "finish"]))
    row = scene.ended("worker-1")
    assert (row.status, row.exit_code, row.exit_message, row.progress) == ("COMPLETED", 0, "enough", "3/∞")
    assert row.result == {"runs": 3} == scene.world.app.AsyncResult(container.id).get(timeout=10)


@pytest.mark.parametrize(
    ("script", "status", "counts"),
    [
        (["later", "later", "return"], "COMPLETED", ["0/1", "0/1", "0/1", "1/1"]),
        (["later", "fail"], "FAILED", ["0/1", "0/1", "0/1"]),
        (["return", "fail"], "FAILED", ["0/3", "1/3", "1/3"]),
        (["return", "later", "finish"], "COMPLETED", ["0/3", "1/3", "1/3", "2/3"]),
        (["return", "return", "fail"], "FAILED", ["0/∞", "1/∞", "2/∞", "2/∞"]),
    ],
)
def test_only_a_run_that_is_done_counts(scene, script, status, counts):
    """What the row says at the beginning of each run, and at the end."""
    kind = {"1": "SCRIPTED", "3": "SCRIPTED_THRICE", "∞": "SCRIPTED_ENDLESS"}[counts[0][-1]]
    scene.start(scene.plan("worker-1", kind=kind, script=script))
    row = scene.ended("worker-1")
    assert row.status == status
    assert [*(mark["progress"] for mark in scene.ticks("worker-1")), row.progress] == counts


def test_an_endless_container_has_three_iterations_once_the_third_is_done(scene):
    scene.start(scene.plan("worker-1", kind="SCRIPTED_ENDLESS", script=["return"] * 1000))
    row = eventually(
        "asleep after its third", lambda: (row := scene.get("worker-1")).epoch == 3 and row.wake_at and row
    )
    assert row.progress == "3/∞"
    assert [mark["progress"] for mark in scene.ticks("worker-1")[:3]] == ["0/∞", "1/∞", "2/∞"]


# Children of one that sleeps


def test_a_coordinator_sleeps_until_its_workers_are_done(scene):
    gate = scene.world.folder / scene.id("gate")
    kids = (
        scene.plan("worker-1", until=str(gate)),
        scene.plan("worker-2", kind="FAILING"),
        scene.plan("worker-3", seconds=1),
    )
    scene.start(scene.plan("coord-123", *kids, kind="WATCHFUL"))
    scene.becomes("worker-3", "COMPLETED")
    asleep = eventually("asleep", lambda: (row := scene.get("coord-123")).wake_at and row)
    assert (asleep.status, asleep.node) == ("RUNNING", None)
    eventually("it sees one run", lambda: scene.ticks("coord-123")[-1]["running"] == [scene.id("worker-1")])
    gate.touch()
    row = scene.ended("coord-123")
    ended = {"worker-1": "COMPLETED", "worker-2": "FAILED", "worker-3": "COMPLETED"}
    assert (row.status, row.progress) == ("COMPLETED", "1/1")
    assert row.result == {scene.id(name): status for name, status in ended.items()}
    assert len(scene.rows()) == 4, "it spawned them once"


def test_a_coordinator_that_sleeps_is_stopped_after_its_workers(scene):
    kids = scene.plan("worker-1"), scene.plan("worker-2", kind="CLEANING", seconds=0.5)
    scene.run(scene.plan("coord-123", *kids, kind="DROWSY"))
    eventually("asleep", lambda: scene.get("coord-123").wake_at)
    report = scene.stop("coord-123")
    assert report.order == report.stopped == ("worker-1", "worker-2", "coord-123")
    row, *workers = (scene.get(name) for name in ("coord-123", "worker-1", "worker-2"))
    assert (row.status, row.exit_message, row.epoch, row.wake_at) == ("STOPPED", "Stopped by user", 1, None)
    assert row.stopped_at >= max(worker.stopped_at for worker in workers)
    assert scene.marks("worker-2", "clean")[0]["at"] <= row.stopped_at.timestamp() + 0.01
    assert len(scene.ticks("coord-123")) == 1


# State


def test_a_state_is_kept_at_once_and_outlives_its_process(scene):
    scene.run(scene.plan("worker-1", kind="TURNING_PAGES"))
    row = scene.get("worker-1")
    assert (row.state, row.status, row.progress) == ({"page": 7}, "RUNNING", "0/1")
    os.kill(row.pid, signal.SIGKILL)
    assert scene.becomes("worker-1", "INTERRUPTED").state == {"page": 7}


def test_a_stop_is_raised_where_a_body_says_its_state(scene, threads_node):
    scene.run(scene.plan("worker-1", kind="TURNING_PAGES", pages=72_000, queue="threads"))
    scene.stop("worker-1", grace=30)
    row, pages = scene.get("worker-1"), [mark["page"] for mark in scene.ticks("worker-1")]
    assert (row.status, len(scene.marks("worker-1", "stopped"))) == ("STOPPED", 1)
    assert pages == list(range(7, 7 + len(pages)))
    assert row.state["page"] - pages[-1] in {0, 1}

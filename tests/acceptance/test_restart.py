"""Errors after which a container runs again: `restart_on` and `self.retry()`, as rows, Celery and operators tell it."""

import os
import re
import signal
from itertools import pairwise

import pytest
from celery import chain
from celery.exceptions import TaskRevokedError

from tests.acceptance.truth import goes_on
from tests.acceptance.world import eventually

pytestmark = pytest.mark.acceptance

BACKOFF = 0.5, 3000.0  # seconds; what waits for its second restart waits until a test lets it go on
CLOCK = 0.005  # seconds: a body reads its time a moment after its row did
SUPERSEDED = "Superseded - parent restarted"


@pytest.fixture(scope="module")
def world(new_world):
    world = new_world(heartbeat=1, lease=10, grace=5, restart_backoff=",".join(map(str, BACKOFF)))
    world.start(slots=4)
    yield world
    world.close()


def waits(scene, name, attempt):
    """The row once it waits for this try, and Celery has been told."""
    row = eventually(
        f"{name} waits for {attempt}", lambda: row if (row := scene.get(name)).attempt == attempt else None
    )
    assert row.status == "INTERRUPTED"
    eventually("Celery says RETRY", lambda: result(scene, name).state == "RETRY")
    return row


def hurry(scene, name):
    """Its time has come."""
    scene.edit(name, wake_at=None)


def result(scene, name):
    return scene.world.app.AsyncResult(scene.id(name))


# restart_on


def test_an_error_to_restart_on_costs_a_restart_and_its_end_is_told_once(scene):
    scene.start(scene.plan("worker-1", kind="RECONNECTING", fails=2, resources=["ship:9"]))
    row = waits(scene, "worker-1", "restart 2/2")
    assert (row.exit_message, row.restart_count, row.epoch) == ("ConnectionRefusedError: no answer", 2, 2)
    assert scene.lifecycle.holdings(scene.id("worker-1"))
    hurry(scene, "worker-1")
    row = scene.ended("worker-1")
    assert (row.status, row.result, row.exit_message, row.attempt) == ("COMPLETED", 3, None, None)
    first, second = (mark["at"] for mark in scene.ticks("worker-1")[:2])
    assert second - first >= BACKOFF[0] - CLOCK
    assert scene.history("worker-1") == ["PENDING", *["RUNNING", "INTERRUPTED", "PENDING"] * 2, "RUNNING", "COMPLETED"]
    assert (result(scene, "worker-1").get(timeout=10), result(scene, "worker-1").state) == (3, "SUCCESS")


def test_who_waits_for_a_restart_is_shown_with_it(scene):
    scene.start(scene.plan("worker-1", kind="RECONNECTING", fails=3))
    waits(scene, "worker-1", "restart 2/2")
    for arguments in (["list", "--wide"], ["get", scene.id("worker-1")], ["recover", "--dry-run"]):
        said = scene.world.command(*arguments).stdout
        assert re.search(r"restart 2/2 in (3000|29\d\d) s", said), said
        assert "ConnectionRefusedError: no answer" in said


def test_an_error_to_restart_on_fails_its_container_once_its_restarts_are_spent(scene):
    scene.start(scene.plan("worker-1", kind="RECONNECTING", fails=9))
    waits(scene, "worker-1", "restart 2/2")
    hurry(scene, "worker-1")
    row = scene.ended("worker-1")
    assert (row.status, row.exit_code, row.epoch) == ("FAILED", 1, 3)
    assert row.exit_message == "ConnectionRefusedError: no answer, after 2 restarts"
    assert len(scene.ticks("worker-1")) == 3
    with pytest.raises(ConnectionRefusedError, match="no answer"):
        result(scene, "worker-1").get(timeout=10)
    assert result(scene, "worker-1").state == "FAILURE"


def test_every_other_error_fails_at_once(scene):
    scene.start(scene.plan("worker-1", kind="RECONNECTING", fails=1, error="value"))
    row = scene.ended("worker-1")
    assert (row.status, row.exit_message, row.epoch, row.restart_count) == ("FAILED", "ValueError: no answer", 1, 0)
    with pytest.raises(ValueError, match="no answer"):
        result(scene, "worker-1").get(timeout=10)


def test_children_of_the_run_that_failed_are_stopped_before_the_next(scene):
    scene.start(scene.plan("coord-123", dict(scene.plan("worker-1")), kind="RECONNECTING", fails=1))
    eventually("its second run", lambda: len(scene.ticks("coord-123")) == 2 or scene.get("coord-123").is_ended)
    worker = scene.get("worker-1")
    assert (worker.status, worker.exit_message) == ("STOPPED", SUPERSEDED)
    assert worker.stopped_at.timestamp() <= scene.ticks("coord-123")[1]["at"] + 0.01


def test_what_waits_for_its_restart_is_stopped_at_once_and_for_good(scene):
    scene.start(scene.plan("worker-1", kind="RECONNECTING", fails=9))
    waits(scene, "worker-1", "restart 2/2")
    report = scene.stop("worker-1")
    assert report.stopped == ("worker-1",)
    assert (scene.status("worker-1"), scene.get("worker-1").exit_message) == ("STOPPED", "Stopped by user")
    with pytest.raises(TaskRevokedError):
        result(scene, "worker-1").get(timeout=10)
    assert len(scene.ticks("worker-1")) == 2


# Retries of Celery's own


def test_a_retry_waits_its_countdown_with_its_own_message_and_costs_no_restart(scene):
    scene.start(scene.plan("worker-1", kind="ASKING_AGAIN", fails=2))
    row = scene.ended("worker-1")
    assert (row.status, row.result, row.epoch, row.restart_count) == ("COMPLETED", 2, 3, 0)
    ticks = scene.marks("worker-1", "asked")
    assert [(mark["retries"], mark["said"]) for mark in ticks] == [(0, ""), (1, "0"), (2, "01")]
    assert [later["at"] - earlier["at"] >= 0.5 - CLOCK for earlier, later in pairwise(ticks)] == [True] * 2
    assert len(scene.rows()) == 1
    assert (result(scene, "worker-1").get(timeout=10), result(scene, "worker-1").state) == (2, "SUCCESS")
    whys = [change.why for change in scene.lifecycle.history(row.id) if change.to_status == "INTERRUPTED"]
    assert whys == ["ConnectionRefusedError: no answer"] * 2


def test_a_retry_that_waits_is_shown_and_holds_no_slot(scene):
    scene.start(scene.plan("worker-1", kind="ASKING_AGAIN", fails=1, countdown=300))
    row = waits(scene, "worker-1", "retry 1/2")
    assert (row.node, row.pid, row.restart_count) == (None, None, 0)
    assert row.exit_message == "ConnectionRefusedError: no answer"
    for said in (row.activity, scene.world.command("list", "--wide").stdout):
        assert re.search(r"retry 1/2 in (300|2\d\d) s", said), said
    hurry(scene, "worker-1")
    assert scene.ended("worker-1").status == "COMPLETED"
    assert result(scene, "worker-1").get(timeout=10) == 1


def test_a_retry_too_many_fails_with_its_error(scene):
    scene.start(scene.plan("worker-1", kind="ASKING_AGAIN", fails=9, countdown=0))
    row = scene.ended("worker-1")
    assert (row.status, row.exit_message, row.epoch) == ("FAILED", "ConnectionRefusedError: no answer", 3)
    with pytest.raises(ConnectionRefusedError, match="no answer"):
        result(scene, "worker-1").get(timeout=10)
    assert result(scene, "worker-1").state == "FAILURE"


def test_what_waits_for_its_retry_is_stopped_at_once_and_for_good(scene):
    scene.start(scene.plan("worker-1", kind="ASKING_AGAIN", fails=9, countdown=300))
    waits(scene, "worker-1", "retry 1/2")
    assert scene.stop("worker-1").stopped == ("worker-1",)
    with pytest.raises(TaskRevokedError):
        result(scene, "worker-1").get(timeout=10)
    assert len(scene.marks("worker-1", "asked")) == 1


def test_a_chain_goes_on_after_the_last_try_only(scene):
    pipelines = scene.world.pipelines
    first = pipelines.asking_again.s(1, 1.5).set(task_id=scene.id("first"))
    last = chain(first, pipelines.chained.s().set(task_id=scene.id("last"))).apply_async()
    waits(scene, "first", "retry 1/2")
    assert scene.found("last") is None
    assert last.get(timeout=30) == 2
    assert scene.ended("last").status == "COMPLETED"
    assert len(scene.ticks("last")) == 1


def test_a_try_that_is_lost_is_tried_again_as_the_same_try(scene):
    """The row keeps the message of its retry, and the restart is charged beside it."""
    scene.start(scene.plan("worker-1", kind="ASKING_AGAIN", fails=1, countdown=0, seconds=3600))
    goes_on(scene, "worker-1", 2)
    os.kill(scene.get("worker-1").pid, signal.SIGKILL)
    goes_on(scene, "worker-1", 3)
    assert [(mark["retries"], mark["said"]) for mark in scene.marks("worker-1", "asked")] == [
        (0, ""),
        (1, "0"),
        (1, "0"),
    ]
    assert scene.get("worker-1").restart_count == 1


# Settings


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lease", "1.9", "two heartbeats of 1.0 s do not fit in a lease of 1.9 s less its margin of 0.19 s"),
        ("grace", "-1", "lifecycle_grace cannot be negative: -1.0"),
        ("max_restarts", "2.5", "lifecycle_max_restarts must be a whole number, not '2.5'"),
    ],
)
def test_impossible_settings_stop_a_node_with_one_line(world, name, value, said):
    failed = world.failing_start(**{f"LIFECYCLE_{name.upper()}": value})
    assert failed.returncode == 1
    lines = (failed.stdout + failed.stderr).strip().splitlines()
    assert (len(lines), said in lines[0]) == (1, True), lines

"""Stopping a tree on real nodes, by the scenarios and edge cases that the feature was asked for with."""

import logging
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from celery.exceptions import TaskRevokedError

from tests.acceptance.scene import eventually

pytestmark = pytest.mark.acceptance

CASCADE = "Stopped via cascade (parent container stopped)"


def test_stop_coordinator_stops_all_workers(scene):
    scene.run(scene.plan("coord-123", scene.plan("worker-1"), scene.plan("worker-2")))
    report = scene.stop("coord-123", reason="cargo is full")
    assert report.order == ("worker-1", "worker-2", "coord-123")
    assert set(report.stopped) == set(report.order)
    assert (report.failed, report.pending, report.notes) == ({}, (), ())
    assert scene.status("coord-123", "worker-1", "worker-2") == ["STOPPED"] * 3
    assert [scene.get(name).exit_message for name in report.order] == [CASCADE, CASCADE, "Stopped by user"]
    for name in report.order:
        row = scene.get(name)
        assert (row.exit_code, row.stop_reason, row.node, row.pid) == (143, "cargo is full", None, None)
        assert [mark["what"] for mark in scene.marks(name)][-1] == "end"


def test_stop_coordinator_with_nested_children_depth_first(scene):
    workers = scene.plan("worker-1"), scene.plan("worker-2")
    scene.run(scene.plan("coord-123", scene.plan("sub-coord-456", *workers)))
    report = scene.stop("coord-123")
    assert report.order == ("worker-1", "worker-2", "sub-coord-456", "coord-123")
    assert scene.status(*report.order) == ["STOPPED"] * 4
    ends = [scene.marks(name, "end")[0]["at"] for name in report.order]
    assert max(ends[:2]) < ends[2] < ends[3], "a parent's body ended before its child's"
    stopped_at = [scene.get(name).stopped_at for name in report.order]
    assert max(stopped_at[:2]) <= stopped_at[2] <= stopped_at[3]


def test_stop_already_stopped_coordinator_is_idempotent(scene, caplog):
    scene.run(scene.plan("coord-123", scene.plan("worker-1", detach=True)))
    first = scene.stop("coord-123")
    stopped = scene.get("coord-123")
    with caplog.at_level(logging.DEBUG, logger="lifecycle"):
        again = scene.stop("coord-123")
    assert (first.stopped, again.stopped, again.failed) == (("coord-123",), (), {})
    assert "coord-123" in again.already_ended
    assert scene.get("coord-123") == stopped
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_stop_of_a_stopped_coordinator_stops_its_running_worker(scene):
    """The row of the coordinator was ended by hand, its worker runs on."""
    scene.run(scene.plan("coord-123", scene.plan("worker-1")))
    pid = scene.get("coord-123").pid
    scene.allows_strays = True
    scene.edit("coord-123", status="STOPPED")
    report = scene.stop("coord-123")
    assert report.stopped == ("worker-1",)
    assert scene.get("worker-1").exit_message == CASCADE
    eventually("the process that its row does not know any more is gone", lambda: not Path(f"/proc/{pid}").exists())


def test_stop_coordinator_with_mix_of_running_and_completed_children(scene, caplog):
    kids = (
        scene.plan("worker-1", kind="ANSWER", value=1),
        scene.plan("worker-2"),
        scene.plan("worker-3", kind="FAILING"),
    )
    scene.start(scene.plan("coord-123", *kids))
    scene.becomes("worker-1", "COMPLETED")
    scene.becomes("worker-3", "FAILED")
    eventually("worker-2 at work", lambda: scene.ticks("worker-2"))
    report = scene.stop("coord-123")
    assert report.order == ("worker-2", "coord-123")
    assert sorted(report.already_ended) == ["worker-1", "worker-3"]
    assert scene.status("coord-123", "worker-1", "worker-2", "worker-3") == [
        "STOPPED",
        "COMPLETED",
        "STOPPED",
        "FAILED",
    ]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_stop_continues_despite_a_child_that_fails_to_stop(scene, threads_node, caplog, tmp_path):
    release = tmp_path / "release"
    deaf = scene.plan("worker-2", queue="threads", grace=1, until=str(release))
    scene.run(scene.plan("coord-123", scene.plan("worker-1"), deaf, scene.plan("worker-3"), grace=1))
    report = scene.stop("coord-123")
    assert report.order == ("worker-1", "worker-2", "worker-3", "coord-123")
    assert set(report.stopped) == {"worker-1", "worker-3", "coord-123"}
    assert list(report.failed) == ["worker-2"]
    assert "nothing can be killed" in report.failed["worker-2"]
    assert not report.ok
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert scene.id("worker-2") in warnings[0].getMessage()
    assert scene.status("coord-123", "worker-1", "worker-2", "worker-3") == [
        "STOPPED",
        "STOPPED",
        "STOPPING",
        "STOPPED",
    ]
    row = scene.get("worker-2")
    assert row.stop_error == report.failed["worker-2"]
    before = len(scene.ticks("worker-2"))
    eventually("worker-2 ticks on, as its row says", lambda: len(scene.ticks("worker-2")) > before)
    typed = scene.world.command("stop", scene.id("coord-123"), "--grace", "1")
    assert typed.returncode == 1, typed.stdout + typed.stderr
    assert "worker-2" in typed.stdout
    release.touch()
    assert scene.ended("worker-2").status == "COMPLETED", "it ended by itself, no stop was ever raised in it"


def test_a_stubborn_child_is_killed_at_its_deadline_and_never_stopped_while_it_ticks(scene):
    scene.run(scene.plan("coord-123", scene.plan("worker-1", kind="STUBBORN"), scene.plan("worker-2")))
    began = time.time()
    report = scene.stop("coord-123", grace=2)
    assert set(report.stopped) == {"worker-1", "worker-2", "coord-123"}
    last = scene.ticks("worker-1")[-1]["at"]
    row = scene.get("worker-1")
    assert last - began > 1.5, "it was killed before its deadline"
    assert last <= row.stopped_at.timestamp() + 0.01
    assert (row.exit_code, row.exit_message) == (143, CASCADE)
    assert scene.get("worker-2").stopped_at.timestamp() - began < 1.5
    assert f"killed at its deadline container={row.id}" in scene.world.log()


def test_a_killed_root_says_stopped_by_user(scene):
    scene.run(scene.plan("coord-123", kind="STUBBORN"))
    assert scene.stop("coord-123", force=True).stopped == ("coord-123",)
    assert scene.get("coord-123").exit_message == "Stopped by user"


def test_orphaned_worker_cleanup(scene):
    """Not in any node's memory, but its row says RUNNING under an ended parent."""
    scene.run(scene.plan("coord-123", scene.plan("worker-1")))
    scene.stop("coord-123")
    scene.edit("worker-1", status="RUNNING", stop_message=None, exit_message=None, exit_code=None, stopped_at=None)
    scene.stop("coord-123")
    row = scene.get("worker-1")
    assert (row.status, row.exit_code, row.exit_message) == ("STOPPED", 143, CASCADE)


def test_an_orphan_whose_row_names_a_node_that_does_not_run_it(scene):
    scene.run(scene.plan("coord-123", scene.plan("worker-1")))
    held = scene.get("worker-1")
    scene.stop("coord-123")
    scene.edit("worker-1", status="RUNNING", outcome=None, node=held.node, pid=held.pid, pid_started=held.pid_started)
    report = scene.stop("coord-123")
    assert report.stopped == ("worker-1",)
    assert (scene.get("worker-1").exit_code, scene.get("worker-1").exit_message) == (143, CASCADE)


def test_five_levels_with_a_stubborn_child_on_each_end_within_seven_seconds(scene, record_property):
    plan = scene.plan("level-5", scene.plan("stubborn-5", kind="STUBBORN"))
    for level in range(4, 0, -1):
        plan = scene.plan(f"level-{level}", plan, scene.plan(f"stubborn-{level}", kind="STUBBORN"))
    scene.run(plan)
    began = time.monotonic()
    report = scene.stop("level-1", grace=2)
    took = time.monotonic() - began
    record_property("seconds", took)
    print(f"five levels: {took:.1f} s")
    assert len(report.stopped) == 10
    assert report.order[-1] == "level-1"
    assert took < 7 + 1, "grace 2 s, five more, and one for a loaded machine"


def test_a_stop_meets_a_run_while_it_claims_or_leaves(scene):
    """The seed's worker of 14 ms: many short ones, each third stopped 0 to 24 ms after its spawn."""
    done = []
    for n in range(500):
        root = scene.start(scene.plan(f"quick-{n}", kind="QUICK"))
        if n % 3 == 0:
            time.sleep(n % 25 / 1_000)
            done.append(scene.stop(scene.name(root.id), force=n % 2 == 1))
    eventually("all 500 over", lambda: all(row.is_ended for row in scene.rows()))
    rows, stopped = {row.id: row.status for row in scene.rows()}, {each for report in done for each in report.stopped}
    assert len(rows) == 500
    assert {scene.name(each) for each, status in rows.items() if status == "STOPPED"} == stopped
    assert {rows[scene.id(report.root)] for report in done} == {"COMPLETED", "STOPPED"}, "no stop met a run"
    assert set(rows.values()) == {"COMPLETED", "STOPPED"}
    assert not [report for report in done if report.failed]


def test_a_worker_that_ended_just_before_stays_completed(scene):
    started = scene.start(scene.plan("worker-1", kind="ANSWER", value="sold"))
    ended = scene.ended("worker-1")
    report = scene.stop("worker-1")
    assert (report.stopped, report.already_ended) == ((), ("worker-1",))
    assert scene.get("worker-1") == ended
    assert (ended.status, ended.exit_code, ended.result) == ("COMPLETED", 0, "sold")
    assert scene.world.app.AsyncResult(started.id).get(timeout=10) == "sold"


def test_stop_of_oneself_raises_in_the_body(scene):
    scene.start(scene.plan("coord-123", scene.plan("worker-1"), kind="STOPPING_SELF"))
    row = scene.ended("coord-123")
    assert (row.status, row.exit_code, row.stop_reason) == ("STOPPED", 143, "enough")
    assert scene.status("worker-1") == "STOPPED"
    assert [mark["what"] for mark in scene.marks("coord-123")] == ["raised"]
    assert scene.marks("coord-123")[0]["error"] == "ContainerStopped"


def test_stop_of_the_parent_raises_in_the_body(scene):
    stopper = scene.plan("worker-1", kind="STOPPING_SELF", above=True)
    scene.start(scene.plan("coord-123", scene.plan("worker-2"), stopper))  # after it, none would be spawned
    assert scene.ended("coord-123").status == "STOPPED"
    assert scene.status("worker-1", "worker-2") == ["STOPPED"] * 2
    assert [mark["what"] for mark in scene.marks("worker-1")] == ["raised"]
    assert scene.get("coord-123").stop_by == scene.id("worker-1")


def test_a_body_may_stop_another_tree_and_wait(scene):
    scene.run(scene.plan("coord-123", scene.plan("worker-1")))
    scene.start(scene.plan("other", kind="STOPPING_OTHER", container_id=scene.id("coord-123")))
    row = scene.ended("other")
    assert row.status == "COMPLETED", row.exit_message
    assert row.result == [scene.id("worker-1"), scene.id("coord-123")]
    assert scene.get("worker-1").stop_by == scene.id("other")


def test_shield_defers_the_stop(scene):
    scene.run(scene.plan("worker-1", kind="SHIELDING", seconds=2.0))
    began = time.time()
    scene.stop("worker-1", grace=30)
    marks = [mark["what"] for mark in scene.marks("worker-1")]
    assert "shield over" in marks
    assert "after shield" not in marks
    assert scene.get("worker-1").stopped_at.timestamp() - began < 10


def test_shield_does_not_defer_the_kill(scene):
    scene.run(scene.plan("worker-1", kind="SHIELDING"))
    assert scene.stop("worker-1", grace=1).stopped == ("worker-1",)
    killed = [
        line
        for line in scene.world.log().splitlines()
        if f"killed inside shield() container={scene.id('worker-1')}" in line
    ]
    assert len(killed) == 1
    assert "WARNING" in killed[0]


def test_a_body_that_swallows_its_stop_and_returns_ends_stopped(scene):
    container = scene.run(scene.plan("worker-1", kind="SWALLOWING"))
    scene.stop("worker-1", grace=30)
    assert len(scene.marks("worker-1", "swallowed")) == 1
    row = scene.get("worker-1")
    assert (row.status, row.exit_code, row.result) == ("STOPPED", 143, None)
    result = scene.world.app.AsyncResult(container.id)
    eventually("revoked", lambda: result.state == "REVOKED")  # told after the row's commit


def test_a_stop_that_got_lost_is_raised_again(scene):
    scene.run(scene.plan("worker-1", kind="DISTRACTED"))
    began = time.monotonic()
    assert scene.stop("worker-1", grace=60).stopped == ("worker-1",)
    assert time.monotonic() - began < 20
    assert len(scene.marks("worker-1", "lost one")) == 1


def test_a_stop_does_not_reach_the_next_container_of_the_same_process(scene, narrow_node):
    """Its process remembers which execution was to stop; the next one there looks, and is not meant."""
    for turn in range(3):
        scene.run(scene.plan(f"stopped-{turn}", queue="narrow"))
        pid = scene.get(f"stopped-{turn}").pid
        scene.stop(f"stopped-{turn}")
        scene.start(scene.plan(f"next-{turn}", kind="ATTENTIVE", queue="narrow", times=4))
        assert scene.ended(f"next-{turn}").status == "COMPLETED"
        assert {mark["pid"] for mark in scene.ticks(f"next-{turn}")} == {pid}


def test_cleanup_in_finally_is_not_cut_short_by_repeated_signals(scene):
    scene.run(scene.plan("worker-1", kind="CLEANING", seconds=1.5))
    scene.stop("worker-1", grace=30)
    assert len(scene.marks("worker-1", "clean")) == 1
    assert scene.status("worker-1") == "STOPPED"


def test_a_queued_container_never_runs_once_its_tree_is_marked(scene):
    scene.run(scene.plan("coord-123", scene.plan("worker-1")))
    late = scene.plan("worker-2", queue="nobody-listens")
    late["options"]["parent_container_id"] = scene.id("coord-123")
    scene.start(late)
    report = scene.stop("coord-123")
    assert set(report.stopped) == {"worker-1", "worker-2", "coord-123"}
    assert (scene.history("worker-2"), scene.marks("worker-2")) == (["PENDING", "STOPPING", "STOPPED"], [])


def test_a_stopped_resting_container_ends_at_once(scene):
    scene.start(scene.plan("sleeper", kind="SLEEPY"))
    resting = eventually("resting", lambda: (row := scene.get("sleeper")).wake_at and row)
    assert (resting.status, resting.node, resting.current_iteration) == ("RUNNING", None, 1)
    report = scene.stop("sleeper", wait=False)
    assert report.stopped == ("sleeper",)
    assert scene.status("sleeper") == "STOPPED"


def test_celery_shows_a_stopped_container_as_revoked(scene):
    container = scene.run(scene.plan("coord-123", scene.plan("worker-1")))
    queued = scene.start(scene.plan("queued", queue="nobody-listens"))
    for name in ("coord-123", "queued"):
        scene.stop(name)
    for stopped in (container.id, scene.id("worker-1"), queued.id):
        result = scene.world.app.AsyncResult(stopped)
        with pytest.raises(TaskRevokedError):
            result.get(timeout=10)
        assert result.state == "REVOKED"


def test_detached_children_survive(scene):
    scene.run(scene.plan("coord-123", scene.plan("worker-1"), scene.plan("free", scene.plan("below"), detach=True)))
    report = scene.stop("coord-123")
    assert report.order == ("worker-1", "coord-123")
    before = len(scene.ticks("below"))
    eventually("what is detached goes on", lambda: len(scene.ticks("below")) > before)
    assert scene.status("free", "below") == ["RUNNING"] * 2


def test_a_stop_goes_on_when_its_caller_is_killed(scene):
    stubborn = scene.plan("worker-1", kind="STUBBORN")
    scene.run(scene.plan("coord-123", stubborn, scene.plan("worker-2")))
    caller = scene.world.launch("stop", scene.id("coord-123"), "--grace", "2")
    eventually("marked", lambda: scene.status("worker-1") == "STOPPING")
    os.kill(caller.pid, signal.SIGKILL)
    assert caller.wait() == -signal.SIGKILL
    assert scene.ended("coord-123", 15).status == "STOPPED"
    assert scene.status("worker-1", "worker-2") == ["STOPPED"] * 2


@pytest.mark.postgres
@pytest.mark.parametrize("turn", range(10))
def test_workers_that_are_being_spawned_do_not_escape(postgres_scene, turn):
    """Thirty a spawner, all at once, and the stop falls into the middle of it."""
    scene = postgres_scene
    scene.start(scene.plan("coord-123", *(scene.plan(f"spawner-{n}", kind="SPAWNER", count=30) for n in range(3))))
    eventually("some spawned", lambda: len(scene.rows()) > 4 + 2 * turn)
    report = scene.stop("coord-123", grace=10)
    rows = scene.rows()
    assert {row.status for row in rows} == {"STOPPED"}
    assert len(report.stopped) == len(rows) > 4
    assert len([row for row in rows if row.depth == 2]) < 90, "the stop came too late to test anything"
    about = ticks_of(rows, scene)
    assert quick_one(scene).status == "COMPLETED"
    assert ticks_of(rows, scene) == about, "something ticks after the stop"


def quick_one(scene):
    scene.start(scene.plan("later", kind="QUICK"))
    return scene.ended("later")


def ticks_of(rows, scene):
    return sum(len(scene.world.marks().get(row.id, ())) for row in rows)


def test_without_a_broker_a_stop_is_done_through_the_database(brokerless_scene, record_property):
    scene, broker = brokerless_scene
    scene.run(scene.plan("coord-123", scene.plan("worker-1"), scene.plan("worker-2", kind="STUBBORN")))
    resting = scene.start(scene.plan("queued", queue="nobody-listens"))
    broker.stop()
    began = time.monotonic()
    report = scene.stop("coord-123", grace=2)
    took = time.monotonic() - began
    record_property("seconds", took)
    print(f"without a broker: {took:.1f} s")
    assert sorted(report.stopped) == ["coord-123", "worker-1", "worker-2"]
    assert [note for note in report.notes if "broker could not be reached" in note]
    assert took < 2 + 5 + 3
    assert scene.stop("queued").stopped == ("queued",)
    assert resting.refresh().status == "STOPPED"


def test_without_a_broker_nothing_that_is_due_keeps_a_node_from_killing(brokerless_scene):
    """Forty messages that cannot be sent, and as many that tell Celery of what ended: none of them is waited for."""
    scene, broker = brokerless_scene
    later = [scene.plan(f"later-{n}") for n in range(40)]
    for plan in later:
        plan["options"]["countdown"] = 4
    scene.start(scene.plan("coord-123", scene.plan("worker-1", kind="STUBBORN"), *later))
    eventually("all spawned", lambda: scene.marks("coord-123", "spawned") and scene.ticks("worker-1"))
    broker.stop()
    eventually(
        "all due", lambda: (row := scene.get("later-39")).wake_at < datetime.now(UTC) and row.status == "PENDING"
    )
    time.sleep(1)
    began = time.time()
    scene.stop("coord-123", grace=1, wait=False)
    row = scene.ended("coord-123")
    assert scene.ticks("worker-1")[-1]["at"] - began < 1 + 2, "its deadline, a look, and one for a loaded machine"
    assert row.stopped_at.timestamp() - began < 1 + 5


def test_a_stop_with_its_node_killed_ends_when_the_lease_has_run_out(nervous_scene, record_property):
    scene = nervous_scene
    node = scene.world.start("doomed", queues="doomed", slots=3)
    scene.run(scene.plan("coord-123", scene.plan("worker-1", queue="doomed"), queue="doomed"))
    node.kill()
    began = time.monotonic()
    report = scene.stop("coord-123", grace=1)
    took = time.monotonic() - began
    record_property("seconds", took)
    print(f"node killed: {took:.1f} s")
    assert set(report.stopped) == {"worker-1", "coord-123"}
    assert took < scene.lifecycle.settings.expires_in + 5
    assert scene.get("worker-1").exit_message == CASCADE


def test_a_revoke_of_a_running_container_is_a_stop_of_its_tree(scene):
    scene.run(scene.plan("coord-123", scene.plan("worker-1")))
    scene.world.app.control.revoke(scene.id("coord-123"), terminate=True)
    scene.becomes("coord-123", "STOPPED")
    scene.becomes("worker-1", "STOPPED")
    assert [scene.get(name).stop_by for name in ("coord-123", "worker-1")] == ["Celery revoke"] * 2

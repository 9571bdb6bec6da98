"""From a spawn to an ending on real nodes: bodies, iterations, messages, lost processes and lost nodes."""

import os
import signal
import threading
import time
from itertools import pairwise

import pytest
from celery.exceptions import TimeLimitExceeded

from lifecycle.store import containers as store
from lifecycle.store.engine import Database
from tests.acceptance.scene import eventually
from tests.acceptance.truth import overlaps
from tests.acceptance.world import migrate

pytestmark = pytest.mark.acceptance


def test_a_coordinator_completes_after_its_children(scene):
    kids = scene.plan("worker-1", seconds=0.5), scene.plan("worker-2", seconds=1.5)
    scene.start(scene.plan("coord-123", *kids, seconds=0))
    waiting = eventually("its body is over", lambda: (row := scene.get("coord-123")).outcome and row)
    assert (waiting.status, waiting.node, waiting.outcome) == ("RUNNING", None, "COMPLETED")
    row = scene.ended("coord-123")
    assert (row.status, row.exit_code, row.current_iteration) == ("COMPLETED", 0, 1)
    assert row.stopped_at >= scene.get("worker-2").stopped_at
    assert scene.status("worker-1", "worker-2") == ["COMPLETED"] * 2
    assert scene.history("coord-123") == ["PENDING", "RUNNING", "COMPLETED"]


def test_a_coordinator_stopped_while_it_waits_for_children_is_stopped(scene):
    scene.start(scene.plan("coord-123", scene.plan("worker-1"), seconds=0))
    eventually("its body is over", lambda: scene.get("coord-123").outcome)
    scene.stop("coord-123")
    row = scene.get("coord-123")
    assert (row.status, row.exit_code, row.exit_message) == ("STOPPED", 143, "Stopped by user")


def test_a_failing_body_stops_its_descendants(scene):
    below = scene.plan("worker-1", scene.plan("worker-2"))
    scene.start(scene.plan("coord-123", below, kind="FAILING", seconds=1.0))
    row = scene.ended("coord-123")
    assert (row.status, row.exit_code, row.exit_message) == ("FAILED", 1, "ValueError: no such ship")
    assert scene.status("worker-1", "worker-2") == ["STOPPED"] * 2
    assert scene.get("worker-2").stop_reason == "parent failed: ValueError: no such ship"
    assert scene.get("worker-2").stop_by == scene.id("coord-123")
    with pytest.raises(ValueError, match="no such ship"):
        scene.world.app.AsyncResult(row.id).get(timeout=10)


def test_a_failing_child_does_not_fail_its_parent(scene):
    scene.start(scene.plan("coord-123", scene.plan("worker-1", kind="FAILING"), seconds=0.5))
    assert scene.ended("coord-123").status == "COMPLETED"
    assert scene.status("worker-1") == "FAILED"


def test_a_result_is_returned_by_celery_and_kept_on_the_row(scene):
    result = scene.world.pipelines.answer.delay({"fuel": [1, 2]})
    assert result.get(timeout=30) == {"fuel": [1, 2]}
    row = eventually("ended", lambda: (row := scene.lifecycle.get(result.id)).is_ended and row)
    assert (row.status, row.result, row.container_type) == ("COMPLETED", {"fuel": [1, 2]}, "ANSWER")


def test_steps_of_a_chain_are_containers_of_their_own(scene):
    from celery import chain

    chained = scene.world.pipelines.chained
    result = chain(chained.s(1), chained.s(), chained.s()).apply_async()
    assert result.get(timeout=30) == 4
    steps = [scene.lifecycle.wait(each, 20) for each in (result.id, result.parent.id, result.parent.parent.id)]
    assert [(each.status, each.parent_container_id) for each in steps] == [("COMPLETED", None)] * 3


def test_a_retry_keeps_one_row(scene):
    container = scene.start(scene.plan("worker-1", kind="RETRYING", times=2))
    row = scene.ended("worker-1")
    assert (row.status, row.result, row.epoch) == ("COMPLETED", 2, 3)
    assert len(scene.rows()) == 1
    assert len(scene.ticks("worker-1")) == 3
    assert scene.world.app.AsyncResult(container.id).get(timeout=10) == 2


def test_iterations_with_an_interval(scene):
    scene.start(scene.plan("worker-1", kind="THRICE"))
    row = scene.ended("worker-1")
    assert (row.status, row.progress, row.epoch) == ("COMPLETED", "3/3", 3)
    times = [mark["at"] for mark in scene.ticks("worker-1")]
    assert [later - earlier >= 1.0 for earlier, later in pairwise(times)] == [True] * 2
    assert scene.history("worker-1") == ["PENDING", "RUNNING", "COMPLETED"]


def test_each_iteration_back_to_back_spawns_children_of_its_container(scene):
    scene.start(scene.plan("coord-123", kind="BACK_TO_BACK"))
    row = scene.ended("coord-123")
    assert (row.status, row.progress) == ("COMPLETED", "3/3")
    assert len(scene.ticks("coord-123")) == 3
    assert len(scene.lifecycle.children(row.id)) == 3


def test_an_infinite_container_rests_without_a_slot_and_wakes(scene):
    scene.start(scene.plan("worker-1", kind="ENDLESS"))
    resting = eventually("resting", lambda: (row := scene.get("worker-1")).wake_at and row)
    assert (resting.status, resting.node, resting.pid) == ("RUNNING", None, None)
    eventually("woken twice", lambda: len(scene.ticks("worker-1")) >= 3)
    assert scene.get("worker-1").progress.endswith("/∞")
    scene.stop("worker-1")
    row = scene.get("worker-1")
    assert row.status == "STOPPED"
    assert 0 <= row.epoch - row.current_iteration <= 1


def test_a_task_sent_by_name_is_recorded_at_its_claim(scene):
    scene.run(scene.plan("coord-123", kind="SENDER", container_id=scene.id("worker-1")))
    eventually("recorded and at work", lambda: scene.ticks("worker-1"))
    row = scene.get("worker-1")
    assert (row.parent_container_id, row.container_type, row.status) == (scene.id("coord-123"), "WORKER", "RUNNING")
    assert scene.stop("coord-123").order == ("worker-1", "coord-123")


def test_what_a_plain_task_spawns_belongs_to_the_container_that_sent_it(scene):
    scene.run(scene.plan("coord-123", kind="THROUGH_PLAIN", container_id=scene.id("worker-1")))
    eventually("at work", lambda: scene.ticks("worker-1"))
    assert scene.get("worker-1").parent_container_id == scene.id("coord-123")


def test_a_duplicate_message_loses(scene):
    container = scene.run(scene.plan("worker-1", seconds=3.0))
    with scene.lifecycle.database.read() as connection:
        message = store.messages(connection, [container.id])[container.id]
    for _ in range(3):
        scene.lifecycle.doorbell.publish(container.id, message)
    row = scene.ended("worker-1")
    scene.lifecycle.doorbell.publish(container.id, message)
    eventually("the late one is ignored", lambda: scene.world.log().count(f"pipelines.worker[{row.id}] ignored") == 4)
    assert (row.status, row.epoch) == ("COMPLETED", 1)
    assert len({(mark["pid"], mark["epoch"]) for mark in scene.marks("worker-1")}) == 1
    assert scene.get("worker-1") == row
    assert scene.world.app.AsyncResult(row.id).state == "SUCCESS"


def test_resources_are_released_at_every_ending(scene):
    held = {"completed": "ANSWER", "failed": "FAILING", "stopped": "WORKER", "killed": "STUBBORN"}
    for name, kind in held.items():
        kwargs = {"value": 1} if kind == "ANSWER" else {}
        scene.start(scene.plan(name, kind=kind, resources=[f"ship:{scene.id(name)}"], **kwargs))
    for name in ("stopped", "killed"):
        eventually("at work", lambda name=name: scene.ticks(name))
        assert [each.resource for each in scene.lifecycle.holdings(scene.id(name))] == [f"ship:{scene.id(name)}"]
        scene.stop(name, grace=1)
    for name in held:
        scene.ended(name)
        assert scene.lifecycle.holdings(scene.id(name)) == []
        scene.start(scene.plan(f"{name}-next", kind="QUICK", resources=[f"ship:{scene.id(name)}"]))


def test_waiting_for_a_container_in_a_body_raises(scene):
    scene.run(scene.plan("coord-123"))
    scene.start(scene.plan("worker-1", kind="WAITING", container_id=scene.id("coord-123")))
    row = scene.ended("worker-1", 4)
    assert (row.status, "cannot wait" in row.result) == ("COMPLETED", True)


def test_a_body_that_reads_rows_all_the_time_is_stopped_and_its_process_stays_whole(scene):
    """A stop is not raised in the middle of a transaction of ours: its connection, and its lock, would be lost."""
    for turn in range(5):
        scene.run(scene.plan(f"reader-{turn}", kind="READING"))
        scene.stop(f"reader-{turn}", grace=10)
    assert "killed at its deadline container=reader" not in scene.world.log()


def test_logs_of_a_body_are_kept_folded_with_a_count(scene):
    scene.start(scene.plan("worker-1", kind="LOGGING", lines=50))
    row = scene.ended("worker-1")
    lines = scene.lifecycle.logs([row.id])
    assert [(line.level, line.logger, line.message, line.count) for line in lines] == [
        ("WARNING", "pipelines", "the same again", 50),
        ("INFO", "pipelines", "fuel at 7%", 1),
    ]
    assert [line.epoch for line in lines] == [1, 1]


def test_a_killed_pool_child_is_noticed_within_a_second(scene):
    scene.run(scene.plan("worker-1"))
    row = scene.get("worker-1")
    began = time.time()
    os.kill(row.pid, signal.SIGKILL)
    lost = scene.becomes("worker-1", "INTERRUPTED")
    assert (lost.exit_code, lost.exit_message, lost.node, lost.pid) == (None, "process lost", None, None)
    changed = scene.lifecycle.history(row.id)[-1].at.timestamp()
    assert changed - began < 1 + 1, "a second, and one for a loaded machine"
    eventually("Celery noticed", lambda: f"process of an execution lost container={row.id}" in scene.world.log())
    assert scene.world.app.AsyncResult(row.id).state not in {"FAILURE", "SUCCESS"}, "it may run again"
    assert scene.stop("worker-1").stopped == ("worker-1",)


def test_a_killed_node_is_noticed_when_its_lease_has_run_out(nervous_scene):
    scene = nervous_scene
    node = scene.world.start("doomed", queues="doomed", slots=3)
    scene.run(scene.plan("coord-123", scene.plan("worker-1", queue="doomed"), queue="doomed"))
    node.kill()
    began = time.time()
    for name in ("worker-1", "coord-123"):
        lost = scene.becomes(name, "INTERRUPTED")
        assert (lost.exit_message, lost.node) == ("node lost", None)
        changed = scene.lifecycle.history(lost.id)[-1].at.timestamp()
        assert changed - began < scene.lifecycle.settings.expires_in + 2
    eventually("its children are gone", lambda: not node.children())


def test_a_paused_node_is_fenced_and_joins_anew(nervous_scene):
    """Paused past its lease, its containers are others' now: not one tick when it goes on."""
    scene = nervous_scene
    node = scene.world.start("paused", queues="paused", slots=2)
    before = node.row.id
    scene.run(scene.plan("coord-123", scene.plan("worker-1", queue="paused"), queue="paused"))
    node.signal_all(signal.SIGSTOP)
    for name in ("worker-1", "coord-123"):
        assert scene.becomes(name, "INTERRUPTED").exit_message == "node lost"
    node.signal_all(signal.SIGCONT)
    joined = eventually("it joined anew", lambda: node.row)
    assert joined.id != before
    scene.start(scene.plan("later", kind="ANSWER", queue="paused", value=1))
    assert scene.ended("later").status == "COMPLETED"
    assert overlaps(scene.world) == []
    assert [change.node for change in scene.lifecycle.history(scene.id("later"))][1] == joined.id
    node.end()


def test_a_node_that_leaves_in_order_says_so(nervous_scene):
    scene = nervous_scene
    node = scene.world.start("leaving", queues="leaving", slots=1)
    scene.start(scene.plan("worker-1", queue="leaving"))
    eventually("at work", lambda: scene.ticks("worker-1"))
    node.end()
    assert scene.status("worker-1") in {"INTERRUPTED", "PENDING"}
    assert node.pid not in [row.pid for row in scene.world.living_nodes()]


def test_a_node_on_another_database_refuses_the_message(scene, new_world, sqlite_url):
    migrate(sqlite_url)
    other = new_world(broker=scene.world.env["BROKER_URL"], database_url=sqlite_url)
    stranger = other.start("stranger", queues="elsewhere", slots=1)
    scene.start(scene.plan("worker-1", queue="elsewhere"))
    eventually(
        "it says so", lambda: f"another database not run container={scene.id('worker-1')}" in stranger.log_text()
    )
    assert scene.status("worker-1") == "PENDING"
    assert other.lifecycle.find() == []
    other.close()


def test_two_tasks_of_one_type_are_an_error_at_start(calm_world):
    failed = calm_world.failing_start(PIPELINES_TWIN="yes")
    assert failed.returncode == 1
    said = "Error: container type WORKER is that of two tasks: pipelines.twin and pipelines.worker"
    assert one_line(failed) == said


def test_what_nobody_thought_of_ends_the_worker_too(calm_world):
    """Celery drops what is raised at this signal, and would run on as a worker that is no node."""
    failed = calm_world.failing_start(PIPELINES_ODD="yes")
    assert failed.returncode == 1
    assert "node does not start" in failed.stderr + failed.stdout
    assert "TypeError" in failed.stderr + failed.stdout


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "Error: no database is set: "),
        ("sqlite:///{folder}/empty.db", "has no tables yet; run: celery -A <app> container migrate"),
        ("sqlite:///{folder}/no/such/folder.db", "cannot be used: unable to open database file"),
        ("postgresql://nobody@127.0.0.1:1/none", "cannot be used: "),
        ("nonsense", "is not a database URL"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_at_start(calm_world, tmp_path, url, expected):
    failed = calm_world.failing_start(LIFECYCLE_DATABASE_URL=url.format(folder=tmp_path))
    assert failed.returncode == 1
    assert expected in one_line(failed)


def one_line(failed):
    """All that it said, which is one line."""
    said = (failed.stdout + failed.stderr).strip().splitlines()
    assert len(said) == 1, failed.stdout + failed.stderr
    return said[0]


def test_a_child_forked_while_a_transaction_is_open_can_write(sqlite_template, tmp_path):
    """SQLite keeps its locks in memory: a pool child would believe that it held the lock of its node's thread."""
    path = tmp_path / "forked.db"
    path.write_bytes(sqlite_template.read_bytes())
    database, inside = Database(f"sqlite:///{path}", busy_timeout=0.5), threading.Event()

    def hold():
        with database.begin():
            inside.set()
            time.sleep(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    child = os.fork()
    if not child:
        os._exit(not writes(database))
    holder.join()
    assert os.waitpid(child, 0)[1] == 0


def writes(database):
    try:
        with database.begin():
            return True
    except Exception:  # noqa: BLE001 - whatever it is, the child has to leave by _exit
        return False


def test_a_hard_time_limit_fails_the_container_at_once(scene):
    plan = scene.plan("worker-1")
    plan["options"] |= {"time_limit": 1, "resources": ["ship:1"]}
    scene.start(plan)
    row = scene.ended("worker-1")
    assert (row.status, row.exit_code, row.exit_message) == ("FAILED", 1, "hard time limit of 1 s exceeded")
    assert (row.epoch, row.restart_count, scene.lifecycle.holdings(row.id)) == (1, 0, [])
    with pytest.raises(TimeLimitExceeded):
        scene.world.app.AsyncResult(row.id).get(timeout=10)

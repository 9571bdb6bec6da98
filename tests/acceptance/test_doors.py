"""Ways into and out of a container that Celery users take: canvas, plain tasks between, recursion, odd values."""

import subprocess

import pytest
from celery.exceptions import TaskRevokedError

from lifecycle.errors import InvalidArgument
from tests.acceptance.world import HERE, die_with_tests, eventually


def test_steps_of_a_chain_go_on_after_the_body_that_started_it(doors):
    root = doors.tasks.starts_chain.spawn()
    row = doors.ended(root.id)
    steps = doors.lifecycle.children(root.id)
    assert (row.status, [step.result for step in steps]) == ("COMPLETED", [3, 13, 113])
    assert {step.parent_epoch for step in steps} == {1}
    assert doors.app.AsyncResult(row.result).get(timeout=10) == 113


def test_a_chain_below_a_stopped_parent_ends_and_its_waiter_learns_so(doors):
    hold = doors.tasks.hold.spawn()
    eventually("held", lambda: doors.lifecycle.get(hold.id).status == "RUNNING")
    report = doors.lifecycle.stop(hold.id)
    assert report.stopped == (hold.id,)
    with pytest.raises(TaskRevokedError):
        doors.app.AsyncResult(hold.id).get(timeout=10)


def test_what_a_plain_task_spawns_belongs_to_the_container_that_sent_it(doors):
    root = doors.tasks.sends_plain.spawn(player_id=12, tags={"fleet": "haulers"})
    doors.ended(root.id)
    (child,) = doors.lifecycle.children(root.id)
    assert (child.parent_epoch, child.player_id, child.tags) == (1, 12, {"fleet": "haulers"})
    assert doors.ended(child.id).result == 7


def test_a_body_that_calls_its_own_task_calls_a_function(doors):
    row = doors.ended(doors.tasks.recursive.spawn([3]).id)
    assert (row.status, row.result, row.epoch) == ("COMPLETED", 6, 1)


def test_a_container_is_not_replaced(doors):
    result = doors.tasks.replaces.delay()
    with pytest.raises(InvalidArgument, match="a container cannot be replaced by"):
        result.get(timeout=30)
    why = "doors.replaces: a container cannot be replaced by doors.add(1, 1); spawn it as a child"
    row = doors.ended(result.id)
    assert (row.status, row.exit_message) == ("FAILED", f"InvalidArgument: {why}")


def test_an_entry_of_beat_starts_roots(doors):
    beat = subprocess.Popen(
        doors.celery("beat", "--pidfile=", "-s", doors.folder / "schedule"),
        cwd=HERE,
        env=doors.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_tests,  # noqa: PLW1509 - no thread of ours holds a lock across a start
    )
    try:
        find = doors.lifecycle.find
        rows = eventually("two ticks", lambda: t if len(t := find("COMPLETED", type="TICKS")) > 1 else None)
    finally:
        beat.kill()
        beat.wait()
    assert {(row.parent_container_id, row.result, row.epoch) for row in rows} == {(None, 6, 1)}
    assert all(row.expires_at is not None for row in rows), "its options go with it"


def test_a_result_that_is_no_json_is_kept_as_text(doors):
    row = doors.ended(doors.tasks.returns_nan.spawn().id)
    assert (row.status, row.result) == ("COMPLETED", "{'price': nan}")


@pytest.mark.parametrize(("fails", "status"), [(False, "COMPLETED"), (True, "FAILED")])
def test_names_that_are_no_unicode_lose_no_ending(doors, fails, status):
    row = doors.ended(doors.tasks.logs_a_strange_name.spawn([fails]).id)
    assert row.status == status
    lines = eventually("logged", lambda: doors.lifecycle.logs([row.id]))
    assert lines[0].message == "file caf\\udce9"
    assert not fails or row.exit_message == "ValueError: bad path caf\\udce9"


def test_a_stop_comes_between_iterations_without_an_interval(doors):
    root = doors.tasks.many_short.spawn()
    eventually("third iteration", lambda: doors.lifecycle.get(root.id).current_iteration >= 3)
    doors.lifecycle.stop(root.id)
    row = doors.lifecycle.get(root.id)
    assert (row.status, row.exit_message) == ("STOPPED", "Stopped by user")
    assert row.current_iteration < 90


def test_the_row_names_the_queue_of_the_task(doors):
    root = doors.tasks.has_own_queue.spawn()
    assert root.queue == "side"
    assert doors.ended(root.id).result == "side"


def test_a_map_goes_to_the_queue_of_its_task(doors):
    result = doors.tasks.has_own_queue.map([1, 2]).apply_async()
    assert result.get(timeout=30) == ["side", "side"]
    assert doors.lifecycle.get(result.id).queue == "side"


def test_what_is_sent_by_name_has_its_row_before_its_message(doors):
    sent = doors.app.send_task("doors.add", [1, 2], queue="nobody-listens")
    row = doors.lifecycle.get(sent.id)
    assert (row.status, row.queue, row.epoch) == ("PENDING", "nobody-listens", 0)
    doors.lifecycle.stop(row.id)


def test_a_chord_over_a_stopped_member_fails_at_once(doors):
    result = doors.tasks.a_chord().apply_async()
    (held,) = eventually("held", lambda: doors.lifecycle.find("RUNNING", type="HOLD"))
    doors.lifecycle.stop(held.id)
    eventually("the chord has failed", lambda: result.failed() or result.state == "REVOKED")


def test_a_spawn_that_cannot_be_meant_records_nothing(doors):
    before = doors.lifecycle.counts()
    for wrong in ({"task_id": "x"}, {"grace": float("inf")}, {"tags": {"a": "\x00"}}, {"container_id": "港" * 90}):
        with pytest.raises(InvalidArgument):
            doors.tasks.add.spawn([1, 2], **wrong)
    with pytest.raises(TypeError):
        doors.tasks.add.spawn([1])
    assert doors.lifecycle.counts() == before

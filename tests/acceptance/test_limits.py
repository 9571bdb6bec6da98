"""Times, limits and order of messages, as Celery's options ask for them."""

from datetime import UTC, datetime, timedelta
from inspect import signature
from itertools import pairwise

import pytest
from celery import VERSION, chord, group
from celery.exceptions import ChordError, SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded

from tests.acceptance.world import eventually

OF_STEPS = pytest.mark.skipif(
    "header_delay" not in signature(chord.run).parameters, reason="this Celery takes it for the time between two looks"
)


@pytest.fixture(scope="module")
def narrow(doors):
    """One slot, a queue of its own, and a soft limit for all its tasks."""
    node = doors.start("narrow", queues="narrow", slots=1, env={"DOORS_SOFT_LIMIT": "4"})
    yield node
    node.end()


def failed(doors, result, error):
    with pytest.raises(error):
        result.get(timeout=30)
    row = doors.ended(result.id)
    assert (row.status, row.exit_code, row.epoch) == ("FAILED", 1, 1)
    return row.exit_message


def test_a_soft_limit_of_the_task_says_that_it_was_that(doors):
    assert failed(doors, doors.tasks.softly.delay(), SoftTimeLimitExceeded) == "soft time limit of 1 s exceeded"


def test_a_soft_limit_of_the_call_goes_before_the_tasks(doors):
    result = doors.tasks.softly.apply_async(soft_time_limit=2)
    assert failed(doors, result, SoftTimeLimitExceeded) == "soft time limit of 2 s exceeded"


def test_a_soft_limit_of_the_settings_holds_where_nothing_else_is_said(doors, narrow):
    result = doors.tasks.works.apply_async([60], queue="narrow")
    assert failed(doors, result, SoftTimeLimitExceeded) == "soft time limit of 4 s exceeded"


def test_a_strangers_limit_is_kept(doors):
    result = doors.stranger.send_task("doors.works", [60], soft_time_limit=1)
    eventually("recorded", lambda: result.id in doors.known())
    assert failed(doors, result, SoftTimeLimitExceeded) == "soft time limit of 1 s exceeded"


def test_a_hard_limit_says_that_it_was_that(doors):
    result = doors.tasks.works.apply_async([60], time_limit=1)
    assert failed(doors, result, TimeLimitExceeded) == "hard time limit of 1 s exceeded"


def test_a_soft_limit_waits_for_the_end_of_a_shield(doors):
    row = doors.ended(doors.tasks.shielded.spawn().id)
    assert (row.status, row.state, row.exit_message) == (
        "FAILED",
        {"done": True},
        "soft time limit of 1 s exceeded",
    )


def test_a_body_may_clean_up_at_its_soft_limit(doors):
    row = doors.ended(doors.tasks.cleans_up.spawn().id)
    assert (row.status, row.result) == ("COMPLETED", "cleaned up")


def test_a_limit_is_one_of_each_execution(doors):
    row = doors.ended(doors.tasks.rounds.spawn().id)
    assert (row.status, row.progress) == ("COMPLETED", "4/4")


def test_a_strangers_queue_is_that_of_all_its_executions(doors, narrow):
    result = doors.stranger.send_task("doors.rounds", queue="narrow")
    assert result.get(timeout=40).startswith("narrow@")
    assert doors.ended(result.id).queue == "narrow"


@pytest.mark.only_on("valkey", "redis")
@pytest.mark.skipif(VERSION < (5, 6), reason="Celery 5.5 has fetched one before it knows of the others")
def test_what_is_more_urgent_goes_first(doors, narrow):
    """On Redis 0 is the most urgent."""
    works = doors.tasks.works
    first = works.spawn([2], queue="narrow")
    eventually("the slot is taken", lambda: doors.lifecycle.get(first.id).status == "RUNNING")
    later = [works.spawn([0], queue="narrow", priority=priority) for priority in (9, 3, 0)]
    order = sorted((doors.ended(each.id) for each in later), key=lambda row: row.started_at)
    assert [row.id for row in order] == [each.id for each in reversed(later)]


def test_a_rate_limit_spaces_executions(doors):
    rows = [doors.ended(each.id) for each in [doors.tasks.rated.spawn() for _ in range(4)]]
    starts = sorted(row.started_at for row in rows)[1:]  # kombu before 5.7 lets two go at first
    assert {row.epoch for row in rows} == {1}
    assert all(later - sooner > timedelta(seconds=0.5) for sooner, later in pairwise(starts))


@pytest.mark.parametrize("when", [pytest.param("countdown", marks=OF_STEPS), "eta"])
def test_a_time_given_to_a_canvas_is_kept_on_the_rows_of_its_first_steps(doors, when):
    add, total = doors.tasks.add, doors.tasks.total
    options = {"countdown": 1} if when == "countdown" else {"eta": datetime.now(UTC) + timedelta(seconds=1)}
    before = doors.known()
    result = chord(group(add.s(1, 1), add.s(2, 2)), total.s()).apply_async(**options)
    first = doors.since(before)
    assert result.get(timeout=30) == 6
    ended = [doors.ended(row.id) for row in first]
    assert [row.container_type for row in ended] == ["ADD", "ADD"]
    assert all(row.started_at - row.created_at > timedelta(seconds=0.5) for row in ended)


def test_a_member_that_expires_fails_its_chord(doors):
    add = doors.tasks.add
    late = add.s(2, 2).set(countdown=2, expires=0.2)
    result = chord([add.s(1, 1), late], doors.tasks.total.s()).apply_async()
    with pytest.raises((ChordError, TaskRevokedError)):
        result.get(timeout=30)
    eventually("the chord has failed", result.failed)
    (row,) = [
        row for row in doors.rows() if row.id in {each.id for each in result.parent.results} and row.result is None
    ]
    assert (row.status, row.exit_message) == ("STOPPED", "Expired before it ran")


def test_a_strangers_message_waits_in_the_worker_and_has_its_row_at_its_time(doors):
    before = doors.known()
    result = doors.stranger.send_task("doors.add", [1, 2], countdown=1)
    assert result.get(timeout=30) == 3
    (row,) = doors.since(before)
    assert (row.id, doors.ended(row.id).status) == (result.id, "COMPLETED")


def test_a_strangers_message_that_expires_has_no_row(doors):
    before = doors.known()
    result = doors.stranger.send_task("doors.add", [1, 2], countdown=1, expires=0.2)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=30)
    assert doors.known() == before

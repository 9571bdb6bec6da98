"""How an execution ended, as a value."""

from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.domain.ending import MAX_MESSAGE, as_state, completed, failed, finish, later, stopped
from lifecycle.errors import ContainerStopped, ExecutionSuperseded, InvalidArgument, LifecycleError


def test_a_return_is_code_0_with_its_result():
    ending = completed({"files": 3}, "done early")
    assert (ending.outcome, ending.exit_code, ending.exit_message) == ("COMPLETED", 0, "done early")
    assert ending.result == {"files": 3}


def test_an_error_is_code_1_and_names_itself():
    ending = failed(ValueError("no such ship"))
    assert (ending.outcome, ending.exit_code, ending.exit_message) == ("FAILED", 1, "ValueError: no such ship")


def test_an_error_fits_its_row():
    assert failed("a\x00b").exit_message == "ab"  # PostgreSQL takes no NUL in text
    assert failed(OSError("no file \udcff")).exit_message == r"OSError: no file \udcff"
    assert len(failed("x" * 10_000).exit_message) == MAX_MESSAGE


def test_a_stop_is_code_143():
    ending = stopped()
    assert (ending.outcome, ending.exit_code, ending.exit_message) == ("STOPPED", 143, "Stopped by user")


@pytest.mark.parametrize("raised", [ContainerStopped, ExecutionSuperseded])
def test_a_body_that_catches_exception_does_not_swallow_a_stop(raised):
    assert not issubclass(raised, Exception)
    assert not issubclass(raised, LifecycleError)
    assert issubclass(raised, ContainerStopped)


NOON = datetime(2040, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "until"), [(0, 0.0), (1.5, 1.5), (timedelta(minutes=2), 120.0), (timedelta(-1), 0.0), (NOON, NOON)]
)
def test_when_to_go_on_is_said_in_seconds_or_as_a_time(when, until):
    asked = later(when, n=1, when=2)
    assert (asked.until, asked.state) == (until, {"n": 1, "when": 2})


def test_a_naive_time_is_refused():
    with pytest.raises(InvalidArgument, match="must be timezone-aware, as "):
        later(NOON.replace(tzinfo=None))


@pytest.mark.parametrize("when", [-1, float("nan"), float("inf"), True, "5", None, 1e10, timedelta(days=20_000)])
def test_no_time_to_go_on_is_named(when):
    with pytest.raises(InvalidArgument, match="when is a number of seconds"):
        later(when)


def test_a_state_is_what_json_makes_of_it():
    assert as_state({"ships": ("a", "b"), "fuel": {7: None}}) == {"ships": ["a", "b"], "fuel": {"7": None}}


def endless():
    circle = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize("value", [object(), {1}, b"x", NOON, float("nan"), float("-inf"), endless()])
def test_a_state_that_is_no_json_is_refused(value):
    with pytest.raises(InvalidArgument, match=r"^a container's state must be JSON: "):
        as_state({"value": value})
    with pytest.raises(InvalidArgument):
        later(1, value=value)


def test_what_finish_says_fits_its_row():
    assert (finish().message, finish().result) == (None, None)
    assert finish("enou\x00gh", result=[1]).message == "enough"
    assert len(finish("x" * 10_000).message) == MAX_MESSAGE


@pytest.mark.parametrize("message", [42, b"enough", {"result": 1}])
def test_what_finish_says_is_text(message):
    with pytest.raises(InvalidArgument, match="a message is text"):
        finish(message)

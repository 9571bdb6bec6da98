"""How an execution ended, as a value."""

import pytest

from lifecycle.domain.ending import MAX_MESSAGE, completed, failed, stopped
from lifecycle.errors import ContainerStopped, ExecutionSuperseded, LifecycleError


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

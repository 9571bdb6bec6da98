"""Celery's soft time limit where it comes at an odd moment: between two containers, and as a stop is on its way out."""

import signal
import sys

import pytest
from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler

from lifecycle.errors import ContainerInterrupted, ContainerStopped, ExecutionSuperseded
from lifecycle.runtime import signals
from lifecycle.runtime.execution import STOP_SIGNAL, Execution


@pytest.fixture
def pool_child():
    """The signals of a pool child, and then those that were."""
    before = {number: signal.getsignal(number) for number in (STOP_SIGNAL, SIG_SOFT_TIMEOUT)}
    signal.signal(SIG_SOFT_TIMEOUT, soft_timeout_sighandler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_limit_of_a_container_that_is_over_is_not_the_next_ones(pool_child, grove):
    """It comes before each line of the giving back, while the handler is ours."""
    sent = []

    def trace(frame, event, _):
        if frame.f_code is not signals.give_back.__code__:
            return None
        if event == "line" and signal.getsignal(SIG_SOFT_TIMEOUT) is signals._on_limit:
            sent.append(frame.f_lineno)
            signal.raise_signal(SIG_SOFT_TIMEOUT)
        return trace

    signals.install()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        signals.give_back()
    finally:
        sys.settrace(before)
    assert len(sent) > 1, "else nothing was tested"
    execution = Execution(grove.run("worker-1"))
    execution.armed = True
    signals.meet(execution)


@pytest.mark.parametrize("error", [ContainerStopped, ExecutionSuperseded, ContainerInterrupted])
def test_a_limit_takes_no_stops_place_nor_cuts_its_clean_up_short(grove, error):
    execution, cleaned = Execution(grove.run("worker-1")), []

    def body():
        try:
            with execution.shielded():
                execution.run_over()
                raise error("worker-1")
        finally:
            with execution.shielded():
                cleaned.append("up")
            cleaned.append("wholly")

    with pytest.raises(error):
        execution.body(body)
    assert cleaned == ["up", "wholly"]

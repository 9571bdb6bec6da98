"""When a stop is raised in a body, and when not any more."""

import inspect
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest

from lifecycle.errors import ContainerInterrupted, ContainerStopped, CutShort, ExecutionSuperseded
from lifecycle.runtime.execution import Execution
from lifecycle.runtime.page import Page


def asked(*words):
    """An execution that is asked to stop, or what else is said."""
    page = Page()
    for word in words or ("stop",):
        say(page, word)
    return Execution(SimpleNamespace(id="worker-1", epoch=1), page, 0)


def say(page, word, epoch=1):
    {"stop": page.ask_stop, "cut": page.ask_cut}[word](0, "worker-1", epoch)


def armed(*words):
    execution = asked(*words)
    execution.armed = True
    return execution


def threaded(*words):
    """The same in a pool whose executions are only asked."""
    execution = Execution(SimpleNamespace(id="worker-1", epoch=1))
    execution.armed = True
    for word in words:
        {"stop": execution.ask_stop, "cut": execution.ask_cut}[word]()
    return execution


BOTH = pytest.mark.parametrize("make", [armed, threaded], ids=["child", "thread"])


def signalled_at(line, execution):
    """Traces `body`: a signal comes before this line of it."""

    def trace(frame, event, _):
        if frame.f_code is not Execution.body.__code__:
            return None
        if event == "line" and line in source[frame.f_lineno - first]:
            execution.meet_stop()
        return trace

    source, first = inspect.getsourcelines(Execution.body)
    return trace


def test_a_stop_as_the_body_returns_is_raised_once_and_never_after_the_ending():
    execution, before = asked(), sys.gettrace()
    sys.settrace(signalled_at("self.armed = False", execution))
    try:
        with pytest.raises(ContainerStopped):
            execution.body(lambda: "done")
    finally:
        sys.settrace(before)
    assert execution.armed, "else nothing was tested"
    execution.over = execution.ended = True
    execution.meet_stop()


@pytest.mark.parametrize("state", ["over", "ended"])
def test_no_stop_once_it_is_over(state):
    execution = asked()
    execution.armed = True
    setattr(execution, state, True)
    execution.meet_stop()
    setattr(execution, state, False)
    with pytest.raises(ContainerStopped):
        execution.meet_stop()


@BOTH
def test_an_interrupt_is_told_from_a_stop(make):
    execution = make("cut")
    with pytest.raises(ContainerInterrupted):
        execution.meet_stop()
    assert (execution.interrupted, execution.raised) == (True, False)


@BOTH
@pytest.mark.parametrize("words", [("cut", "stop"), ("stop", "cut")])
def test_a_stop_beats_an_interrupt(make, words):
    execution = make(*words)
    with pytest.raises(ContainerStopped):
        execution.meet_stop()
    assert (execution.interrupted, execution.raised) == (False, True)


def test_an_interrupt_of_an_earlier_execution_means_nothing():
    execution = armed("cut")
    execution.container.epoch = 2
    execution.meet_stop()
    execution.container.epoch = 1
    with pytest.raises(ContainerInterrupted):
        execution.meet_stop()


def fails(error):
    raise error


def clean_up(execution, after, calls):
    """A body's `finally`, in which a signal comes and something else fails."""
    try:
        fails(after)
    finally:
        for call in calls:
            call()
        with suppress(ValueError):
            try:
                fails(ValueError("in a clean-up"))
            finally:
                execution.meet_stop()


@pytest.mark.parametrize(("word", "error"), [("cut", ContainerInterrupted), ("stop", ContainerStopped)])
def test_its_own_clean_up_is_not_cut_short_and_what_comes_after_is(word, error):
    execution = armed(word)
    for _ in range(2):
        with pytest.raises(error):
            execution.meet_stop()
        with pytest.raises(error, match="the first"):
            clean_up(execution, error("the first"), [execution.meet_stop])


def test_a_stop_reaches_the_clean_up_after_an_interrupt():
    execution = armed("cut", "stop")
    with pytest.raises(ContainerStopped):
        clean_up(execution, ContainerInterrupted("worker-1"), [])
    assert execution.raised


def test_a_stop_in_the_clean_up_after_an_interrupt_is_cleaned_up_after_too():
    execution = armed("cut", "stop")

    def body():
        try:
            fails(ContainerInterrupted("worker-1"))
        finally:
            clean_up(execution, ContainerStopped("the first"), [execution.meet_stop])

    with pytest.raises(ContainerStopped, match="the first"):
        body()


@pytest.mark.parametrize("error", [ContainerStopped, ExecutionSuperseded])
def test_no_interrupt_in_the_clean_up_after_a_stop(error):
    execution = armed("cut")
    with pytest.raises(error, match="the first"):
        clean_up(execution, error("the first"), [])
    assert not execution.interrupted


@BOTH
def test_shield_defers_an_interrupt_to_its_end(make):
    execution, seen = make("cut"), []

    def body():
        with execution.shielded():
            with execution.shielded():
                execution.meet_stop()
            execution.sleep(0.01)
            seen.append("inside")

    with pytest.raises(ContainerInterrupted):
        body()
    assert seen == ["inside"]


@BOTH
def test_sleep_is_ended_by_an_interrupt(make):
    with pytest.raises(ContainerInterrupted):
        make("cut").sleep(3600)


@pytest.mark.parametrize("word", ["cut", "stop"])
def test_what_is_asked_meanwhile_wakes_a_sleep(word):
    execution, woken = threaded(), []

    class Waking(threading.Event):
        def wait(self, timeout=None):
            {"stop": execution.ask_stop, "cut": execution.ask_cut}[word]()
            woken.append(super().wait(0))

    execution._asked = Waking()
    with pytest.raises(CutShort):
        execution.sleep(3600)
    assert woken == [True]


@pytest.mark.parametrize("state", ["over", "ended"])
def test_no_interrupt_once_it_is_over(state):
    execution = armed("cut")
    setattr(execution, state, True)
    execution.meet_stop()
    assert not execution.interrupted

"""When a stop is raised in a body, and when not any more."""

import inspect
import sys
from types import SimpleNamespace

import pytest

from lifecycle.errors import ContainerStopped
from lifecycle.runtime.execution import Execution
from lifecycle.runtime.page import Page


def asked():
    page = Page()
    page.ask_stop(0, "worker-1", 1)
    return Execution(SimpleNamespace(id="worker-1", epoch=1), page, 0)


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

"""What a container's body may ask: who am I, am I to stop, let me finish this."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lifecycle.domain.container import Container
from lifecycle.domain.ending import as_state
from lifecycle.runtime.execution import current_execution


def current_container() -> Container | None:
    """The container whose body is running here, as it was claimed; None outside of one."""
    execution = current_execution()
    return execution.container if execution is not None and not execution.over else None


def checkpoint(**state: Any) -> None:
    """Raise here if this container is being stopped (ContainerStopped) or its node shuts down (ContainerInterrupted).

    Outside of a container do nothing.

    With `state` it is first added to what the container knows when it runs again: `current_container().state`.
    On threads, gevent and solo pools a stop meets a body only here and in `sleep()`.
    Raises InvalidArgument for a state that is not JSON, ExecutionSuperseded where another execution took over.
    """
    execution = current_execution()
    if execution is None:
        return
    if state:
        execution.keep(as_state(state))
    execution.meet_stop()


def sleep(seconds: float) -> None:
    """Wait `seconds`, keeping the slot; a stop ends the wait with ContainerStopped, a shutdown as `checkpoint`."""
    execution = current_execution()
    if execution is None:
        time.sleep(seconds)
    else:
        execution.sleep(seconds)


@contextmanager
def shield() -> Iterator[None]:
    """Let no stop or interrupt be raised inside the block, but at its end. The kill at the deadline is not deferred."""
    execution = current_execution()
    if execution is None:
        yield
    else:
        with execution.shielded():
            yield

"""How an execution leaves its row: it ends, it rests until its next run, or it is interrupted and goes on later."""

import logging
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore

from lifecycle.domain.container import Container
from lifecycle.domain.ending import Ending, failed, stopped
from lifecycle.domain.status import Status
from lifecycle.errors import ExecutionSuperseded, StoreUnreachable
from lifecycle.runtime.claim import patiently
from lifecycle.runtime.execution import Execution
from lifecycle.store import runs
from lifecycle.store.containers import messages
from lifecycle.store.runs import Moved
from lifecycle.trees import end as ends
from lifecycle.trees import interrupt as interrupts
from lifecycle.trees.doorbell import tell
from lifecycle.trees.interrupt import Cut

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle
    from lifecycle.runtime.task import ContainerTask

log = logging.getLogger("lifecycle.departure")


def end(task: "ContainerTask", execution: Execution, ending: Ending | None) -> None:
    """Write an ending once; None: this execution was superseded and writes nothing."""
    execution.armed, execution.over = False, True
    lifecycle, container = task.lifecycle, execution.container
    _take_back(execution)
    lifecycle.logs_handler.flush()
    try:
        if ending is not None:
            changed = patiently(lifecycle, lambda: ends.end(lifecycle.database, container.id, container.epoch, ending))
            _tell(lifecycle, container, ending, changed)
    except ExecutionSuperseded as error:
        log.warning("ending not written container=%s why=%s", container.id, error)
    except StoreUnreachable as error:
        log.warning("ending not written, the run counts as lost container=%s error=%s", container.id, error)
    finally:
        execution.ended = True


def _tell(lifecycle: "Lifecycle", container: Container, ending: Ending, changed: list[Moved]) -> None:
    """Those who wait: for results, for children that are STOPPING now, for the last child."""
    tell(lifecycle.doorbell, changed)
    if ending.outcome is Status.FAILED and not changed[0].ended:
        lifecycle.doorbell.ring(container.root_id, container.depth)
    elif changed[0].ended and changed[0].previous is Status.STOPPING:
        _wake_above(lifecycle, container, changed)


def _wake_above(lifecycle: "Lifecycle", container: Container, changed: list[Moved]) -> None:
    """The first parent that did not end with it may have waited for it alone."""
    by_id = {moved.id: moved for moved in changed}
    last = changed[0]
    while last.parent in by_id:
        last = by_id[last.parent]
    if last.parent is not None:
        lifecycle.wake_parent(last.parent, container)


def interrupt(task: "ContainerTask", execution: Execution, cut: Cut, instead: Ending | None = None) -> bool:
    """Write that the container goes on later; True if it does, and not its restarts are spent.

    One that is being stopped ends instead: FAILED where `instead` says so, else as stopped, which raises Ignore, as
    one that was taken over does.
    """
    execution.armed, execution.over = False, True
    lifecycle, container = task.lifecycle, execution.container
    _take_back(execution)
    lifecycle.logs_handler.flush()
    key, restarts = (container.id, container.epoch), lifecycle.settings.restarts
    try:
        changed = patiently(lifecycle, lambda: interrupts.interrupt(lifecycle.database, *key, cut, restarts))
    except (ExecutionSuperseded, StoreUnreachable) as error:
        execution.ended = True
        log.warning("interruption not written container=%s why=%s", container.id, error)
        raise Ignore(str(error)) from None
    if changed is None:
        end(task, execution, instead or stopped())
        if instead is None:
            raise Ignore(f"{container.id} was stopped")
        return False
    execution.ended = True
    goes_on = changed[0].status is Status.INTERRUPTED
    log.info("container interrupted container=%s why=%s goes_on=%s", container.id, cut.why, goes_on)
    if not goes_on:  # its own failure is told by the run, which raises it
        _tell(lifecycle, container, failed(cut.why), [replace(moved, lost=None) for moved in changed])
    return goes_on


def rest(
    task: "ContainerTask",
    execution: Execution,
    until: float | datetime,
    *,
    iterations: int = 0,
    state: dict[str, Any] | None = None,
) -> None:
    """Give the slot back; a container that is being stopped, or was taken over, ends instead."""
    container = execution.container
    _take_back(execution)
    task.lifecycle.logs_handler.flush()
    message = _afresh(task, container) if task.request.retries else None
    how: dict[str, Any] = {"until": until, "iterations": iterations, "message": message, "state": state}

    def write() -> bool:
        with task.lifecycle.database.begin() as connection:
            return runs.rest(connection, container.id, container.epoch, **how)

    if patiently(task.lifecycle, write):
        execution.ended = True
    else:
        end(task, execution, stopped())
        raise Ignore(f"{container.id} was stopped")


def _afresh(task: "ContainerTask", container: Container) -> dict[str, Any]:
    """Its message for a run that is no retry: with all its retries."""
    with task.lifecycle.database.read() as connection:
        recorded = messages(connection, [container.id])[container.id] or {}
    options = {name: value for name, value in recorded["options"].items() if name != "retries"}
    return {**recorded, "options": options}


def count(task: "ContainerTask", execution: Execution) -> bool:
    """One more iteration done, without giving the slot back; False if the container is being stopped."""
    container = execution.container

    def write() -> bool:
        with task.lifecycle.database.begin() as connection:
            return runs.count_iteration(connection, container.id, container.epoch)

    return patiently(task.lifecycle, write)


def _take_back(execution: Execution) -> None:
    if execution.take_back():
        log.warning("transaction left open by the body, rolled back container=%s", execution.container.id)

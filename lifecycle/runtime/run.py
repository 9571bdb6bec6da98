"""One run of a container in a pool: claim the row, run the body, write how it ended."""

import logging
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from celery.exceptions import Ignore, Retry
from celery.states import FAILURE, SUCCESS

from lifecycle.domain.container import Container
from lifecycle.domain.ending import Ending, Finish, Later, completed, describe, failed, stopped
from lifecycle.domain.policy import INFINITE
from lifecycle.domain.status import Status
from lifecycle.errors import (
    ContainerInterrupted,
    ContainerStopped,
    ExecutionSuperseded,
    StoreUnreachable,
)
from lifecycle.runtime import execution as executions
from lifecycle.runtime.claim import claim, patiently
from lifecycle.runtime.execution import Execution
from lifecycle.store import runs
from lifecycle.store.containers import messages
from lifecycle.store.runs import Moved
from lifecycle.trees import end as ends
from lifecycle.trees.doorbell import tell
from lifecycle.trees.interrupt import Cut, interrupt
from lifecycle.trees.sweep import NODE_DOWN

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle
    from lifecycle.runtime.task import ContainerTask

log = logging.getLogger("lifecycle.run")
T = TypeVar("T")


def run(task: "ContainerTask", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The body inside its container; raises Ignore for every run that is not to leave a result."""
    execution = claim(task)
    try:
        return _iterate(task, execution, args, kwargs)
    except ContainerInterrupted as cut:
        if execution.can_be_cut_short:
            _drop_connections(task)
        _interrupt(task, execution, NODE_DOWN)
        raise Ignore(str(cut)) from None
    except ContainerStopped as stop:
        execution.raised = True
        if execution.can_be_cut_short:
            _drop_connections(task)
        _end(task, execution, None if isinstance(stop, ExecutionSuperseded) else stopped())
        raise Ignore(str(stop)) from None
    except Retry as retry:
        _interrupt(task, execution, _as_cut(task, execution, retry))
        raise
    except Ignore:
        if not execution.ended:
            _end(task, execution, completed(message="ignored"))
        raise
    except Exception as error:
        _fail(task, execution, error)
        if execution.raised:
            raise Ignore(f"{execution.container.id} was stopped") from None
        raise


def _fail(task: "ContainerTask", execution: Execution, error: Exception) -> None:
    """What comes of a body that raised: it ends, or it is to run again; raises Retry or Ignore then."""
    if execution.raised:
        _end(task, execution, stopped())
    elif execution.interrupted:
        _interrupt(task, execution, NODE_DOWN)
        raise Ignore(f"{execution.container.id} was interrupted") from None
    elif isinstance(error, tuple(task.restart_on)):
        if _interrupt(task, execution, Cut(describe(error)), instead=failed(error)):
            raise Retry(f"restart: {describe(error)}", exc=error) from error
    else:
        _end(task, execution, failed(error))


def _as_cut(task: "ContainerTask", execution: Execution, retry: Retry) -> Cut:
    """`self.retry()`: its own message, count and time; it costs no restart."""
    message, seconds = execution.retry or (None, 0.0)
    limit = task.max_retries if task.override_max_retries is None else task.override_max_retries
    attempt = f"retry {task.request.retries + 1}/{'∞' if limit is None else limit}"
    why = "retry" if retry.exc is None else describe(retry.exc)
    return Cut(why, wait=max(seconds, 0.0), attempt=attempt, message=message)


def _interrupt(task: "ContainerTask", execution: Execution, cut: Cut, instead: Ending | None = None) -> bool:
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
        changed = patiently(lifecycle, lambda: interrupt(lifecycle.database, *key, cut, restarts))
    except (ExecutionSuperseded, StoreUnreachable) as error:
        execution.ended = True
        log.warning("interruption not written container=%s why=%s", container.id, error)
        raise Ignore(str(error)) from None
    if changed is None:
        _end(task, execution, instead or stopped())
        if instead is None:
            raise Ignore(f"{container.id} was stopped")
        return False
    execution.ended = True
    goes_on = changed[0].status is Status.INTERRUPTED
    log.info("container interrupted container=%s why=%s goes_on=%s", container.id, cut.why, goes_on)
    if not goes_on:  # what is left is told by the body's own failure
        tell(lifecycle.doorbell, [replace(moved, lost=None) for moved in changed])
    return goes_on


def _iterate(task: "ContainerTask", execution: Execution, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Iterations back to back without an interval; with one, the slot is given back between them."""
    done, total = execution.container.current_iteration, execution.container.max_iterations
    while True:
        value = execution.body(lambda: task.run(*args, **kwargs))
        if execution.raised:
            raise ContainerStopped(execution.container.id)  # the body swallowed it
        if execution.interrupted and not isinstance(value, Later | Finish):
            raise ContainerInterrupted(execution.container.id)  # it returned early: its work is not done
        if isinstance(value, Later):
            _rest(task, execution, value.until, state={**execution.container.state, **value.state})
            raise Ignore(f"{execution.container.id} goes on later")
        if isinstance(value, Finish):
            execution.message = value.message
            return value.result
        done += 1
        if total != INFINITE and done >= total:
            return value
        interval = execution.container.iteration_interval
        if interval > 0:
            _rest(task, execution, interval, iterations=1)
            raise Ignore(f"{execution.container.id} rests {interval} s")
        if not _count(task, execution):
            raise ContainerStopped(execution.container.id)
        execution.container = replace(execution.container, current_iteration=done)
        if execution.cut_asked:
            raise ContainerInterrupted(execution.container.id)


def _end(task: "ContainerTask", execution: Execution, ending: Ending | None) -> None:
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


def _rest(
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

    def rest() -> bool:
        with task.lifecycle.database.begin() as connection:
            return runs.rest(connection, container.id, container.epoch, **how)

    if patiently(task.lifecycle, rest):
        execution.ended = True
    else:
        _end(task, execution, stopped())
        raise Ignore(f"{container.id} was stopped")


def _afresh(task: "ContainerTask", container: Container) -> dict[str, Any]:
    """Its message for a run that is no retry: with all its retries."""
    with task.lifecycle.database.read() as connection:
        recorded = messages(connection, [container.id])[container.id] or {}
    options = {name: value for name, value in recorded["options"].items() if name != "retries"}
    return {**recorded, "options": options}


def _take_back(execution: Execution) -> None:
    if execution.take_back():
        log.warning("transaction left open by the body, rolled back container=%s", execution.container.id)


def _drop_connections(task: "ContainerTask") -> None:
    """The stop may have cut a publish short: what this process goes on with must not read the other half.

    A pool that was emptied is filled again, else the next publish would wait for ever.
    """
    for pool in (task.app.producer_pool, task.app.pool):
        pool.force_close_all(close_pool=False)
        pool.setup()


def _count(task: "ContainerTask", execution: Execution) -> bool:
    """One more iteration done, without giving the slot back; False if the container is being stopped."""
    container = execution.container

    def count() -> bool:
        with task.lifecycle.database.begin() as connection:
            return runs.count_iteration(connection, container.id, container.epoch)

    return patiently(task.lifecycle, count)


def finish(task: "ContainerTask", task_id: str, state: str | None, value: Any) -> None:
    """After Celery stored the result and published successors: the normal ending, and the way out."""
    execution = executions.current_execution()
    if execution is None or execution.container.id != task_id:
        return
    try:
        if not execution.ended and state in {SUCCESS, FAILURE}:
            ending = completed(value, execution.message) if state == SUCCESS else failed(str(value))
            _end(task, execution, ending)
    finally:
        executions.leave()
        task.lifecycle.seat().clear()

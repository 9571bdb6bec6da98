"""One run of a container in a pool: claim the row, run the body, write how it ended."""

import json
import logging
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore, Retry
from celery.states import FAILURE, SUCCESS

from lifecycle.domain.ending import Ending, completed, failed, stopped
from lifecycle.domain.policy import INFINITE, STOPPED_BY_USER
from lifecycle.domain.status import Status
from lifecycle.errors import (
    ContainerExists,
    ContainerNotFound,
    ContainerStopped,
    ExecutionSuperseded,
    LifecycleError,
)
from lifecycle.runtime import execution as executions
from lifecycle.runtime.execution import Execution
from lifecycle.runtime.message import as_call, header_in, parent_in
from lifecycle.store import runs
from lifecycle.trees import end as ends
from lifecycle.trees.spawn import Birth, spawn

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle
    from lifecycle.runtime.task import ContainerTask

log = logging.getLogger("lifecycle.run")


def run(task: "ContainerTask", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The body inside its container; raises Ignore for every run that is not to leave a result."""
    execution = _claim(task)
    try:
        return _iterate(task, execution, args, kwargs)
    except ContainerStopped as stop:
        execution.raised = True
        _end(task, execution, None if isinstance(stop, ExecutionSuperseded) else stopped())
        raise Ignore(str(stop)) from None
    except Retry:
        _rest(task, execution, *_again(execution), iterations=0)
        raise
    except Ignore:
        _end(task, execution, completed(message="ignored"))
        raise
    except Exception as error:
        _end(task, execution, stopped() if execution.raised else failed(error))
        if execution.raised:
            raise Ignore(f"{execution.container.id} was stopped") from None
        raise


def _iterate(task: "ContainerTask", execution: Execution, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Iterations back to back without an interval; with one, the slot is given back between them."""
    done, total = execution.container.current_iteration, execution.container.max_iterations
    while True:
        value = execution.body(lambda: task.run(*args, **kwargs))
        if execution.raised:
            raise ContainerStopped(execution.container.id)  # the body swallowed it
        done += 1
        if total != INFINITE and done >= total:
            return value
        interval = execution.container.iteration_interval
        if interval > 0:
            _rest(task, execution, None, interval, iterations=1)
            raise Ignore(f"{execution.container.id} rests {interval} s")
        _count(task, execution)


def _claim(task: "ContainerTask") -> Execution:
    """Take the row for this process; raises Ignore if it is not to be run here and now."""
    lifecycle, request = task.lifecycle, task.request
    said = header_in(request)
    database = said.get("database", lifecycle.database.id)
    if database != lifecycle.database.id:
        log.error("message of another database not run container=%s database=%s", request.id, database)
        raise Ignore(f"{request.id} belongs to another database")
    if not said.get("recorded"):
        _record_arrival(task)
    seat = lifecycle.seat()
    executions.install_stop_signal()
    seat.begin(request.id)
    with lifecycle.database.begin() as connection:
        claimed = seat.may_claim() and runs.claim(
            connection, request.id, node=seat.node, pid=seat.pid, pid_started=seat.pid_started
        )
    if not claimed:
        seat.clear()
        raise _lost(lifecycle, request.id)
    execution = seat.execution(lifecycle.keep(claimed))
    executions.enter(execution)
    return execution


def _record_arrival(task: "ContainerTask") -> None:
    """A message from elsewhere (by name, another language) gets its row now; a second delivery finds it there."""
    request, lifecycle = task.request, task.lifecycle
    options = request.as_execution_options()
    options.pop("task_id", None)
    birth = Birth(
        id=request.id,
        container_type=task.type_name,
        by=request.origin or "message",
        parent=parent_in(header_in(request)),
        message=as_call(task.name, request.args, request.kwargs, options),
        queue=(request.delivery_info or {}).get("routing_key"),
        max_iterations=task.iterations,
        iteration_interval=task.interval,
        grace=lifecycle.settings.grace if task.grace is None else task.grace,
    )
    try:
        spawn(lifecycle.database, birth)
    except ContainerExists:
        return
    except (LifecycleError, ContainerStopped) as error:
        log.warning("message not run container=%s why=%s", request.id, error)
        lifecycle.doorbell.revoked([request.id], str(error))
        raise Ignore(str(error)) from None


def _lost(lifecycle: "Lifecycle", container_id: str) -> Ignore:
    """Why the claim failed, told once: duplicate and late messages are ordinary."""
    try:
        row = lifecycle.get(container_id)
    except ContainerNotFound:
        log.warning("message without its row dropped container=%s", container_id)
        return Ignore(f"{container_id} has no row")
    if row.status is Status.STOPPED:
        lifecycle.doorbell.revoked([container_id], row.exit_message or STOPPED_BY_USER)
    log.debug("claim lost container=%s status=%s", container_id, row.status)
    return Ignore(f"{container_id} is {row.status}")


def _end(task: "ContainerTask", execution: Execution, ending: Ending | None) -> None:
    """Write an ending once; None: this execution was superseded and writes nothing."""
    execution.over = execution.ended = True
    lifecycle, container = task.lifecycle, execution.container
    lifecycle.logs_handler.flush()
    if ending is None:
        return
    try:
        changed = ends.end(lifecycle.database, container.id, container.epoch, ending)
    except ExecutionSuperseded as error:
        log.warning("ending not written container=%s why=%s", container.id, error)
        return
    lifecycle.doorbell.revoked([each.id for each in changed if each.status is Status.STOPPED], STOPPED_BY_USER)
    if ending.outcome is Status.FAILED and not changed[0].ended:
        lifecycle.doorbell.ring(container.root_id, container.depth)  # its children are STOPPING now
    elif len(changed) == 1 and changed[0].parent is not None:
        lifecycle.wake_parent(container)


def _rest(
    task: "ContainerTask", execution: Execution, message: dict[str, Any] | None, seconds: float, *, iterations: int
) -> None:
    """Give the slot back; a container that is being stopped, or was taken over, ends instead."""
    container = execution.container
    task.lifecycle.logs_handler.flush()
    with task.lifecycle.database.begin() as connection:
        rests = runs.rest(
            connection, container.id, container.epoch, seconds=seconds, iterations=iterations, message=message
        )
    if rests:
        execution.ended = True
    else:
        _end(task, execution, stopped())
        raise Ignore(f"{container.id} was stopped")


def _again(execution: Execution) -> tuple[dict[str, Any] | None, float]:
    """The message and the delay that `self.retry()` asked for."""
    return execution.retry or (None, 0.0)


def _count(task: "ContainerTask", execution: Execution) -> None:
    """One more iteration done, without giving the slot back."""
    container = execution.container
    with task.lifecycle.database.begin() as connection:
        runs.count_iteration(connection, container.id, container.epoch)


def finish(task: "ContainerTask", task_id: str, state: str | None, value: Any) -> None:
    """After Celery stored the result and published successors: the normal ending, and the way out."""
    execution = executions.current_execution()
    if execution is None or execution.container.id != task_id:
        return
    try:
        if not execution.ended and state in {SUCCESS, FAILURE}:
            _end(task, execution, completed(_as_json(value)) if state == SUCCESS else failed(str(value)))
    finally:
        executions.leave()
        task.lifecycle.seat().clear()


def _as_json(value: Any) -> Any:
    """A body's result as the row can keep it."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return repr(value)

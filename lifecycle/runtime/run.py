"""One run of a container in a pool: claim the row, run the body, write how it ended."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from celery.exceptions import Ignore, Retry
from celery.states import FAILURE, SUCCESS
from kombu.utils.functional import retry_over_time

from lifecycle.domain.container import Container
from lifecycle.domain.ending import Ending, Finish, Later, completed, failed, stopped
from lifecycle.domain.policy import INFINITE, STOPPED_BY_USER
from lifecycle.domain.status import Status
from lifecycle.errors import (
    ContainerExists,
    ContainerNotFound,
    ContainerStopped,
    ExecutionSuperseded,
    LifecycleError,
    StoreUnreachable,
)
from lifecycle.runtime import execution as executions
from lifecycle.runtime.execution import Execution
from lifecycle.runtime.message import as_call, header_in, parent_in
from lifecycle.runtime.seat import Seat
from lifecycle.store import runs
from lifecycle.store.runs import Moved
from lifecycle.trees import end as ends
from lifecycle.trees.doorbell import stopped_ids
from lifecycle.trees.spawn import Birth, spawn

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle
    from lifecycle.runtime.task import ContainerTask

log = logging.getLogger("lifecycle.run")
T = TypeVar("T")


def run(task: "ContainerTask", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The body inside its container; raises Ignore for every run that is not to leave a result."""
    execution = _claim(task)
    try:
        return _iterate(task, execution, args, kwargs)
    except ContainerStopped as stop:
        execution.raised = True
        if execution.can_be_cut_short:
            _drop_connections(task)
        _end(task, execution, None if isinstance(stop, ExecutionSuperseded) else stopped())
        raise Ignore(str(stop)) from None
    except Retry:
        message, seconds = execution.retry or (None, 0.0)
        _rest(task, execution, seconds, message=message)
        raise
    except Ignore:
        if not execution.ended:
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


def _claim(task: "ContainerTask") -> Execution:
    """Take the row for this process; raises Ignore if it is not to be run here and now."""
    lifecycle, container_id = task.lifecycle, task.request.id
    _admit(task)
    seat = lifecycle.seat()
    executions.install_stop_signal()
    seat.begin(container_id)
    claimed = None
    try:
        claimed = _patiently(lifecycle, lambda: _take(lifecycle, seat, container_id))
        if claimed is None:
            raise _lost(lifecycle, container_id)
    except StoreUnreachable as error:
        raise _unreached(container_id, error) from None
    finally:
        if claimed is None:
            seat.clear()
    execution = seat.execution(lifecycle.keep(claimed))
    executions.enter(execution)
    return execution


def _admit(task: "ContainerTask") -> None:
    """Refuse messages of another database; give a message that nobody recorded its row."""
    lifecycle, request = task.lifecycle, task.request
    said = header_in(request)
    try:
        ours = lifecycle.database.id
    except StoreUnreachable as error:
        raise _unreached(request.id, error) from None
    if said.get("database", ours) != ours:
        log.error("message of another database not run container=%s database=%s", request.id, said["database"])
        raise Ignore(f"{request.id} belongs to another database")
    if not said.get("recorded"):
        _record_arrival(task)


def _unreached(container_id: str, error: StoreUnreachable) -> Ignore:
    log.warning("not claimed, the row stays due container=%s error=%s", container_id, error)
    return Ignore(str(error))


def _take(lifecycle: "Lifecycle", seat: Seat, container_id: str) -> Container | None:
    """The claim itself; the fence is armed before it."""
    if not seat.may_claim():
        return None
    with lifecycle.database.begin() as connection:
        return runs.claim(connection, container_id, node=seat.node, pid=seat.pid, pid_started=seat.pid_started)


def _patiently(lifecycle: "Lifecycle", write: Callable[[], T]) -> T:
    """Write once the database can be reached: for the length of a lease, then the fence has the word."""
    patience = lifecycle.settings.lease
    written: T = retry_over_time(
        write, StoreUnreachable, interval_start=0.1, interval_step=0.2, interval_max=1.0, timeout=patience
    )
    return written


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
        _patiently(lifecycle, lambda: spawn(lifecycle.database, birth))
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
    execution.armed, execution.over = False, True
    lifecycle, container = task.lifecycle, execution.container
    lifecycle.logs_handler.flush()
    try:
        if ending is not None:
            changed = _patiently(lifecycle, lambda: ends.end(lifecycle.database, container.id, container.epoch, ending))
            _tell(lifecycle, container, ending, changed)
    except ExecutionSuperseded as error:
        log.warning("ending not written container=%s why=%s", container.id, error)
    except StoreUnreachable as error:
        log.warning("ending not written, the run counts as lost container=%s error=%s", container.id, error)
    finally:
        execution.ended = True


def _tell(lifecycle: "Lifecycle", container: Container, ending: Ending, changed: list[Moved]) -> None:
    """Those who wait: for results, for children that are STOPPING now, for the last child."""
    lifecycle.doorbell.revoked(stopped_ids(changed), STOPPED_BY_USER)
    if ending.outcome is Status.FAILED and not changed[0].ended:
        lifecycle.doorbell.ring(container.root_id, container.depth)
    elif changed[0].ended and changed[0].previous is Status.STOPPING and changed[-1].parent is not None:
        lifecycle.wake_parent(changed[-1].parent, container)


def _rest(
    task: "ContainerTask",
    execution: Execution,
    until: float | datetime,
    *,
    iterations: int = 0,
    message: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
) -> None:
    """Give the slot back; a container that is being stopped, or was taken over, ends instead."""
    container = execution.container
    task.lifecycle.logs_handler.flush()
    how: dict[str, Any] = {"until": until, "iterations": iterations, "message": message, "state": state}

    def rest() -> bool:
        with task.lifecycle.database.begin() as connection:
            return runs.rest(connection, container.id, container.epoch, **how)

    if _patiently(task.lifecycle, rest):
        execution.ended = True
    else:
        _end(task, execution, stopped())
        raise Ignore(f"{container.id} was stopped")


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

    return _patiently(task.lifecycle, count)


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

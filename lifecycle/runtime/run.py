"""One run of a container in a pool: claim the row, run the body, write how it ended."""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded
from celery.states import FAILURE, RETRY, SUCCESS

from lifecycle.domain.ending import Finish, Later, completed, describe, failed, stopped
from lifecycle.domain.policy import INFINITE, STOPPED_BY_USER
from lifecycle.domain.status import Status
from lifecycle.errors import ContainerInterrupted, ContainerStopped, ExecutionSuperseded, LifecycleError
from lifecycle.runtime import departure, signals
from lifecycle.runtime import execution as executions
from lifecycle.runtime.claim import claim
from lifecycle.runtime.execution import Execution
from lifecycle.trees.interrupt import Cut
from lifecycle.trees.sweep import NODE_DOWN

if TYPE_CHECKING:
    from lifecycle.runtime.task import ContainerTask

log = logging.getLogger("lifecycle.run")


def run(task: "ContainerTask", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The body inside its container; raises Ignore for every run that is not to leave a result."""
    execution = claim(task)
    try:
        return _iterate(task, execution, args, kwargs)
    except ContainerInterrupted as cut:
        if execution.can_be_cut_short:
            _drop_connections(task)
        departure.interrupt(task, execution, NODE_DOWN)
        raise Ignore(str(cut)) from None
    except ContainerStopped as stop:
        execution.raised = True
        if execution.can_be_cut_short:
            _drop_connections(task)
        departure.end(task, execution, None if isinstance(stop, ExecutionSuperseded) else stopped())
        raise Ignore(str(stop)) from None
    except Retry as retry:
        departure.interrupt(task, execution, _as_cut(task, execution, retry))
        raise
    except Ignore:
        if not execution.ended:
            departure.end(task, execution, completed(message="ignored"))
        raise
    except Exception as error:
        _fail(task, execution, error)
        if execution.raised:
            raise Ignore(f"{execution.container.id} was stopped") from None
        raise


def _fail(task: "ContainerTask", execution: Execution, error: Exception) -> None:
    """What comes of a body that raised: it ends, or it is to run again; raises Retry or Ignore then."""
    if execution.raised:
        departure.end(task, execution, stopped())
    elif execution.interrupted:
        departure.interrupt(task, execution, NODE_DOWN)
        raise Ignore(f"{execution.container.id} was interrupted") from None
    elif isinstance(error, tuple(task.restart_on)):
        told = _told(task, error)
        if departure.interrupt(task, execution, Cut(told), instead=failed(told)):
            raise Retry(f"restart: {told}", exc=error) from error
    elif isinstance(error, Reject):
        departure.end(task, execution, failed(error))
    else:
        execution.failure = failed(_told(task, error), forgiven=isinstance(error, tuple(task.forgive_on)))


def _told(task: "ContainerTask", error: Exception) -> str:
    """An error as rows keep it; Celery's soft limit has no text of its own."""
    if not isinstance(error, SoftTimeLimitExceeded):
        return describe(error)
    _, soft = task.request.timelimit or (None, None)
    seconds = soft or task.soft_time_limit or task.app.conf.task_soft_time_limit  # Celery 5.5 tells the pool alone
    return f"soft time limit of {seconds:g} s exceeded" if seconds else "soft time limit exceeded"


def _as_cut(task: "ContainerTask", execution: Execution, retry: Retry) -> Cut:
    """`self.retry()`: its own message, count and time; it costs no restart."""
    message, seconds = execution.retry or (None, 0.0)
    limit = task.max_retries
    attempt = f"retry {task.request.retries + 1}/{'∞' if limit is None else limit}"
    why = "retry" if retry.exc is None else _told(task, retry.exc)
    return Cut(why, wait=max(seconds, 0.0), attempt=attempt, message=message)


def _iterate(task: "ContainerTask", execution: Execution, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Iterations back to back without an interval; with one, the slot is given back between them."""
    done, total = execution.container.current_iteration, execution.container.max_iterations
    while True:
        value = execution.body(lambda: task.run(*args, **kwargs))
        _raise_what_was_swallowed(execution, value)
        if isinstance(value, Later):
            departure.rest(task, execution, value.until, state={**execution.container.state, **value.state})
            raise Ignore(f"{execution.container.id} goes on later")
        if isinstance(value, Finish):
            execution.message = value.message
            return value.result
        done += 1
        if total != INFINITE and done >= total:
            return value
        interval = execution.container.iteration_interval
        if interval > 0:
            departure.rest(task, execution, interval, iterations=1)
            raise Ignore(f"{execution.container.id} rests {interval} s")
        if not departure.count(task, execution):
            raise ContainerStopped(execution.container.id)
        execution.container = replace(execution.container, current_iteration=done)
        if execution.cut_asked:
            raise ContainerInterrupted(execution.container.id)


def _raise_what_was_swallowed(execution: Execution, value: Any) -> None:
    """A body may catch what ends it, and return; or retry with `throw=False`, and go on."""
    if execution.raised:
        raise ContainerStopped(execution.container.id)
    if execution.interrupted and not isinstance(value, Later | Finish):
        raise ContainerInterrupted(execution.container.id)  # it returned early: its work is not done
    if execution.retry is not None:
        raise Retry(f"{execution.container.id} was retried by its body, which went on")


def _drop_connections(task: "ContainerTask") -> None:
    """The stop may have cut a publish short: what this process goes on with must not read the other half.

    A pool that was emptied is filled again, else the next publish would wait for ever.
    """
    for pool in (task.app.producer_pool, task.app.pool):
        pool.force_close_all(close_pool=False)
        pool.setup()


def finish(task: "ContainerTask", task_id: str, state: str | None, value: Any) -> None:
    """After Celery stored the result and published successors: the normal ending, and the way out."""
    execution = executions.current_execution()
    if execution is None or execution.container.id != task_id:
        return
    try:
        if state == RETRY:
            _tell_again(task, task_id)
        if not execution.ended and (execution.failure or state in {SUCCESS, FAILURE}):
            done = completed(value, execution.message) if state == SUCCESS else failed(str(value))
            departure.end(task, execution, execution.failure or done)
    finally:
        executions.leave()
        signals.give_back()
        task.lifecycle.seat().clear()


def _tell_again(task: "ContainerTask", task_id: str) -> None:
    """Celery has stored RETRY after the row was given back: a stop that came between has said REVOKED before."""
    try:
        row = task.lifecycle.get(task_id)
    except LifecycleError as error:
        log.info("not looked at after a retry container=%s error=%s", task_id, error)
        return
    if row.status is Status.STOPPED:
        task.lifecycle.doorbell.revoked([task_id], row.exit_message or STOPPED_BY_USER)

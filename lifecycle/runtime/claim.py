"""How an execution takes its row: admitted, recorded if nobody did, claimed; or why not."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from celery.app.task import Task
from celery.exceptions import Ignore
from kombu.utils.functional import retry_over_time

from lifecycle.domain.container import Container
from lifecycle.domain.policy import STOPPED_BY_USER
from lifecycle.domain.status import Status
from lifecycle.errors import (
    ContainerExists,
    ContainerNotFound,
    ContainerStopped,
    LifecycleError,
    StoreUnreachable,
)
from lifecycle.runtime import execution as executions
from lifecycle.runtime import signals
from lifecycle.runtime.execution import Execution
from lifecycle.runtime.holds import held
from lifecycle.runtime.message import as_call, header_in, parent_in, with_header
from lifecycle.runtime.refusal import refuse
from lifecycle.runtime.seat import Seat
from lifecycle.store import runs
from lifecycle.trees.dispatch import put_back
from lifecycle.trees.spawn import Birth, Parent, spawn

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle
    from lifecycle.runtime.task import ContainerTask

log = logging.getLogger("lifecycle.claim")
T = TypeVar("T")


def claim(task: "ContainerTask") -> Execution:
    """Take the row for this process; raises Ignore if it is not to be run here and now."""
    signals.install()
    try:
        execution = _claim(task)
    except BaseException:
        signals.give_back()
        raise
    signals.meet(execution)
    return execution


def _claim(task: "ContainerTask") -> Execution:
    lifecycle, container_id = task.lifecycle, task.request.id
    _admit(task)
    seat = lifecycle.seat()
    if seat.leaving:
        raise _left_to_others(lifecycle, container_id)
    seat.begin(container_id)
    claimed = None
    try:
        claimed = patiently(lifecycle, lambda: _take(lifecycle, seat, container_id))
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
    """Refuse messages of another database; give a message that nobody recorded its row.

    A body of another app may have sent it through a mere client: its parent is in that database, the rest is ours.
    """
    lifecycle, request = task.lifecycle, task.request
    said = header_in(request)
    try:
        ours = lifecycle.database.id
    except StoreUnreachable as error:
        raise (_unreached(request.id, error) if said.get("recorded") else _sent_again(task, error)) from None
    is_ours = said.get("database", ours) == ours
    if said.get("recorded") and not is_ours:
        log.error("message of another database not run container=%s database=%s", request.id, said["database"])
        raise Ignore(f"{request.id} belongs to another database")
    if not said.get("recorded"):
        _record_arrival(task, parent_in(said) if is_ours else None)


def _left_to_others(lifecycle: "Lifecycle", container_id: str) -> Ignore:
    """The node shuts down and has taken the message: another one is sent."""
    try:
        put_back(lifecycle.database, [container_id])
        log.info("not claimed, the node shuts down container=%s", container_id)
    except StoreUnreachable as error:  # then it is found as a message that was lost
        log.warning("not claimed, the node shuts down container=%s error=%s", container_id, error)
    return Ignore(f"{container_id} runs elsewhere")


def _unreached(container_id: str, error: StoreUnreachable) -> Ignore:
    log.warning("not claimed, the row stays due container=%s error=%s", container_id, error)
    return Ignore(str(error))


def _sent_again(task: "ContainerTask", error: StoreUnreachable) -> Ignore:
    """Only its message knows of it: another one comes when the database may be there again."""
    request, options = task.request, _options_of(task.request)
    # The task's own defaults fill what is left out; what expires never is to stay so.
    options = {name: value for name, value in options.items() if value is not None or name == "expires"}
    options |= {"task_id": request.id, "countdown": task.lifecycle.settings.lease, "add_to_parent": False}
    if said := header_in(request):
        options = with_header(options, said)
    try:
        Task.apply_async(task, request.args, request.kwargs, **options)
        log.warning("not recorded, its message is sent again container=%s error=%s", request.id, error)
    except Exception as failure:  # noqa: BLE001 - whatever the broker's client raises: no broker, no database
        log.error("message lost container=%s error=%s broker=%s", request.id, error, failure)  # noqa: TRY400
        refuse(task.app, request.id, options, str(error))
    return Ignore(str(error))


def _take(lifecycle: "Lifecycle", seat: Seat, container_id: str) -> Container | None:
    """The claim itself; the fence is armed before it."""
    if not seat.may_claim():
        return None
    with lifecycle.database.begin() as connection:
        return runs.claim(connection, container_id, node=seat.node, pid=seat.pid, pid_started=seat.pid_started)


def patiently(lifecycle: "Lifecycle", write: Callable[[], T]) -> T:
    """Write once the database can be reached: for the length of a lease, then the fence has the word."""
    patience = lifecycle.settings.lease
    written: T = retry_over_time(
        write, StoreUnreachable, interval_start=0.1, interval_step=0.2, interval_max=1.0, timeout=patience
    )
    return written


def _record_arrival(task: "ContainerTask", parent: Parent | None) -> None:
    """A message from elsewhere (by name, another language) gets its row now; a second delivery finds it there."""
    request, lifecycle = task.request, task.lifecycle
    options = _options_of(request)
    quarantine = lifecycle.settings.quarantine
    birth = Birth(
        id=request.id,
        container_type=task.type_name,
        by=request.origin or "message",
        parent=parent,
        message=as_call(task.name, request.args, request.kwargs, options),
        queue=(request.delivery_info or {}).get("routing_key"),
        max_iterations=task.iterations,
        iteration_interval=task.interval,
        max_restarts=lifecycle.settings.max_restarts if task.max_restarts is None else task.max_restarts,
        grace=lifecycle.settings.grace if task.grace is None else task.grace,
    )
    try:
        birth = replace(birth, resources=_held(task))
        patiently(lifecycle, lambda: spawn(lifecycle.database, birth, quarantine=quarantine))
    except ContainerExists:
        return
    except StoreUnreachable as error:
        raise _sent_again(task, error) from None
    except (LifecycleError, ContainerStopped) as error:
        log.warning("message not run container=%s why=%s", request.id, error)
        refuse(task.app, request.id, options, str(error))
        raise Ignore(str(error)) from None


def _held(task: "ContainerTask") -> tuple[str, ...]:
    """What its type holds; arguments that the body does not take fail it as it is called."""
    try:
        return held(task, task.request.args or (), task.request.kwargs or {})
    except TypeError:
        return ()


def _options_of(request: Any) -> dict[str, Any]:
    """How its message was sent, and its next one is to be: Celery's own list misses some."""
    options: dict[str, Any] = request.as_execution_options()
    del options["task_id"]
    came = request.delivery_info or {}
    to = ("queue",) if not came.get("exchange") else ("routing_key",)
    options |= dict.fromkeys(to, came.get("routing_key"))
    return {
        **options,
        "exchange": came.get("exchange") or None,
        "priority": came.get("priority"),
        "ignore_result": vars(request).get("ignore_result"),
    }


def _lost(lifecycle: "Lifecycle", container_id: str) -> Ignore:
    """Why the claim failed, told once: duplicate and late messages are ordinary."""
    try:
        row = lifecycle.get(container_id)
    except ContainerNotFound:
        log.warning("message without its row dropped container=%s", container_id)
        return Ignore(f"{container_id} has no row")
    if row.status is Status.STOPPED:
        lifecycle.doorbell.revoked_unless_told(container_id, row.exit_message or STOPPED_BY_USER)
    log.debug("claim lost container=%s status=%s", container_id, row.status)
    return Ignore(f"{container_id} is {row.status}")

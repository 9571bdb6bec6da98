"""From a call to a recorded, published container: the row first, commit, then the message."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celery import current_task
from celery.app.task import Task
from celery.result import AsyncResult

from lifecycle.domain.container import MAX_ID, Container, new_id
from lifecycle.errors import ContainerExists, InvalidArgument
from lifecycle.runtime.execution import current_execution
from lifecycle.runtime.message import OF_THE_ROW, as_call, header, header_in, parent_in, with_header
from lifecycle.trees.dispatch import put_back
from lifecycle.trees.spawn import Birth, Parent, spawn

if TYPE_CHECKING:
    from lifecycle.runtime.task import ContainerTask

log = logging.getLogger("lifecycle.launch")
GENERATED_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a caller asks of a new container beyond its message."""

    player_id: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    resources: tuple[str, ...] = ()
    detach: bool = False
    grace: float | None = None
    container_id: str | None = None
    parent_container_id: str | None = None


def launch(task: "ContainerTask", args: Any, kwargs: Any, wish: Wish, options: dict[str, Any]) -> Container:
    """Record a container and publish its message; without a broker the row stays due for the dispatcher."""
    _check(task, args, kwargs, wish, options)
    wake_in, expires_in = _seconds(options, "countdown", "eta"), _seconds(options, "expires", "expires")
    call = as_call(task.name, args, kwargs, options)
    with _unstopped():
        container = _record(task, wish, call, wake_in=wake_in, expires_in=expires_in)
        if wake_in is None:
            _publish(task, container, args, kwargs, options)
    return container


def republish(task: "ContainerTask", args: Any, kwargs: Any, task_id: str, options: dict[str, Any]) -> AsyncResult:
    """A retry of the running container: its row stays, its message and time are noted, the dispatcher sends it."""
    execution = current_execution()
    if execution is not None:
        execution.retry = (as_call(task.name, args, kwargs, options), _seconds(options, "countdown", "eta") or 0.0)
    return task.AsyncResult(task_id)


def running_parent() -> Parent | None:
    """Who spawns here: the container whose body runs, or the one a plain task's message names.

    What a run publishes after its body is its sibling: steps of a chain are no children of each other.
    """
    execution = current_execution()
    if execution is not None and not execution.over:
        return Parent(id=execution.container.id, epoch=execution.container.epoch)
    if execution is not None:
        above = execution.container.parent_container_id
        return Parent(id=above, epoch=execution.container.parent_epoch) if above else None
    return parent_in(header_in(current_task.request)) if current_task else None


def _check(task: "ContainerTask", args: Any, kwargs: Any, wish: Wish, options: dict[str, Any]) -> None:
    """What Celery would find only after the row was there."""
    if task.typing and hasattr(task, "__header__"):
        task.__header__(*(args or ()), **(kwargs or {}))
    wanted = wish.container_id
    if wanted is not None and not 0 < len(wanted) <= MAX_ID:
        raise InvalidArgument(f"a container id has 1 to {MAX_ID} characters, not {len(wanted)}")
    if options.get("countdown") is not None and options.get("eta") is not None:
        raise InvalidArgument("give countdown or eta, not both")
    for name, value in wish.tags.items():
        if not (isinstance(name, str) and isinstance(value, str) and 0 < len(name) <= MAX_ID >= len(value)):
            raise InvalidArgument(f"tags are text of at most {MAX_ID} characters, not {name!r}: {value!r}")
    if isinstance(wish.player_id, bool) or not isinstance(wish.player_id, int | None):
        raise InvalidArgument(f"player_id is a whole number, not {wish.player_id!r}")
    if wish.grace is not None and wish.grace < 0:
        raise InvalidArgument(f"grace is a number of seconds from 0, not {wish.grace}")
    for resource in wish.resources:
        if not (isinstance(resource, str) and 0 < len(resource) <= MAX_ID):
            raise InvalidArgument(f"a resource is a name of 1 to {MAX_ID} characters, not {resource!r}")


def _record(
    task: "ContainerTask", wish: Wish, call: dict[str, Any], *, wake_in: float | None, expires_in: float | None
) -> Container:
    """Insert the row; a generated id that exists gets a new suffix."""
    lifecycle = task.lifecycle
    parent = running_parent()
    if wish.parent_container_id is not None and (parent is None or parent.id != wish.parent_container_id):
        parent = Parent(id=wish.parent_container_id)
    for attempt in range(GENERATED_TRIES):
        birth = Birth(
            id=wish.container_id or new_id(task.type_name, wish.resources),
            container_type=task.type_name,
            by=parent.id if parent else lifecycle.who,
            parent=parent,
            player_id=wish.player_id,
            tags=wish.tags,
            resources=wish.resources,
            detached=wish.detach,
            message=call,
            queue=_queue(task, call),
            max_iterations=task.iterations,
            iteration_interval=task.interval,
            grace=next(g for g in (wish.grace, task.grace, lifecycle.settings.grace) if g is not None),
            wake_in=wake_in,
            expires_in=expires_in,
        )
        try:
            return lifecycle.keep(spawn(lifecycle.database, birth))
        except ContainerExists:
            if wish.container_id is not None or attempt == GENERATED_TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _publish(task: "ContainerTask", container: Container, args: Any, kwargs: Any, options: dict[str, Any]) -> None:
    lifecycle = task.lifecycle
    said = with_header(options, header(lifecycle, recorded=True))
    sent = {name: value for name, value in said.items() if name not in OF_THE_ROW}
    try:
        lifecycle.doorbell.reach()
        Task.apply_async(task, args, kwargs, task_id=container.id, **sent)
    except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, the row is there and stays due
        log.warning("message not published, the dispatcher will container=%s error=%s", container.id, error)
        put_back(lifecycle.database, [container.id])


def _queue(task: "ContainerTask", call: dict[str, Any]) -> str | None:
    """The queue that Celery's routes choose for this message."""
    routed = task.app.amqp.router.route(dict(call["options"]), task.name, call["args"], call["kwargs"], task)
    queue = routed.get("queue")
    return None if queue is None else str(getattr(queue, "name", queue))


@contextmanager
def _unstopped() -> Iterator[None]:
    """No stop is raised in our own transactions."""
    execution = current_execution()
    if execution is None:
        yield
    else:
        with execution.shielded():
            yield


def _seconds(options: dict[str, Any], relative: str, absolute: str) -> float | None:
    """Celery's countdown, eta or expires as seconds from now."""
    value = options.get(relative)
    if value is None:
        value = options.get(absolute)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - datetime.now(UTC)).total_seconds()
    return None if value is None else float(value)

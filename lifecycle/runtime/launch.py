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

from lifecycle.domain.container import MAX_ID, Container, check_id, new_id
from lifecycle.domain.policy import check_seconds
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
    options = {**_options_of(task), **options}
    _check_call(task, args, kwargs, options)
    _check_wish(wish)
    wake_in, expires_in = _seconds(options, "countdown", "eta"), _seconds(options, "expires")
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
        here = execution.container
        above = here.parent_container_id
        return Parent(id=above, born_of=here.parent_epoch, through=here.id) if above else None
    return parent_in(header_in(current_task.request)) if current_task else None


def _check_call(task: "ContainerTask", args: Any, kwargs: Any, options: dict[str, Any]) -> None:
    """What Celery would find only after the row was there."""
    if task.app.conf.task_always_eager:
        raise InvalidArgument("task_always_eager runs no containers: call the task as a function, or turn it off")
    if "task_id" in options:
        raise InvalidArgument("a container's task id is its container_id: give that")
    if options.get("countdown") is not None and options.get("eta") is not None:
        raise InvalidArgument("give countdown or eta, not both")
    if task.typing and hasattr(task, "__header__"):
        task.__header__(*(args or ()), **(kwargs or {}))


def _check_wish(wish: Wish) -> None:
    """What the columns cannot hold, said before the database says it less well."""
    if wish.container_id is not None:
        check_id(wish.container_id)
    if wish.grace is not None:
        check_seconds("grace", wish.grace)
    if isinstance(wish.player_id, bool) or not isinstance(wish.player_id, int | None):
        raise InvalidArgument(f"player_id is a whole number, not {wish.player_id!r}")
    for name, value in wish.tags.items():
        _check_text("a tag's name", name, least=1)
        _check_text(f"tag {name}", value, least=0)
    for resource in wish.resources:
        _check_text("a resource", resource, least=1)


def _check_text(what: str, value: Any, *, least: int) -> None:
    if not (isinstance(value, str) and least <= len(value) <= MAX_ID and "\x00" not in value):
        raise InvalidArgument(f"{what} is text of {least} to {MAX_ID} characters, not {value!r}")


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
    sent = {**said, **dict.fromkeys(OF_THE_ROW)}
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


def _options_of(task: "ContainerTask") -> dict[str, Any]:
    """What the task's own options say of every message: queue, priority, expires."""
    return {name: value for name, value in task._get_exec_options().items() if value is not None}  # noqa: SLF001


def _seconds(options: dict[str, Any], *names: str) -> float | None:
    """Celery's countdown, eta or expires as seconds from now: the first of `names` that is given."""
    value = next((options[name] for name in names if options.get(name) is not None), None)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - datetime.now(UTC)).total_seconds()
    return None if value is None else float(value)

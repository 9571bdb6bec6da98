"""From a call to a recorded, published container: the row first, commit, then the message."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celery.app.task import Task
from celery.exceptions import SoftTimeLimitExceeded
from celery.result import AsyncResult

from lifecycle.domain.container import Container, new_id
from lifecycle.errors import ContainerExists, UnknownType
from lifecycle.runtime.body import shield
from lifecycle.runtime.descent import container_before, running_parent
from lifecycle.runtime.execution import current_execution
from lifecycle.runtime.holds import holding
from lifecycle.runtime.message import OF_THE_ROW, as_call, header, read_call, with_header
from lifecycle.runtime.wish import Call, Wish, check_calls, check_wish
from lifecycle.store import assignments
from lifecycle.store.containers import messages
from lifecycle.store.engine import Connection
from lifecycle.trees.dispatch import put_back
from lifecycle.trees.spawn import Birth, Parent, record_all, spawn_all

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle
    from lifecycle.runtime.task import ContainerTask

log = logging.getLogger("lifecycle.launch")
GENERATED_TRIES = 5
OF_THE_RUN = {"retries", "origin", "replaced_task_nesting", "root_id", "parent_id", "reply_to"}
OF_THE_CANVAS = {"chord", "group_id", "group_index", "chain"}


def launch(task: "ContainerTask", calls: Sequence[Call], wish: Wish, options: dict[str, Any]) -> list[Container]:
    """Record containers and publish their messages, all or none; without a broker the rows stay due.

    With a connection they are recorded in its transaction: after its commit a node's dispatcher publishes them.
    """
    options = {**_options_of(task), **options}
    check_wish(wish)
    calls = [holding(task, call) for call in calls]
    check_calls(task, calls, options)
    options = _in_line(task, options)
    births = _births(task, calls, wish, options)
    if not births:
        return []
    with shield():
        given = {call.container_id for call in calls if call.container_id is not None}
        recorded = _record(task, births, given, wish.connection)
        if births[0].wake_in is None:
            _publish(task, [(each.id, call) for each, call in zip(recorded, calls, strict=True)], options)
        _trail(task, recorded, options)
    return [task.lifecycle.keep(each) for each in recorded]


def relaunch(lifecycle: "Lifecycle", container: Container, *, by: str | None = None) -> Container:
    """A new container that does the same once more: type, arguments, options, tags, player, grace and resources.

    Called in a body it is a child of that container, else a root; it is no member of the chord or group that the old
    one was, and has all its retries. Raises UnknownType, and as `launch` does.
    """
    with lifecycle.database.read() as connection:
        recorded = messages(connection, [container.id])[container.id]
        resources = tuple(assignments.ever_held_by(connection, container.id))
    call = read_call(recorded or {})
    task = lifecycle.types().get(container.container_type)
    if recorded is None or task is None:
        raise UnknownType(f"no task of this app can run {container.id} again: its type is {container.container_type}")
    detach = container.detached and running_parent(lifecycle) is not None
    wish = Wish(player_id=container.player_id, tags=container.tags, detach=detach, grace=container.grace, by=by)
    options = {name: value for name, value in call["options"].items() if name not in OF_THE_CANVAS | OF_THE_RUN}
    return launch(task, [Call(tuple(call["args"]), call["kwargs"], resources)], wish, options)[0]


def republish(task: "ContainerTask", args: Any, kwargs: Any, task_id: str, options: dict[str, Any]) -> AsyncResult:
    """A retry of the running container: its row stays, its message and time are noted, the dispatcher sends it."""
    execution = current_execution()
    if execution is not None:
        execution.retry = (as_call(task.name, args, kwargs, options), _seconds(options, "countdown", "eta") or 0.0)
    return task.AsyncResult(task_id)


def _births(task: "ContainerTask", calls: Sequence[Call], wish: Wish, options: dict[str, Any]) -> list[Birth]:
    """What is to be recorded; what is to be published at once has no `wake_in`."""
    lifecycle = task.lifecycle
    parent, before = running_parent(lifecycle), container_before(lifecycle)
    if wish.parent_container_id is not None and (parent is None or parent.id != wish.parent_container_id):
        parent, before = Parent(id=wish.parent_container_id), None
    if before is not None:
        owner = before.player_id if wish.player_id is None else wish.player_id
        wish = replace(wish, player_id=owner, tags={**before.tags, **wish.tags})
    wake_in, expires_in = _seconds(options, "countdown", "eta"), _seconds(options, "expires")
    if wish.connection is not None and wake_in is None:
        wake_in = 0.0
    pattern = Birth(
        id="",
        container_type=task.type_name,
        by=parent.id if parent else wish.by or lifecycle.who,
        parent=parent,
        player_id=wish.player_id,
        tags=wish.tags,
        detached=wish.detach,
        max_iterations=task.iterations,
        iteration_interval=task.interval,
        max_restarts=lifecycle.settings.max_restarts if task.max_restarts is None else task.max_restarts,
        grace=next(g for g in (wish.grace, task.grace, lifecycle.settings.grace) if g is not None),
        wake_in=wake_in,
        expires_in=expires_in,
    )
    return [_birth_of(task, call, pattern, options) for call in calls]


def _birth_of(task: "ContainerTask", call: Call, pattern: Birth, options: dict[str, Any]) -> Birth:
    message = as_call(task.name, call.args, call.kwargs, options)
    container_id = call.container_id or new_id(task.type_name, call.resources)
    return replace(pattern, id=container_id, resources=call.resources, message=message, queue=_queue(task, message))


def _record(
    task: "ContainerTask", births: list[Birth], given: set[str], connection: Connection | None
) -> list[Container]:
    """Insert the rows; a generated id that exists gets a new suffix."""
    database, quarantine = task.lifecycle.database, task.lifecycle.settings.quarantine
    for _ in range(GENERATED_TRIES):
        try:
            if connection is None:
                return spawn_all(database, births, quarantine=quarantine)
            if (execution := current_execution()) is not None:
                execution.lent.append(connection)
            with database.within(connection) as theirs:
                return record_all(theirs, births, quarantine=quarantine)
        except ContainerExists as error:
            taken = error.taken
            if taken & given:
                raise
            births = [
                replace(each, id=new_id(task.type_name, each.resources)) if each.id in taken else each
                for each in births
            ]
    raise ContainerExists(*taken)


def _publish(task: "ContainerTask", messages: Sequence[tuple[str, Call]], options: dict[str, Any]) -> None:
    """In one batch, where the broker's client can do that."""
    lifecycle = task.lifecycle
    said = with_header(options, header(lifecycle, recorded=True))
    sent = {**said, **dict.fromkeys(OF_THE_ROW), "add_to_parent": False}
    try:
        lifecycle.doorbell.reach()
        with _batch(task, sent, len(messages)) as how:
            for container_id, call in messages:
                Task.apply_async(task, call.args, dict(call.kwargs), task_id=container_id, **how)
    except SoftTimeLimitExceeded:  # not the broker's: the body's own limit, met in here
        put_back(lifecycle.database, [container_id for container_id, _ in messages])
        raise
    except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, the rows are there and stay due
        first, number = messages[0][0], len(messages)
        log.warning("message not published, the dispatcher will container=%s of=%d error=%s", first, number, error)
        put_back(lifecycle.database, [container_id for container_id, _ in messages])


@contextmanager
def _batch(task: "ContainerTask", options: dict[str, Any], number: int) -> Iterator[dict[str, Any]]:
    """The options for one of several messages that go out together at the end of the block."""
    if number == 1 or any(options.get(given) for given in ("producer", "publisher", "connection")):
        yield options
        return
    with task.app.producer_pool.acquire(block=True) as producer:
        batch = getattr(producer, "batch", nullcontext)  # kombu 5.7
        with batch():
            yield {**options, "producer": producer}


def _in_line(task: "ContainerTask", options: dict[str, Any]) -> dict[str, Any]:
    """These options with Celery's own parent and root, which a dispatcher would not know."""
    before = task.app.current_worker_task
    if before is None:
        return options
    request = before.request
    line = {"parent_id": request.id, "root_id": request.root_id or request.id}
    return {**options, **{name: options.get(name) or value for name, value in line.items()}}


def _trail(task: "ContainerTask", recorded: Sequence[Container], options: dict[str, Any]) -> None:
    """Make them `children` of the running task's result, whoever publishes them."""
    before = task.app.current_worker_task
    if before is not None and options.get("add_to_parent", True):
        for each in recorded:
            before.add_trail(task.AsyncResult(each.id))


def _queue(task: "ContainerTask", call: dict[str, Any]) -> str | None:
    """The queue that Celery's routes choose for this message."""
    options = dict(call["options"])
    name = options.pop("route_name", None) or task.name
    routed = task.app.amqp.router.route(options, name, call["args"], call["kwargs"], task)
    queue = routed.get("queue")
    return None if queue is None else str(getattr(queue, "name", queue))


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

"""Ways to a container that pass its task by: `app.send_task` by its name, and Celery's own map and starmap."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from inspect import signature
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.app.task import Task
from celery.canvas import signature as as_signature
from celery.canvas import task_name_from

from lifecycle.domain.ending import Finish, Later
from lifecycle.errors import InvalidArgument
from lifecycle.runtime.task import ContainerTask

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

PREFIX = "lifecycle."


def install(lifecycle: "Lifecycle") -> None:
    """Lead both to `apply_async` of a container's task: the row first, and a parent that waits for it."""
    app = lifecycle.app
    app.send_task = _by_name(app)
    for name, apply in (("map", _apply), ("starmap", _apply_star)):
        options = {"base": ContainerTask, "container_type": f"CELERY_{name.upper()}", "shared": False}
        app.task(name=PREFIX + name, **options)(_body(app, apply))
    if app.finalized:
        _lead_maps(app)
    else:
        app.on_after_finalize.connect(_lead_maps, weak=False)


def _by_name(app: Any) -> Callable[..., Any]:
    """Celery's `send_task` would leave a container to be recorded by whoever takes its message.

    The class's own is looked up at each call: who traces calls may replace it later.
    """
    given_before = vars(app).get("send_task")
    order = signature(partial(Celery.send_task, app))  # a subclass may name none

    @wraps(app.send_task)
    def send(name: str, *args: Any, **options: Any) -> Any:
        # Without finalizing the app; a publisher that has the task at hand gives it.
        task = None if options.get("task_type") else app._tasks.get(name)  # noqa: SLF001
        if not isinstance(task, ContainerTask) or app.conf.task_always_eager:
            pass_on = given_before or partial(type(app).send_task, app)
            return pass_on(name, *args, **options)
        given = order.bind(name, *args, **options).arguments
        given |= given.pop("options", {})
        del given["name"]
        return task.apply_async(given.pop("args", None), given.pop("kwargs", None), **given)

    return send


def _lead_maps(sender: Any, **_: Any) -> None:
    """Celery's map of a container's task would call the body in a plain task, where no stop reaches it."""
    for name in ("map", "starmap"):
        plain, ours = sender.tasks[f"celery.{name}"], sender.tasks[PREFIX + name]
        plain.apply_async = _chosen(sender, plain, ours)


def _chosen(app: Any, plain: Task, ours: ContainerTask) -> Callable[..., Any]:
    def apply_async(args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        name = _name_of((kwargs or {}).get("task"))
        if "route_name" in options:
            options["route_name"] = _name_of(options["route_name"])
        mapped = app.tasks.get(name)
        if isinstance(mapped, ContainerTask):
            return ours.apply_async(args, kwargs, **options)
        return type(plain).apply_async(plain, args, kwargs, **options)

    return apply_async


def _name_of(mapped: Any) -> Any:
    """Of a task or a signature; one that came in a message is a plain dict, and Celery takes that for the name."""
    return mapped.get("task") if isinstance(mapped, Mapping) else task_name_from(mapped)


def _body(app: Any, apply: Callable[[Task, Any], Any]) -> Callable[..., list[Any]]:
    def run_map(task: Any, it: Iterable[Any]) -> list[Any]:
        """One container that calls the task's function for each item, one after the other."""
        mapped = as_signature(task, app=app).type
        return [_value(apply(mapped, item)) for item in it]

    return run_map


def _apply(task: Task, item: Any) -> Any:
    return task(item)


def _apply_star(task: Task, item: Iterable[Any]) -> Any:
    return task(*item)


def _value(returned: Any) -> Any:
    """What one call came to: it is done, or it cannot be told."""
    if isinstance(returned, Later):
        raise InvalidArgument("a body that is called by a map cannot go on later")
    return returned.result if isinstance(returned, Finish) else returned

"""What a caller wants of new containers, and what of it cannot be meant."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lifecycle.domain.container import MAX_ID, check_id
from lifecycle.domain.policy import check_seconds
from lifecycle.errors import InvalidArgument
from lifecycle.store.engine import Connection

if TYPE_CHECKING:
    from lifecycle.runtime.task import ContainerTask


@dataclass(frozen=True, slots=True)
class Call:
    """One body to be run: its arguments, and what only it has."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    resources: tuple[str, ...] = ()
    container_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a caller asks of new containers beyond their messages."""

    player_id: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    detach: bool = False
    grace: float | None = None
    parent_container_id: str | None = None
    connection: Connection | None = None
    by: str | None = None
    """Who asks, if it is not who runs here."""


def as_calls(calls: Iterable[tuple[Any, Any]], resources: Iterable[Any] | None) -> list[Call]:
    """Pairs of arguments, and what each call's container holds; raises InvalidArgument for what is none."""
    pairs = list(calls)
    if not all(isinstance(each, tuple | list) and len(each) == len(("args", "kwargs")) for each in pairs):
        raise InvalidArgument("calls are pairs: [(args, kwargs), ...]")
    held: list[Any] = [()] * len(pairs) if resources is None else list(resources)
    if len(held) != len(pairs):
        raise InvalidArgument(f"resources are given for {len(held)} calls, but there are {len(pairs)}")
    return [as_call(args, kwargs, named) for (args, kwargs), named in zip(pairs, held, strict=True)]


def as_call(args: Any, kwargs: Any, resources: Any, container_id: str | None = None) -> Call:
    """One call; raises InvalidArgument for a text where a list is meant: its letters would be taken one by one."""
    for what, given in (("args", args), ("resources", resources)):
        if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
            raise InvalidArgument(f"{what} are a list, not {given!r}")
    if not isinstance(kwargs, Mapping | None):
        raise InvalidArgument(f"kwargs are a mapping, not {kwargs!r}")
    return Call(tuple(args), dict(kwargs or {}), tuple(resources), container_id)


def check_calls(task: "ContainerTask", calls: Sequence[Call], options: dict[str, Any]) -> None:
    """What Celery, or the database less well, would find only after rows were there."""
    if task.app.conf.task_always_eager:
        raise InvalidArgument("task_always_eager runs no containers: call the task as a function, or turn it off")
    if "task_id" in options:
        raise InvalidArgument("a container's task id is its container_id: give that")
    if options.get("countdown") is not None and options.get("eta") is not None:
        raise InvalidArgument("give countdown or eta, not both")
    for call in calls:
        if task.typing and hasattr(task, "__header__"):
            task.__header__(*call.args, **call.kwargs)
        if call.container_id is not None:
            check_id(call.container_id)
        for resource in call.resources:
            _check_text("a resource", resource, least=1)
    _check_distinct("a resource", (resource for call in calls for resource in set(call.resources)))
    _check_distinct("a container_id", (call.container_id for call in calls if call.container_id is not None))


def _check_distinct(what: str, given: Iterable[str]) -> None:
    for value, number in Counter(given).items():
        if number > 1:
            raise InvalidArgument(f"{what} is given to {number} containers at once: {value}")


def check_wish(wish: Wish) -> None:
    """What the columns cannot hold."""
    if wish.grace is not None:
        check_seconds("grace", wish.grace)
    if not isinstance(wish.connection, Connection | None):
        raise InvalidArgument("connection is SQLAlchemy's Connection; of a Session give session.connection()")
    if isinstance(wish.player_id, bool) or not isinstance(wish.player_id, int | None):
        raise InvalidArgument(f"player_id is a whole number, not {wish.player_id!r}")
    for name, value in wish.tags.items():
        _check_text("a tag's name", name, least=1)
        _check_text(f"tag {name}", value, least=0)


def _check_text(what: str, value: Any, *, least: int) -> None:
    if not (isinstance(value, str) and least <= len(value) <= MAX_ID and "\x00" not in value):
        raise InvalidArgument(f"{what} is text of {least} to {MAX_ID} characters, not {value!r}")

"""What every container of a type holds, whoever starts it: its task names it, from the arguments of its body."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import Formatter
from typing import TYPE_CHECKING, Any

from lifecycle.errors import ImpossibleSettings, InvalidArgument
from lifecycle.runtime.wish import Call

if TYPE_CHECKING:
    from lifecycle.runtime.task import ContainerTask


def holding(task: "ContainerTask", call: Call) -> Call:
    """The call with what its type holds, first, for that names its id; raises InvalidArgument."""
    if not task.holds:
        return call
    named = held(task, call.args, call.kwargs)
    return replace(call, resources=tuple(dict.fromkeys((*named, *call.resources))))


def held(task: "ContainerTask", args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """The resources that the task names for these arguments.

    Raises InvalidArgument where an argument that is part of a name is not given, TypeError where the body takes none
    such.
    """
    bound = inspect.signature(task.run).bind(*args, **kwargs)
    bound.apply_defaults()
    return tuple(_named(task, pattern, bound.arguments) for pattern in task.holds)


def check_holds(task: "ContainerTask") -> None:
    """Raises ImpossibleSettings for names with an argument that the body does not have."""
    if isinstance(task.holds, str) or not all(isinstance(pattern, str) for pattern in task.holds):
        raise ImpossibleSettings(f"{task.name}: holds is a list of names, not {task.holds!r}")
    known = set(inspect.signature(task.run).parameters)
    for pattern in task.holds:
        for field in _fields(task, pattern):
            if field not in known:
                raise ImpossibleSettings(f"{task.name}: holds {pattern!r}, but its body has no argument {field!r}")


def _named(task: "ContainerTask", pattern: str, arguments: Mapping[str, Any]) -> str:
    for field in _fields(task, pattern):
        if arguments.get(field) in {None, ""}:
            raise InvalidArgument(f"{task.type_name} holds {pattern!r}: say which, with {field}=")
    return pattern.format_map(arguments)


def _fields(task: "ContainerTask", pattern: str) -> list[str]:
    try:
        return [field for _, field, _, _ in Formatter().parse(pattern) if field is not None]
    except ValueError as error:
        raise ImpossibleSettings(f"{task.name}: holds {pattern!r}: {error}") from None

"""Whose child is what is published here, and after whom it comes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from celery._state import _task_stack

from lifecycle.domain.container import Container
from lifecycle.runtime.execution import current_execution
from lifecycle.runtime.message import header_in, parent_in
from lifecycle.trees.spawn import Parent

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

_voice = threading.local()


def running_parent(lifecycle: "Lifecycle | None" = None) -> Parent | None:
    """Who spawns here: the container whose body runs, or the one a plain task's message names.

    What a run publishes after its body is its sibling: steps of a chain are no children of each other.
    lifecycle: whose containers are meant, where a process has several; none of another database is a parent.
    """
    execution = current_execution()
    if execution is not None and not execution.over:
        container = execution.container
        return Parent(id=container.id, epoch=container.epoch) if _is_of(lifecycle, container) else None
    here = container_before(lifecycle)
    if here is not None:
        above = here.parent_container_id
        return Parent(id=above, born_of=here.parent_epoch, through=here.id) if above else None
    said = _said_to_worker()
    return parent_in(said) if not said or lifecycle is None or said["database"] == lifecycle.database.id else None


def container_before(lifecycle: "Lifecycle | None" = None) -> Container | None:
    """The container whose next step is published here: its body is over. lifecycle: as above."""
    execution = current_execution()
    here: Container | None = getattr(_voice, "container", None)
    if execution is not None:
        here = execution.container if execution.over else None
    return here if here is not None and _is_of(lifecycle, here) else None


@contextmanager
def in_name_of(container: Container | None) -> Iterator[None]:
    """What is published inside comes after this container, whose process cannot publish it: its errbacks."""
    _voice.container = container
    try:
        yield
    finally:
        _voice.container = None


def _is_of(lifecycle: "Lifecycle | None", container: Container) -> bool:
    """True unless it is of another database; two apps may well share one."""
    keeper = container.keeper
    if lifecycle is None or keeper is None or keeper is lifecycle:
        return True
    theirs: str = cast("Lifecycle", keeper).database.id
    return theirs == lifecycle.database.id


def _said_to_worker() -> dict[str, Any]:
    """Our header of the message that a plain task runs for, also below what its body calls as a function."""
    requests = (request for task in reversed(_task_stack.stack) for request in reversed(task.request_stack.stack))
    return next(filter(None, map(header_in, requests)), {})

"""Whose child is what is published here, and after whom it comes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery._state import _task_stack

from lifecycle.domain.container import Container
from lifecycle.runtime.execution import current_execution
from lifecycle.runtime.message import header_in, parent_in
from lifecycle.trees.spawn import Parent

_voice = threading.local()


def running_parent() -> Parent | None:
    """Who spawns here: the container whose body runs, or the one a plain task's message names.

    What a run publishes after its body is its sibling: steps of a chain are no children of each other.
    """
    execution = current_execution()
    if execution is not None and not execution.over:
        return Parent(id=execution.container.id, epoch=execution.container.epoch)
    here = container_before()
    if here is not None:
        above = here.parent_container_id
        return Parent(id=above, born_of=here.parent_epoch, through=here.id) if above else None
    return parent_in(_said_to_worker())


def container_before() -> Container | None:
    """The container whose next step is published here: its body is over."""
    execution = current_execution()
    if execution is None:
        lost: Container | None = getattr(_voice, "container", None)
        return lost
    return execution.container if execution.over else None


@contextmanager
def in_name_of(container: Container | None) -> Iterator[None]:
    """What is published inside comes after this container, whose process cannot publish it: its errbacks."""
    _voice.container = container
    try:
        yield
    finally:
        _voice.container = None


def _said_to_worker() -> dict[str, Any]:
    """Our header of the message that a plain task runs for, also below what its body calls as a function."""
    requests = (request for task in reversed(_task_stack.stack) for request in reversed(task.request_stack.stack))
    return next(filter(None, map(header_in, requests)), {})

"""A step of a canvas that is not started: who waits for it, or for a later one, learns so."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from lifecycle.runtime.message import as_request

log = logging.getLogger("lifecycle.refusal")


def refuse(app: Any, task_id: str, options: Mapping[str, Any], why: str) -> None:
    """Store REVOKED for a step and for the steps of its chain after it; a chord that any of them is in fails."""
    later = [each for step in reversed(options.get("chain") or ()) for each in _tasks_of(step)]
    try:
        for step in [{**options, "task_id": task_id}, *later]:
            if step.get("task_id"):
                app.backend.mark_as_revoked(step["task_id"], why, request=as_request(step["task_id"], step))
    except Exception as error:  # noqa: BLE001 - a result backend that is away tells nobody anything
        log.warning("results not marked revoked container=%s error=%s", task_id, error)


def _tasks_of(signature: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The options of each task that a signature is made of: what is waited for is no group, chain or chord itself."""
    kind, kwargs = signature.get("subtask_type"), signature.get("kwargs") or {}
    if kind == "chord":
        header = kwargs.get("header") or ()
        for member in [header] if isinstance(header, Mapping) else header:
            yield from ({**options, "chord": None} for options in _tasks_of(member))  # it has not begun: nobody counts
        yield from _tasks_of(kwargs.get("body") or {})
    elif kind in {"group", "chain"}:
        for part in kwargs.get("tasks") or ():
            yield from _tasks_of(part)
    else:
        yield signature.get("options") or {}

"""A step of a canvas that is not started: who waits for it, or for a later one, learns so."""

import logging
from collections.abc import Mapping
from typing import Any

from celery.app.task import Context

log = logging.getLogger("lifecycle.refusal")


def refuse(app: Any, task_id: str, options: Mapping[str, Any], why: str) -> None:
    """Store REVOKED for a step and for the steps of its chain after it; a chord that any of them is in fails."""
    later = [step.get("options") or {} for step in reversed(options.get("chain") or ())]
    try:
        for step in [{**options, "task_id": task_id}, *later]:
            if step.get("task_id"):
                app.backend.mark_as_revoked(step["task_id"], why, request=_request(step))
    except Exception as error:  # noqa: BLE001 - a result backend that is away tells nobody anything
        log.warning("results not marked revoked container=%s error=%s", task_id, error)


def _request(step: Mapping[str, Any]) -> Context:
    """As Celery's backend asks for it."""
    return Context(
        id=step["task_id"],
        chord=step.get("chord"),
        group=step.get("group_id"),
        group_index=step.get("group_index"),
        delivery_info={},
    )

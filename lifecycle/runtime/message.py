"""What a container's message says: our header, and the call as it is recorded to be repeated."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery.app.task import Context
from kombu.exceptions import EncodeError
from kombu.utils.functional import maybe_list
from kombu.utils.json import dumps, loads

from lifecycle.errors import InvalidArgument
from lifecycle.trees.spawn import Parent

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

HEADER = "lifecycle"
OF_THE_ROW = {"countdown", "eta", "expires"}  # times that the row keeps: a message must not
OF_THE_CALL = {"producer", "publisher", "connection", "router", "result_cls", "task_type"}  # live objects


def with_header(options: dict[str, Any], header: dict[str, Any]) -> dict[str, Any]:
    """These publish options with our header among the user's own."""
    return {**options, "headers": {**(options.get("headers") or {}), HEADER: header}}


def header(lifecycle: "Lifecycle", *, recorded: bool, parent: Parent | None = None) -> dict[str, Any]:
    """Which database, whether the row is there already, and under which parent it belongs."""
    said: dict[str, Any] = {"database": lifecycle.database.id, "recorded": recorded}
    if parent is not None:
        said["parent"] = [parent.id, parent.born_of if parent.epoch is None else parent.epoch]
    return said


def header_in(request: Any) -> dict[str, Any]:
    """Our header of the message that started this request; empty if it has none."""
    found = request.get(HEADER)
    return dict(found) if isinstance(found, dict) else {}


def parent_in(said: dict[str, Any]) -> Parent | None:
    """The parent that a header names; the message is not that execution itself, which may be over by now."""
    named = said.get("parent")
    return Parent(id=named[0], born_of=named[1]) if named else None


def as_call(task: str, args: Any, kwargs: Any, options: dict[str, Any]) -> dict[str, Any]:
    """A call as plain JSON, to be recorded; raises InvalidArgument where JSON cannot hold it."""
    kept = {
        name: value for name, value in options.items() if name not in OF_THE_ROW | OF_THE_CALL and value is not None
    }
    if kept.get("serializer") not in (None, "json"):
        raise InvalidArgument(f"{task}: containers are serialized as JSON, not {kept['serializer']}")
    if "queue" in kept:
        kept["queue"] = getattr(kept["queue"], "name", kept["queue"])
    if kept.get("headers"):
        kept["headers"] = {name: value for name, value in kept["headers"].items() if name != HEADER}
    try:
        text = dumps({"task": task, "args": list(args or ()), "kwargs": dict(kwargs or {}), "options": kept})
    except (TypeError, ValueError, EncodeError) as error:
        raise InvalidArgument(f"{task}: arguments and options must be JSON: {error}") from error
    plain: dict[str, Any] = json.loads(text)
    return plain


def as_request(task_id: str, options: Mapping[str, Any]) -> Context:
    """What a task's publish options say of the canvas it is part of, as Celery's result backend asks for it."""
    return Context(
        id=task_id,
        chord=options.get("chord"),
        group=options.get("group_id"),
        group_index=options.get("group_index"),
        chain=options.get("chain"),
        errbacks=maybe_list(options.get("link_error")),
        delivery_info={},
    )


def read_call(recorded: dict[str, Any]) -> dict[str, Any]:
    """A recorded call with the types it had: times, decimals, UUIDs."""
    call: dict[str, Any] = loads(json.dumps(recorded))
    return call

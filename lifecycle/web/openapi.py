"""The API as an OpenAPI 3.1 document, from the very parameters that its handlers read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lifecycle import __version__
from lifecycle.web.api.containers import Listing, One
from lifecycle.web.api.handler import Api
from lifecycle.web.api.logs import Logs
from lifecycle.web.api.reruns import Rerun
from lifecycle.web.api.services import Services
from lifecycle.web.api.stops import Outcome, Stop
from lifecycle.web.api.trees import Children, Trees
from lifecycle.web.parameters import Parameter
from lifecycle.web.schemas import SCHEMAS, TEXT, ref

OF_ALL = (400, 401, 405, 503)
OF_ONE = (404,)
OF_ACTS = (403, 413, 415)
SAID = {
    200: "What was asked for.",
    201: "The new container.",
    202: "The stop has begun.",
    304: "Unchanged since the answer of this ETag.",
    400: "The request cannot be meant; the message names what is wrong.",
    401: "No login, or none is configured where one is needed.",
    403: "This Flower is read-only, or a page of another site has made the request.",
    404: "There is no such container, or stop.",
    405: "Not with this method.",
    409: "Not as things are: the tree has grown, a resource is held, no task of this type is here.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    503: "The database cannot be used now.",
}


class Operation(NamedTuple):
    """One thing that can be done."""

    path: str
    method: str
    handler: type[Api] | None
    name: str
    summary: str
    answers: dict[int, str]
    errors: Sequence[int] = ()
    body: str | None = None


C = "/api/containers"
OPERATIONS = (
    Operation(f"{C}/tree", "get", Trees, "tree", "Trees that hold a container that fits, newest first.", {200: "Tree"}),
    Operation(C, "get", Listing, "list", "Containers, newest first.", {200: "Listing"}),
    Operation(f"{C}/{{id}}", "get", One, "get", "All about one container.", {200: "Dossier"}, OF_ONE),
    Operation(
        f"{C}/{{id}}/children", "get", Children, "children", "Its children, oldest first.", {200: "Children"}, OF_ONE
    ),
    Operation(f"{C}/{{id}}/logs", "get", Logs, "logs", "What it logged, oldest first.", {200: "Lines"}, OF_ONE),
    Operation(
        f"{C}/{{id}}/stop",
        "post",
        Stop,
        "stop",
        "Stop it with all below it, children before parents.",
        {200: "Preview", 202: "Begun"},
        (*OF_ONE, *OF_ACTS, 409),
        "Order",
    ),
    Operation(
        f"{C}/{{id}}/rerun",
        "post",
        Rerun,
        "rerun",
        "Start a new container that does the same.",
        {201: "Made"},
        (*OF_ONE, *OF_ACTS, 409),
        "Nothing",
    ),
    Operation("/api/stops/{id}", "get", Outcome, "outcome", "What came of a stop.", {200: "Outcome"}, OF_ONE),
    Operation("/api/services", "get", Services, "services", "Docker services, as remembered.", {200: "Services"}),
    Operation(f"{C}/openapi.json", "get", None, "document", "This document.", {200: ""}),
)


def document(root: str) -> dict[str, Any]:
    """The document, for a Flower at this root."""
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Containers", "version": __version__, "description": ABOUT},
        "servers": [{"url": root or "/"}],
        "security": [{}, {"basic": []}],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}}},
    }


ABOUT = (
    "What Flower's Containers page reads and does. Ids are percent-encoded as a whole. Times are ISO 8601 in UTC. "
    "A GET answers with an ETag, and with 304 to If-None-Match."
)


def _operation(each: Operation) -> dict[str, Any]:
    parameters = [_path_parameter(each.path)] if "{id}" in each.path else []
    parameters += [_parameter(one) for one in (each.handler.PARAMETERS if each.handler else ())]
    unchanged = {304: {"description": SAID[304]}} if each.method == "get" else {}
    responses = {code: _answer(code, name) for code, name in each.answers.items()} | unchanged
    responses |= {code: _answer(code, "Error") for code in (*OF_ALL, *each.errors)}
    made: dict[str, Any] = {
        "operationId": each.name,
        "summary": each.summary,
        "parameters": parameters,
        "responses": {str(code): answer for code, answer in sorted(responses.items())},
    }
    if each.body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref(each.body)}}}
    return made


def _answer(code: int, name: str) -> dict[str, Any]:
    schema = ref(name) if name else {"type": "object"}
    return {"description": SAID[code], "content": {"application/json": {"schema": schema}}}


def _path_parameter(path: str) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1} if path.startswith("/api/stops/") else {**TEXT, "minLength": 1}
    return {"name": "id", "in": "path", "required": True, "schema": schema}


def _parameter(each: Parameter) -> dict[str, Any]:
    made = {"name": each.name, "in": "query", "description": each.text, "schema": dict(each.schema)}
    return {**made, "explode": True} if each.repeats else made

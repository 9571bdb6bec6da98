"""The shapes of the API's answers, as JSON Schema."""

from typing import Any

from lifecycle.domain.status import LIVE, Status

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
STATUS: Schema = {"type": "string", "enum": [status.value for status in Status]}
TAGS: Schema = {"type": "object", "additionalProperties": TEXT}
IDS: Schema = {"type": "array", "items": TEXT}
ANYTHING: Schema = {}


def maybe(schema: Schema) -> Schema:
    """It, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def ref(name: str) -> Schema:
    """A shape by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def shape(required: dict[str, Schema], optional: dict[str, Schema] | None = None, *, more: bool = False) -> Schema:
    """An object of these keys."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": more,
    }


def many(schema: Schema) -> Schema:
    """A list of them."""
    return {"type": "array", "items": schema}


COUNTS = {
    **shape({status.value: WHOLE if status in LIVE else maybe(WHOLE) for status in Status}),
    "description": "How many, whatever `status` asks for; null while what has ended cannot be counted.",
}
SOME_COUNTS = shape({}, {status.value: WHOLE for status in Status})
MORE: Schema = {
    "oneOf": [{"type": "integer", "minimum": 1}, {"const": False}],
    "description": "How many more there are; where more than 10,000 fit that may have ended, at least how many.",
}
NAMED = shape({"id": TEXT, "type": TEXT, "status": STATUS})
ROW = shape(
    {"id": TEXT, "type": TEXT, "status": STATUS, "created_at": TIME},
    {
        "why": {**TEXT, "description": "What its status leaves open."},
        "iteration": {"type": "array", "items": WHOLE, "minItems": 2, "maxItems": 2},
        "started_at": TIME,
        "stopped_at": TIME,
        "wake_at": TIME,
        "node": TEXT,
        "tags": TAGS,
        "player_id": WHOLE,
        "parent": TEXT,
        "depth": WHOLE,
        "error": {**TEXT, "description": "The first line of what went wrong."},
        "stale": {**FLAG, "description": "Its node is silent, or its stop is overdue."},
        "detached": FLAG,
        "children": {**SOME_COUNTS, "description": "Its direct children by status."},
        "shown": {**many(ref("Row")), "description": "Children that are sent along; without it ask for them."},
        "matches": {"const": False, "description": "It is shown only for what is below it."},
    },
)
CONTAINER = shape(
    {
        "id": TEXT,
        "container_type": TEXT,
        "status": STATUS,
        "player_id": maybe(WHOLE),
        "parent_container_id": maybe(TEXT),
        "root_id": TEXT,
        "depth": WHOLE,
        "detached": FLAG,
        "max_iterations": WHOLE,
        "current_iteration": WHOLE,
        "restart_count": WHOLE,
        "epoch": WHOLE,
        "node": maybe(TEXT),
        "state": {"type": "object"},
        "result": ANYTHING,
        "exit_code": maybe(WHOLE),
        "exit_message": maybe(TEXT),
        "created_at": TIME,
        "started_at": maybe(TIME),
        "stopped_at": maybe(TIME),
        "tags": TAGS,
    },
    more=True,
)
DOSSIER = shape(
    {
        **CONTAINER["properties"],
        "why": TEXT,
        "stale": FLAG,
        "error": TEXT,
        "path": {**many(NAMED), "description": "All above it, the root first."},
        "children": SOME_COUNTS,
        "assignments": many(
            shape({"resource": TEXT, "assigned_at": TIME, "released_at": maybe(TIME), "released_why": maybe(TEXT)})
        ),
        "history": many(
            shape(
                {
                    "at": TIME,
                    "from_status": maybe(TEXT),
                    "to_status": TEXT,
                    "epoch": WHOLE,
                    "node": maybe(TEXT),
                    "by": maybe(TEXT),
                    "why": maybe(TEXT),
                    "stop_id": maybe(WHOLE),
                }
            )
        ),
        "more": {
            **shape({"assignments": FLAG, "history": FLAG}),
            "description": "True where only the latest 500 are told.",
        },
        "arguments": shape({"args": TEXT, "kwargs": TEXT}),
        "flower_task": {**FLAG, "description": "Flower has a page of its task."},
        "logs": {**FLAG, "description": "It has logged something."},
    },
    more=True,
)
LINE = shape(
    {"id": WHOLE, "container_id": TEXT, "at": TIME, "level": TEXT, "logger": TEXT, "message": TEXT, "count": WHOLE}
)
PREVIEW = shape(
    {
        "would_stop": many(shape({"id": TEXT, "type": TEXT, "status": STATUS, "depth": WHOLE})),
        "count": WHOLE,
        "left_out": {**WHOLE, "description": "How many of `count` are not listed."},
    }
)
ORDER = shape(
    {},
    {
        "dry_run": {**FLAG, "default": False, "description": "Only tell what would stop, children before parents."},
        "reason": {**maybe(TEXT), "maxLength": 1_000},
        "grace": {"type": ["number", "null"], "minimum": 0, "maximum": 1e9, "description": "Seconds until the kill."},
        "force": {**FLAG, "default": False, "description": "Kill at once; without `grace`."},
        "expect": {
            "oneOf": [IDS, WHOLE, {"type": "null"}],
            "description": "What a dry run has shown: its ids, or their number. If more would stop now, 409.",
        },
    },
)
OUTCOME = shape(
    {
        "stop": WHOLE,
        "root": TEXT,
        "by": TEXT,
        "reason": maybe(TEXT),
        "grace": maybe({"type": "number"}),
        "requested_at": TIME,
        "finished_at": maybe(TIME),
        "order": IDS,
        "stopped": IDS,
        "pending": IDS,
        "failed": {**TAGS, "description": "Why each of these is not stopped."},
        "already_ended": IDS,
        "counts": shape({"stopped": WHOLE, "pending": WHOLE, "failed": WHOLE, "already_ended": WHOLE}),
        "left_out": {**WHOLE, "description": "How many are not in `order`; no list has more than 1,000."},
    }
)
ERROR = shape({"error": shape({"code": TEXT, "message": TEXT})}, more=True)

SCHEMAS: dict[str, Schema] = {
    "Row": ROW,
    "Container": CONTAINER,
    "Tree": shape({"roots": many(ref("Row")), "counts": COUNTS, "more": MORE, "filters": {"type": "object"}}),
    "Listing": shape({"containers": many(ref("Container")), "counts": COUNTS, "more": FLAG}),
    "Dossier": DOSSIER,
    "Children": shape({"children": many(ref("Row")), "more": MORE}),
    "Lines": shape({"lines": many(LINE), "last": WHOLE}),
    "Order": ORDER,
    "Preview": PREVIEW,
    "Begun": shape({"stop": WHOLE, "containers": WHOLE, "notes": IDS}),
    "Outcome": OUTCOME,
    "Made": shape({"id": TEXT}),
    "Nothing": shape({}),
    "Services": shape(
        {"services": many({"type": "object"}), "engines": many({"type": "object"}), "actions": many({"type": "object"})}
    ),
    "Error": ERROR,
}

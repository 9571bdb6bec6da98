"""Values as JSON: times in UTC, rows as a tree shows them, and what a status leaves open."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lifecycle.domain.status import LIVE, TERMINAL, Status
from lifecycle.domain.text import clean
from lifecycle.store.forest import Forest

ERROR = 200  # characters shown of an error
DEEPEST = 100  # levels in one answer: JSON's writers and readers do not go much deeper


def encode(value: Any) -> bytes:
    """JSON; what is no Unicode is spelled out, which JSON reads as it was."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain).encode(
        "utf-8", "backslashreplace"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return time(value)
    raise TypeError(f"no JSON: {value!r}")


def time(value: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def row(found: Any, children: Mapping[str, int]) -> dict[str, Any]:
    """A container as a tree shows it; what is empty, or as usual, is left out."""
    values = {
        "id": found.id,
        "type": found.container_type,
        "status": found.status,
        "why": why(found, children),
        "iteration": None if found.max_iterations == 1 else [found.current_iteration, found.max_iterations],
        "created_at": found.created_at,
        "started_at": found.started_at,
        "stopped_at": found.stopped_at,
        "wake_at": found.wake_at,
        "node": found.node,
        "tags": dict(sorted((found.tags or {}).items())),
        "player_id": found.player_id,
        "parent": found.parent_container_id,
        "depth": found.depth or None,
        "error": error(found),
        "stale": bool(found.stale),
        "detached": bool(found.detached),
        "children": ordered(children),
    }
    return {name: value for name, value in values.items() if value is not False and value not in (None, "", {})}


def why(found: Any, children: Mapping[str, int]) -> str:
    """What its status leaves open, without anything that ticks; as `Container.activity` says it."""
    if found.status in TERMINAL:
        return ""
    if found.stop_error:
        return f"not stopped: {error(found)}"
    if found.status == Status.INTERRUPTED:
        return f"{found.attempt or 'goes on'} at {time(found.wake_at)}" if found.wake_at else found.attempt or "goes on"
    if found.node is not None:
        killed = found.status == Status.STOPPING and found.stop_deadline
        return f"asked to end, killed at {time(killed)}" if killed else ""
    return _waits_for(found, children)


def _waits_for(found: Any, children: Mapping[str, int]) -> str:
    """What a live container that holds no slot waits for."""
    if found.outcome is not None or found.status == Status.STOPPING:
        number = sum(count for status, count in children.items() if status in LIVE)
        return f"waiting for {number:,} {'child' if number == 1 else 'children'}"
    if found.wake_at is not None and found.dispatched_at is None:
        return f"sleeping until {time(found.wake_at)}"
    return "queued"


def error(found: Any) -> str:
    """The first line of what went wrong."""
    text = found.exit_message if found.status == Status.FAILED else found.stop_error
    lines = clean(text or "").strip().splitlines()
    return lines[0][:ERROR] if lines else ""


def ordered(children: Mapping[str, int]) -> dict[str, int]:
    """Numbers by status, in the order of the statuses."""
    return {status.value: children[status] for status in Status if children.get(status)}


def trees(forest: Forest, most: int) -> list[bytes]:
    """Each tree as JSON; beyond `most` bytes in all only its top, and beyond twice as many no more of them."""
    encoded: list[bytes] = []
    size = 0
    for top in forest.tops:
        text = encode(_tree(forest, top, folded=False))
        if size + len(text) > most:
            text = encode(_tree(forest, top, folded=True))
        if encoded and size + len(text) > 2 * most:
            break
        encoded.append(text)
        size += len(text)
    return encoded


def _tree(forest: Forest, top: str, *, folded: bool) -> dict[str, Any]:
    """A top with all that is shown below it."""
    made = _entry(forest, top)
    level = [] if folded else [made]
    for _ in range(DEEPEST):
        for here in level:
            if below := forest.below.get(here["id"]):
                here["shown"] = [_entry(forest, each) for each in below]
        level = [each for here in level for each in here.get("shown", ())]
    return made


def _entry(forest: Forest, container_id: str) -> dict[str, Any]:
    made = row(forest.rows[container_id], forest.children.get(container_id, {}))
    return made if container_id in forest.fits else {**made, "matches": False}

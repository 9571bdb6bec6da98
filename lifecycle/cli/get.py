"""`container get`: everything known of one container."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import click

from lifecycle.cli.options import find_one, id_argument, json_option, pass_lifecycle, player_option
from lifecycle.cli.text import clean, milliseconds, pairs, seconds
from lifecycle.domain.container import Container
from lifecycle.domain.status import Status
from lifecycle.runtime.app import Lifecycle
from lifecycle.store.assignments import Assignment
from lifecycle.store.transitions import Transition

FIRST = ("container_type", "status", "player_id", "tags", "parent_container_id", "root_id", "depth", "detached")


@dataclass(frozen=True, slots=True)
class Picture:
    """A container and what hangs on it."""

    container: Container
    resources: list[Assignment]
    children: dict[str, int]
    history: list[Transition]


@click.command("get")
@id_argument
@player_option
@json_option
@pass_lifecycle
def get_container(lifecycle: Lifecycle, *, container_id: str, player_id: int | None, as_json: bool) -> None:
    """Show all fields of a container, what it holds, its children and its history."""
    picture = look(lifecycle, find_one(lifecycle, container_id, player_id))
    if as_json:
        click.echo(json.dumps(as_dict(picture), indent=2))
    else:
        click.echo("\n".join(lines(picture)))


def look(lifecycle: Lifecycle, container: Container) -> Picture:
    """Read what hangs on it."""
    statuses = Counter(child.status for child in lifecycle.children(container.id))
    children = {status.value: statuses[status] for status in Status if statuses[status]}
    return Picture(container, lifecycle.holdings(container.id), children, lifecycle.history(container.id))


def as_dict(picture: Picture) -> dict[str, Any]:
    """The container's own keys, and three more."""
    return {
        **picture.container.as_dict(),
        "resources": [_json(asdict(each)) for each in picture.resources],
        "children": picture.children,
        "history": [_json(asdict(each)) for each in picture.history],
    }


def lines(picture: Picture) -> Iterator[str]:
    """A block of fields, then the blocks of what hangs on it."""
    fields = {name: getattr(picture.container, name) for name in picture.container.as_dict()}
    first = {name: fields[name] for name in FIRST}
    yield clean(fields.pop("id"))
    notes = {"status": picture.container.activity}
    yield from _columns(((name, _text(name, value)) for name, value in {**first, **fields}.items()), notes)
    yield from _block(
        "resources", ((each.resource, f"since {seconds(each.assigned_at)}") for each in picture.resources)
    )
    yield from _block("children", ((status, f"{number:,}") for status, number in picture.children.items()))
    yield from _block("history", ((milliseconds(each.at), _change(each)) for each in picture.history))


def _block(title: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    found = list(rows)
    return ["", title, *_columns(found)] if found else ["", title, "  none"]


def _columns(rows: Iterable[tuple[str, str]], notes: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    cleaned = [(clean(name), clean(value)) for name, value in rows]
    width = max(len(name) for name, _ in cleaned)
    return [f"  {name:{width}}  {value}{_note(notes.get(name))}" for name, value in cleaned]


def _note(text: str | None) -> str:
    return click.style(f"  {text}", dim=True) if text else ""


def _text(name: str, value: object) -> str:
    if value is None or value == {}:
        return "-"
    if isinstance(value, datetime):
        return milliseconds(value)
    if name == "tags" and isinstance(value, dict):
        return pairs(value)
    if isinstance(value, dict | list | bool):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _change(change: Transition) -> str:
    arrow = f"{change.from_status} → {change.to_status}" if change.from_status else change.to_status
    facts = {"epoch": change.epoch or None, "node": change.node, "by": change.by, "why": change.why}
    return "  ".join([f"{arrow:22}", *(f"{name}={value}" for name, value in facts.items() if value is not None)])


def _json(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}

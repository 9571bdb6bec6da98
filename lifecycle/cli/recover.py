"""`container recover`: what was interrupted goes on, by hand."""

import json
from typing import Any

import click
from rich.table import Table

from lifecycle.cli import table
from lifecycle.cli.options import json_option, pass_lifecycle
from lifecycle.cli.text import clean, count
from lifecycle.runtime.app import Lifecycle
from lifecycle.trees.recover import Recovered

NOTHING = "Nothing is interrupted"


@click.command("recover")
@click.option("--dry-run", is_flag=True, help="Only show what is interrupted, and what it waits for.")
@json_option
@pass_lifecycle
def recover_containers(lifecycle: Lifecycle, *, dry_run: bool, as_json: bool) -> None:
    """Let interrupted containers go on whose time has come.

    Nodes do so each second. Children of a run that was cut off are stopped first: it spawns them again.
    """
    recovered = lifecycle.recover(dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({**as_dict(recovered), "dry_run": dry_run}, indent=2))
        return
    for name, what in (("lost", "its node was dead"), ("superseded", "stopped"), ("resumed", "goes on")):
        for container_id in getattr(recovered, name):
            click.echo(f"{clean(container_id)}  {what}")
    if recovered.waiting:
        table.show(rows(recovered.waiting), f"Total: {count(len(recovered.waiting), 'interrupted container')}")
    elif not recovered.found:
        click.echo(NOTHING)


def as_dict(recovered: Recovered) -> dict[str, Any]:
    """What was done, and what still waits, as JSON types."""
    waiting = [
        {
            "id": row.id,
            "why": row.exit_message,
            "attempt": row.attempt,
            "wake_at": row.wake_at and row.wake_at.isoformat(),
            "parent_handles": bool(row.goes_with_parent),
        }
        for row in recovered.waiting
    ]
    done = {name: list(getattr(recovered, name)) for name in ("lost", "superseded", "resumed")}
    return {**done, "waiting": waiting}


def rows(waiting: tuple[Any, ...]) -> Table:
    """One line a container."""
    made = table.blank("CONTAINER ID", "WHY", "GOES ON")
    for row in waiting:
        made.add_row(table.Cut(clean(row.id)), table.Cut(clean(row.exit_message or "-")), goes_on(row))
    return made


def goes_on(row: Any) -> str:
    """When, and as what."""
    if row.goes_with_parent:
        return f"never: parent {clean(row.parent_container_id)} will handle"
    left = 0.0 if row.wake_at is None else (row.wake_at - row.at).total_seconds()
    when = f"in {left:.0f} s" if left > 0 else "once what it left has ended"
    return f"{row.attempt} {when}" if row.attempt else when

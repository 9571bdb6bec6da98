"""`container assignments`: who holds what, and taking it back."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from lifecycle.cli import table
from lifecycle.cli.group import Refusal
from lifecycle.cli.options import json_option, pass_lifecycle, player_option
from lifecycle.cli.text import clean, count, seconds
from lifecycle.errors import ResourceHeld
from lifecycle.runtime.app import Lifecycle
from lifecycle.store import trees
from lifecycle.store.assignments import Assignment

NOTHING = "No resources held"


@click.command("assignments")
@player_option
@click.option("--release", "resource", metavar="RESOURCE", help="Take this resource from the container that holds it.")
@click.option("--force", is_flag=True, help="Also from a live one, which is not told.")
@json_option
@pass_lifecycle
def show_assignments(
    lifecycle: Lifecycle, *, player_id: int | None, resource: str | None, force: bool, as_json: bool
) -> None:
    """Show who holds which resource, or release one that is held by mistake.

    A container releases what it holds when it ends: this is for what hands have left.
    """
    if resource is None and force:
        raise click.UsageError("--force is for --release")
    if resource is None:
        print_all(lifecycle, lifecycle.assignments(player_id=player_id), as_json=as_json)
        return
    try:
        released = lifecycle.release(resource, player_id=player_id, force=force)
    except ResourceHeld as error:
        raise Refusal(f"{clean(error)}, which lives: stop it, or add --force") from error
    if as_json:
        click.echo(json.dumps(as_dict(released, statuses_of(lifecycle, [released])), indent=2))
    else:
        click.echo(f"released {clean(released.resource)}, held by {clean(released.container_id)}")


def print_all(lifecycle: Lifecycle, held: Sequence[Assignment], *, as_json: bool) -> None:
    """What is held now, and where its holders stand."""
    statuses = statuses_of(lifecycle, held)
    if as_json:
        click.echo(json.dumps([as_dict(each, statuses) for each in held], indent=2))
    elif held:
        table.show(rows(held, statuses), f"Total: {count(len(held), 'resource')}")
    else:
        click.echo(NOTHING)


def statuses_of(lifecycle: Lifecycle, held: Sequence[Assignment]) -> dict[str, str]:
    """Where the holders stand."""
    with lifecycle.database.read() as connection:
        return trees.statuses(connection, list({each.container_id for each in held}))


def as_dict(held: Assignment, statuses: Mapping[str, str]) -> dict[str, Any]:
    """An assignment as JSON types."""
    return {
        "resource": held.resource,
        "player_id": held.player_id,
        "container_id": held.container_id,
        "status": statuses.get(held.container_id),
        "assigned_at": held.assigned_at.isoformat(),
    }


def rows(held: Sequence[Assignment], statuses: Mapping[str, str]) -> Table:
    """One line a resource."""
    made = table.blank("RESOURCE", "PLAYER", "CONTAINER", "STATUS", "SINCE")
    for each in held:
        player = "-" if each.player_id is None else str(each.player_id)
        made.add_row(
            table.Cut(clean(each.resource)),
            player,
            table.Cut(clean(each.container_id)),
            table.status(statuses.get(each.container_id, "-")),
            Text(seconds(each.assigned_at), no_wrap=True),
        )
    return made

"""`container assignments`: who holds what, what is quarantined, and releasing either."""

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
from lifecycle.store.quarantines import Quarantined

NOTHING = "No resources held"
PROBE = "next is a probe"


@click.command("assignments")
@player_option
@click.option(
    "--release", "resource", metavar="RESOURCE", help="Take this resource from its holder, or from quarantine."
)
@click.option("--force", is_flag=True, help="Also from a live one, which is not told.")
@json_option
@pass_lifecycle
def show_assignments(
    lifecycle: Lifecycle, *, player_id: int | None, resource: str | None, force: bool, as_json: bool
) -> None:
    """Show who holds which resource and what is quarantined, or release one.

    A container releases what it holds when it ends: --release is for what hands have left. A resource whose holders
    failed again and again with one error is refused for a time: --release lets it be taken at once.
    """
    if resource is None and force:
        raise click.UsageError("--force is for --release")
    if resource is None:
        print_all(lifecycle, player_id, as_json=as_json)
        return
    try:
        released = lifecycle.release(resource, player_id=player_id, force=force)
    except ResourceHeld as error:
        raise Refusal(f"{clean(error)}, which lives: stop it, or add --force") from error
    if as_json:
        click.echo(json.dumps(as_dicts(lifecycle, [released])[0], indent=2))
    elif isinstance(released, Assignment):
        click.echo(f"released {clean(released.resource)}, held by {clean(released.container_id)}")
    else:
        click.echo(f"released {clean(released.resource)} from quarantine")


def print_all(lifecycle: Lifecycle, player_id: int | None, *, as_json: bool) -> None:
    """What is held now and where its holders stand; then what nobody gets, or only as a probe."""
    held = lifecycle.assignments(player_id=player_id)
    quarantined = lifecycle.quarantined(player_id=player_id)
    if as_json:
        click.echo(json.dumps(as_dicts(lifecycle, [*held, *quarantined]), indent=2))
        return
    if held:
        table.show(rows(held, statuses_of(lifecycle, held)), f"Total: {count(len(held), 'resource')}")
    else:
        click.echo(NOTHING)
    if quarantined:
        click.echo()
        table.show(quarantine_rows(quarantined), f"Quarantined: {count(len(quarantined), 'resource')}")


def statuses_of(lifecycle: Lifecycle, held: Sequence[Assignment]) -> dict[str, str]:
    """Where the holders stand."""
    with lifecycle.database.read() as connection:
        return trees.statuses(connection, list({each.container_id for each in held}))


def as_dicts(lifecycle: Lifecycle, found: Sequence[Assignment | Quarantined]) -> list[dict[str, Any]]:
    """As JSON types; what is quarantined has no holder."""
    statuses = statuses_of(lifecycle, [each for each in found if isinstance(each, Assignment)])
    return [as_dict(each, statuses) if isinstance(each, Assignment) else quarantine_as_dict(each) for each in found]


def as_dict(held: Assignment, statuses: Mapping[str, str]) -> dict[str, Any]:
    """An assignment as JSON types."""
    return {
        "resource": held.resource,
        "player_id": held.player_id,
        "container_id": held.container_id,
        "status": statuses.get(held.container_id),
        "assigned_at": held.assigned_at.isoformat(),
    }


def quarantine_as_dict(found: Quarantined) -> dict[str, Any]:
    """A quarantine as JSON types, with the keys of an assignment too."""
    nobody = dict.fromkeys(("container_id", "status", "assigned_at"))
    return {
        "resource": found.resource,
        "player_id": found.player_id,
        **nobody,
        "error": found.error,
        "failures": found.failures,
        "quarantined_until": found.until.isoformat(),
    }


def rows(held: Sequence[Assignment], statuses: Mapping[str, str]) -> Table:
    """One line a resource."""
    made = table.blank("RESOURCE", "PLAYER", "CONTAINER", "STATUS", "SINCE")
    for each in held:
        made.add_row(
            table.Cut(clean(each.resource)),
            _player(each.player_id),
            table.Cut(clean(each.container_id)),
            table.status(statuses.get(each.container_id, "-")),
            Text(seconds(each.assigned_at), no_wrap=True),
        )
    return made


def quarantine_rows(quarantined: Sequence[Quarantined]) -> Table:
    """One line a resource, with the error that all its last holders failed with."""
    made = table.blank("RESOURCE", "PLAYER", "ERROR", "FAILURES", "UNTIL")
    for each in quarantined:
        made.add_row(
            table.Cut(clean(each.resource)),
            _player(each.player_id),
            table.Cut(clean(each.error)),
            str(each.failures),
            Text(PROBE if each.is_over else seconds(each.until), no_wrap=True),
        )
    return made


def _player(player_id: int | None) -> str:
    return "-" if player_id is None else str(player_id)

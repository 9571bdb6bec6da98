"""`container stop` and `kill`: take trees down, children before parents, and say how each container fared."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console

from lifecycle.cli.group import Refusal
from lifecycle.cli.options import INTERRUPTED, pass_lifecycle, player_option
from lifecycle.cli.text import clean, count
from lifecycle.domain.container import Container
from lifecycle.domain.report import StopReport
from lifecycle.runtime.app import Lifecycle


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the user wants done to the containers named."""

    grace: float | None
    force: bool
    reason: str | None
    wait: bool


def _common(verb: Any) -> Any:
    """The options of stop and kill alike."""
    for option in reversed((
        click.argument("parts", metavar="ID...", nargs=-1, required=True),
        player_option,
        click.option("--reason", metavar="TEXT", help="Kept with the containers and in their history."),
        click.option("--dry-run", is_flag=True, help="Only show what would be stopped, in order."),
        click.option("--no-wait", is_flag=True, help="Return at once; the nodes do the rest."),
        click.option("-y", "--yes", is_flag=True, help="Do not ask before stopping several trees."),
    )):
        verb = option(verb)
    return verb


@click.command("stop")
@_common
@click.option("--grace", type=click.FloatRange(min=0), metavar="SECONDS", help="From now to the kill.")
@click.option("--force", is_flag=True, help="Kill at once.")
@pass_lifecycle
def stop_containers(lifecycle: Lifecycle, *, no_wait: bool, **given: Any) -> None:
    """Stop containers with all below them, children before parents.

    Each is asked to end, has its grace (30 s by default) to clean up, and is killed then.
    Exits with 1 if one could not be stopped. What has ended already is no error.
    """
    if given["force"] and given["grace"] is not None:
        raise click.UsageError("--force kills at once: leave out --grace")
    order = Order(grace=given["grace"], force=given["force"], reason=given["reason"], wait=not no_wait)
    carry_out(lifecycle, order, given)


@click.command("kill")
@_common
@pass_lifecycle
def kill_containers(lifecycle: Lifecycle, *, no_wait: bool, **given: Any) -> None:
    """Stop containers and all below them at once: `stop --force`."""
    order = Order(grace=None, force=True, reason=given["reason"], wait=not no_wait)
    carry_out(lifecycle, order, given)


def carry_out(lifecycle: Lifecycle, order: Order, given: dict[str, Any]) -> None:
    """Resolve every id before anything is stopped: with one mistake among them nothing is."""
    player_id = given["player_id"]
    ids = list(dict.fromkeys(lifecycle.resolve(part, player_id=player_id) for part in given["parts"]))
    previews = {each: lifecycle.preview(each) for each in ids} if len(ids) > 1 or given["dry_run"] else {ids[0]: []}
    tops = _tops(previews)
    if given["dry_run"]:
        return show_previews(tops)
    if len(tops) > 1 and not given["yes"]:
        confirm(tops)
    failed = print_reports(lifecycle, stop_all(lifecycle, list(tops), order))
    if failed:
        click.get_current_context().exit(1)
    return None


def _tops(previews: dict[str, list[Container]]) -> dict[str, list[Container]]:
    """Without those that go down with another one of them."""
    below = {container.id for top, tree in previews.items() for container in tree if container.id != top}
    return {top: tree for top, tree in previews.items() if top not in below}

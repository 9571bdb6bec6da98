"""`container stop` and `kill`: take trees down, children before parents, and say how each container fared."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console

from lifecycle.cli.options import INTERRUPTED, find_one, grace_option, pass_lifecycle, player_option
from lifecycle.cli.text import clean, count
from lifecycle.domain.container import Container
from lifecycle.domain.report import StopReport
from lifecycle.runtime.app import Lifecycle
from lifecycle.trees import stop as stops

PATIENCE = 5.0  # seconds beyond the last deadline or, of a lost node, its lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the user wants done to the containers named."""

    grace: float | None
    force: bool
    reason: str | None
    wait: bool


def _common(verb: Any) -> Any:
    """The options of stop and kill alike."""
    for option in reversed(
        (
            click.argument("parts", metavar="ID...", nargs=-1, required=True),
            player_option,
            click.option("--reason", metavar="TEXT", help="Kept with the containers and in their history."),
            click.option("--dry-run", is_flag=True, help="Only show what would be stopped, in order."),
            click.option("--no-wait", is_flag=True, help="Return at once; the nodes do the rest."),
            click.option("-y", "--yes", is_flag=True, help="Do not ask before stopping several trees."),
        )
    ):
        verb = option(verb)
    return verb


@click.command("stop")
@_common
@grace_option("From now to the kill, instead of each container's own.")
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
    targets = [find_one(lifecycle, part, given["player_id"]) for part in given["parts"]]
    trees: dict[str, list[Container]] = {each.id: [] for each in targets}
    if len(trees) > 1 or given["dry_run"]:
        trees = tops({each: lifecycle.preview(each) for each in trees})
    if given["dry_run"]:
        print_preview(trees)
        return
    if len(trees) > 1 and not given["yes"] and sys.stdin.isatty():
        going = count(sum(len(tree) for tree in trees.values()))
        click.confirm(f"Stop {count(len(trees), 'tree')} with {going}?", abort=True)
    reports = []
    for report in stop_all(lifecycle, trees, order):
        print_columns([(each, outcome(report, each)) for each in report.order or (report.root,)])
        reports.append(report)
    click.echo(summary(reports))
    if any(report.failed or (order.wait and report.pending) for report in reports):
        click.get_current_context().exit(1)


def tops(trees: dict[str, list[Container]]) -> dict[str, list[Container]]:
    """Without those that go down with another one of them."""
    below = {each.id for top, tree in trees.items() for each in tree if each.id != top}
    return {top: tree for top, tree in trees.items() if top not in below}


def stop_all(lifecycle: Lifecycle, ids: Iterable[str], order: Order) -> Iterator[StopReport]:
    """Mark all trees before waiting for any: their graces run side by side. On stderr, what one should know."""
    reports = [
        lifecycle.stop(each, grace=order.grace, force=order.force, reason=order.reason, wait=False) for each in ids
    ]
    for note in dict.fromkeys(note for report in reports for note in report.notes):
        click.echo(clean(note), err=True)
    try:
        for report in reports:
            yield wait_for(lifecycle, report) if order.wait and report.pending else report
    except KeyboardInterrupt:
        click.echo("not waiting any more: the stop goes on", err=True)
        click.get_current_context().exit(INTERRUPTED)


def wait_for(lifecycle: Lifecycle, report: StopReport) -> StopReport:
    """What came of a stop in the end."""
    patience = lifecycle.settings.expires_in + PATIENCE
    with Console(stderr=True).status("stopping; Ctrl-C leaves, and the stop goes on"):
        stops.watch(lifecycle.database, lifecycle.doorbell, report.stop_id, patience=patience)
    return stops.report(lifecycle.database, report.stop_id, lifecycle.get(report.root), report.notes)


def outcome(report: StopReport, container_id: str) -> str:
    """How one container fared."""
    if container_id in report.failed:
        return f"not stopped: {report.failed[container_id]}"
    if container_id in report.pending:
        return "stopping"
    return "stopped" if container_id in report.stopped else "already ended"


def summary(reports: Sequence[StopReport]) -> str:
    """`4 stopped, 1 not stopped`."""
    numbers = {
        "stopped": sum(len(report.stopped) for report in reports),
        "stopping": sum(len(report.pending) for report in reports),
        "not stopped": sum(len(report.failed) for report in reports),
        "already ended": sum(len(report.already_ended) for report in reports),
    }
    return ", ".join(f"{number:,} {what}" for what, number in numbers.items() if number)


def print_preview(trees: dict[str, list[Container]]) -> None:
    """What a stop would end now, in stop order."""
    going = [each for tree in trees.values() for each in tree]
    print_columns([(each.id, each.status) for each in going])
    click.echo(f"Would stop {count(len(going))}")


def print_columns(rows: Sequence[tuple[str, str]]) -> None:
    """Two columns, the second after the widest of the first."""
    cleaned = [(clean(left), clean(right)) for left, right in rows]
    width = max((len(left) for left, _ in cleaned), default=0)
    for left, right in cleaned:
        click.echo(f"{left:{width}}  {right}")

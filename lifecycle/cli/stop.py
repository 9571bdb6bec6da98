"""`container stop` and `kill`: take trees down, children before parents, and say how each container fared."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console

from lifecycle.cli.group import Misuse
from lifecycle.cli.options import INTERRUPTED, grace_option, pass_lifecycle, player_option, tag_option
from lifecycle.cli.targets import Trees, check_choice, extent, fitting, named, trees_of
from lifecycle.cli.text import clean, count
from lifecycle.domain.container import Container
from lifecycle.domain.policy import STOPPED_BY_USER
from lifecycle.domain.pools import KILLABLE, LOOKS, as_option
from lifecycle.domain.report import StopReport
from lifecycle.runtime.app import Lifecycle
from lifecycle.store import nodes
from lifecycle.store import stops as stops_of
from lifecycle.store.marks import Marked
from lifecycle.trees import stop as stops
from lifecycle.trees.doorbell import Doorbell

PATIENCE = 5.0  # seconds beyond the last deadline or, of a lost node, its lease
BATCH = 1_000  # trees marked in one transaction
SHOWN = 20  # trees that a question lists
NOTHING = "No live container fits: nothing to stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the user wants done to the containers chosen."""

    grace: float | None
    force: bool
    reason: str | None
    wait: bool


class Bell:
    """The doorbell of many stops: nodes are rung once, and Celery's results told once, at the end."""

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._rung: bool | None = None
        self._stopped: list[str] = []
        self.publish, self.is_empty, self.failed = doorbell.publish, doorbell.is_empty, doorbell.failed

    def ring(self, root_id: str, depth: int) -> bool:
        """One ring is enough: a node that hears it looks at all that it runs."""
        if self._rung is None:
            self._rung = self._doorbell.ring(root_id, depth)
        return self._rung

    def revoked(self, container_ids: Sequence[str], _reason: str) -> None:
        """Keep them: where results cannot be reached, one wait is enough."""
        self._stopped += container_ids

    def tell(self) -> None:
        """Now tell Celery's results."""
        self._doorbell.revoked(self._stopped, STOPPED_BY_USER)
        self._stopped = []


def _common(verb: Any) -> Any:
    """The options of stop and kill alike."""
    for option in reversed(
        (
            click.argument("parts", metavar="[ID]...", nargs=-1),
            tag_option("Stop all containers with this tag; several must all fit."),
            click.option("--all", "everything", is_flag=True, help="Stop all containers."),
            player_option,
            click.option("--reason", metavar="TEXT", help="Kept with the containers and in their history."),
            click.option("--dry-run", is_flag=True, help="Only show what would be stopped, in order."),
            click.option("--no-wait", is_flag=True, help="Return at once; the nodes do the rest."),
            click.option("-y", "--yes", is_flag=True, help="Do not ask; needed for --tag and --all in scripts."),
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
    """Find what is meant, show or ask, then stop it. That nothing fits is no error: all is as it was wanted."""
    parts, tags, player_id = given["parts"], given["tags"], given["player_id"]
    check_choice(parts, tags, everything=given["everything"])
    ids = named(lifecycle, parts, player_id) if parts else fitting(lifecycle, tags, player_id)
    if not ids:
        click.echo(NOTHING)
        return
    is_clear = bool(parts) and len(ids) == 1
    trees: Trees = {ids[0]: []} if is_clear and not given["dry_run"] else trees_of(lifecycle, ids)
    if given["dry_run"]:
        print_preview(trees)
        return
    if not (is_clear or given["yes"]):
        ask(trees, must=not parts)
    reports = []
    for report in stop_all(lifecycle, trees, order):
        print_columns([(each, outcome(report, each)) for each in report.order or (report.root,)])
        reports.append(report)
    click.echo(summary(reports))
    if any(report.failed or (order.wait and report.pending) for report in reports):
        click.get_current_context().exit(1)


def ask(trees: Trees, *, must: bool) -> None:
    """Show the trees and ask; where nobody can answer, refuse what `must` be asked."""
    if not sys.stdin.isatty():
        if must:
            raise Misuse(f"this would stop {extent(trees)}: say --yes, or --dry-run to see which")
        return
    shown = list(trees.items())[:SHOWN]
    print_columns([(top, count(len(tree))) for top, tree in shown])
    if len(trees) > len(shown):
        click.echo(f"+{len(trees) - len(shown):,} more")
    click.confirm(f"Stop {extent(trees)}?", abort=True)


def stop_all(lifecycle: Lifecycle, trees: Trees, order: Order) -> Iterator[StopReport]:
    """Mark all trees before waiting for any: their graces run side by side. On stderr, what one should know."""
    bell = Bell(lifecycle.doorbell)
    marked: list[tuple[Marked, Container]] = []
    notes: list[str] = []
    done = 0
    try:
        for ids in together(trees):
            marked.append(mark_trees(lifecycle, ids, order))
            done += len(ids)
            notes += stops.ring(lifecycle.database, bell, *marked[-1])
    finally:
        bell.tell()
        if 0 < done < len(trees):
            click.echo(f"cut off: {done:,} of {count(len(trees), 'tree')} are being stopped", err=True)
    for note in dict.fromkeys([*notes, *unkillable(lifecycle, [mark.stop_id for mark, _ in marked])]):
        click.echo(clean(note), err=True)
    try:
        for mark, target in marked:
            yield report_on(lifecycle, mark.stop_id, target, wait=order.wait)
    except KeyboardInterrupt:
        click.echo("not waiting any more: the stop goes on", err=True)
        click.get_current_context().exit(INTERRUPTED)


def mark_trees(lifecycle: Lifecycle, ids: Sequence[str], order: Order) -> tuple[Marked, Container]:
    """One stop of these trees; of several, named by the first."""
    wanted = request(lifecycle, ids[0], order)
    if len(ids) == 1:
        return stops.mark(lifecycle.database, wanted)
    return stops.mark_many(lifecycle.database, ids, wanted)


def unkillable(lifecycle: Lifecycle, stop_ids: Sequence[int]) -> Iterator[str]:
    """A note if some of what is being stopped runs where a deadline ends nothing."""
    with lifecycle.database.read() as connection:
        pools = {row.id: as_option(row.pool) for row in nodes.alive(connection) if row.pool != KILLABLE}
        where = {each: pool for node, pool in pools.items() for each, _ in nodes.rows_on_node(connection, node)}
        asked = {row.id for each in stop_ids if where for row in stops_of.rows_of(connection, each)}
    found = where.keys() & asked
    if found:
        names = ", ".join(sorted({where[each] for each in found}))
        yield f"{count(len(found))} on {names} cannot be killed, and will stop only at the next {LOOKS}"


def together(trees: Trees) -> Iterator[list[str]]:
    """Roots with nothing below them a batch at a time: their marks are alike. Every other tree by itself."""
    alone = [top for top, tree in trees.items() if [each.parent_container_id for each in tree] == [None]]
    yield from (alone[first : first + BATCH] for first in range(0, len(alone), BATCH))
    others = trees.keys() - set(alone)
    yield from ([top] for top in trees if top in others)


def request(lifecycle: Lifecycle, container_id: str, order: Order) -> stops.Request:
    """The stop of one tree, in the name of who types."""
    grace = 0.0 if order.force else order.grace
    return stops.Request(container_id=container_id, by=lifecycle.who, reason=order.reason, grace=grace)


def report_on(lifecycle: Lifecycle, stop_id: int, target: Container, *, wait: bool) -> StopReport:
    """What has come of a stop, or with `wait` what came of it in the end."""
    found = stops.report(lifecycle.database, stop_id, target)
    if not (wait and found.pending):
        return found
    patience = lifecycle.settings.expires_in + PATIENCE
    with Console(stderr=True).status("stopping; Ctrl-C leaves, and the stop goes on"):
        stops.watch(
            lifecycle.database, lifecycle.doorbell, stop_id, patience=patience, restarts=lifecycle.settings.restarts
        )
    return stops.report(lifecycle.database, stop_id, target)


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


def print_preview(trees: Trees) -> None:
    """What a stop would end now, in stop order."""
    print_columns([(each.id, each.status) for tree in trees.values() for each in tree])
    click.echo(f"Would stop {extent(trees)}")


def print_columns(rows: Sequence[tuple[str, str]]) -> None:
    """Two columns, the second after the widest of the first."""
    cleaned = [(clean(left), clean(right)) for left, right in rows]
    width = max((len(left) for left, _ in cleaned), default=0)
    for left, right in cleaned:
        click.echo(f"{left:{width}}  {right}")

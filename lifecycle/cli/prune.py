"""`container prune`: deleting what ended long ago."""

import json
from dataclasses import asdict

import click

from lifecycle.cli.options import duration_option, json_option, pass_lifecycle
from lifecycle.cli.text import count
from lifecycle.runtime.app import Lifecycle


@click.command("prune")
@duration_option("--older-than", "What ended longer ago than this: 14d, 36h, 90m, or seconds.")
@click.option("--dry-run", is_flag=True, help="Only say how much would go.")
@json_option
@pass_lifecycle
def prune_old(lifecycle: Lifecycle, *, older_than: float | None, dry_run: bool, as_json: bool) -> None:
    """Delete ended containers that are past their retention, with their history and logs, children first.

    What still has a child stays. Old log lines of others, nodes that died and quarantines that old go too.
    Without --older-than it is the setting lifecycle_retention.
    """
    pruned = lifecycle.prune(older_than=older_than, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({**asdict(pruned), "dry_run": dry_run}, indent=2))
        return
    kinds = {
        "container": pruned.containers,
        "log line": pruned.log_lines,
        "node": pruned.nodes,
        "quarantine": pruned.quarantines,
    }
    told = ", ".join(count(number, thing) for thing, number in kinds.items() if number or thing == "container")
    click.echo(f"{'would prune' if dry_run else 'pruned'} {told}")

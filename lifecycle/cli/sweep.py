"""`container sweep`: the orphan detector, by hand."""

import json
from dataclasses import asdict

import click

from lifecycle.cli.options import json_option, pass_lifecycle
from lifecycle.cli.text import clean, count
from lifecycle.runtime.app import Lifecycle
from lifecycle.trees.sweep import Swept

NOTHING = "No orphans found"
SAID = {
    "orphans": ("orphaned worker", "its parent has ended"),
    "by_hand": ("STOPPING by hand", "no stop drives it"),
    "lost": ("lost its node", "the node is dead"),
    "settled": ("ended late", "nothing held it back"),
    "released": ("resource", "its holder has ended"),
}


@click.command("sweep")
@click.option("--dry-run", is_flag=True, help="Only show what would be cleaned up.")
@json_option
@pass_lifecycle
def sweep_containers(lifecycle: Lifecycle, *, dry_run: bool, as_json: bool) -> None:
    """Find containers that lost their parent or their node, and end them.

    Beat does so every 5 minutes. A container that waits to be run is none, nor is a root, nor a child of an
    INTERRUPTED parent.
    """
    swept = lifecycle.sweep(dry_run=dry_run)
    if as_json:
        click.echo(json.dumps({**asdict(swept), "dry_run": dry_run}, indent=2))
        return
    for line in lines(swept):
        click.echo(line)
    click.echo(total(swept, dry_run=dry_run))


def lines(swept: Swept) -> list[str]:
    """What was found, one line each."""
    found = asdict(swept)
    return [f"{clean(each)}  {what}: {why}" for name, (what, why) in SAID.items() for each in found[name]]


def total(swept: Swept, *, dry_run: bool) -> str:
    """The last line, in the seed's words."""
    if not swept.found:
        return NOTHING
    would = "would " if dry_run else ""
    cleaned, mended = ("clean up", "mend") if dry_run else ("cleaned up", "mended")
    orphans, others = len(swept.orphans), swept.found - len(swept.orphans)
    done = [f"{cleaned} {count(orphans, 'orphaned worker')}"] if orphans else []
    done += [f"{mended} {others:,} {'more' if orphans else 'other' if others == 1 else 'others'}"] if others else []
    line = would + ", and ".join(done)
    return line[0].upper() + line[1:]

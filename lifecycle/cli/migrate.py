"""`container migrate`: the tables of this version, or of an older one."""

import sys

import click

from lifecycle.cli.group import Misuse
from lifecycle.cli.options import pass_lifecycle
from lifecycle.runtime.app import Lifecycle

NEWEST = "head"


@click.command("migrate")
@click.option("--revision", default=NEWEST, show_default=True, help="Up to this revision.")
@click.option("--back", is_flag=True, help="Down to --revision: what newer ones hold is lost.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before going back.")
@pass_lifecycle
def migrate_schema(lifecycle: Lifecycle, *, revision: str, back: bool, yes: bool) -> None:
    """Create or upgrade the tables; prints every revision applied, or with --back undone."""
    if not back:
        for applied in lifecycle.migrate(revision) or ["already up to date"]:
            click.echo(applied)
        return
    if revision == NEWEST:
        raise click.UsageError("--back needs --revision: the one to go back to")
    if not yes:
        ask(revision)
    for undone in lifecycle.migrate_back(revision) or ["already there"]:
        click.echo(undone)


def ask(revision: str) -> None:
    """Nothing is lost by mistake: a terminal is asked, a program has to say so."""
    if not sys.stdin.isatty():
        raise Misuse("what newer revisions hold would be lost: add --yes")
    click.confirm(f"Go back to {revision}? What newer revisions hold is lost.", abort=True)

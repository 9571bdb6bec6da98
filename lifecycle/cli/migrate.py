"""`container migrate`: the tables of this version."""

import click

from lifecycle.cli.options import pass_lifecycle
from lifecycle.runtime.app import Lifecycle


@click.command("migrate")
@click.option("--revision", default="head", show_default=True, help="Up to this revision.")
@pass_lifecycle
def migrate_schema(lifecycle: Lifecycle, *, revision: str) -> None:
    """Create or upgrade the tables; prints every revision applied."""
    for applied in lifecycle.migrate(revision) or ["already up to date"]:
        click.echo(applied)

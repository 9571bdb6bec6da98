"""What may join a Celery command that has its own process: Flower's page, found by its entry point."""

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

GROUP = "lifecycle.commands"


def join(lifecycle: "Lifecycle") -> None:
    """Call the plug-ins of the command being run with what it is for: named as the command is, before it begins."""
    context = click.get_current_context(silent=True)
    command = context.find_root().invoked_subcommand if context is not None else None
    for each in entry_points(group=GROUP, name=command) if command else ():
        each.load()(lifecycle)

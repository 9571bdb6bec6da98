"""What may join a Celery command that has its own process: Flower's page, found by its entry point."""

from importlib.metadata import entry_points

import click

GROUP = "lifecycle.commands"


def join() -> None:
    """Call the plug-ins of the command being run: named as the command is, before it does anything."""
    context = click.get_current_context(silent=True)
    command = context.find_root().invoked_subcommand if context is not None else None
    for each in entry_points(group=GROUP, name=command) if command else ():
        each.load()()

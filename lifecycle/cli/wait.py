"""`container wait`: until containers have ended, and with which exit code."""

import time

import click
from rich.console import Console
from rich.text import Text

from lifecycle.cli.group import Refusal
from lifecycle.cli.options import INTERRUPTED, between, find_one, pass_lifecycle, player_option
from lifecycle.cli.text import clean
from lifecycle.domain.container import Container
from lifecycle.domain.policy import MAX_SECONDS
from lifecycle.errors import WaitTimeout
from lifecycle.runtime.app import Lifecycle


class TooLate(Refusal):
    """Not ended in time, as timeout(1) says it."""

    exit_code = 124


@click.command("wait")
@click.argument("parts", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--timeout",
    type=float,
    callback=between(0, MAX_SECONDS),
    metavar="SECONDS",
    help="Wait no longer than this; exit with 124 then.",
)
@player_option
@pass_lifecycle
def wait_for_containers(
    lifecycle: Lifecycle, *, parts: tuple[str, ...], timeout: float | None, player_id: int | None
) -> None:
    """Wait until all of them have ended, and print how each did.

    Exits with the exit code of the first that is not 0.
    """
    containers = {each.id: each for each in (find_one(lifecycle, part, player_id) for part in parts)}
    end = None if timeout is None else time.monotonic() + timeout
    width, codes = max(map(len, map(clean, containers))), []
    for container_id in containers:
        found = wait_for(lifecycle, container_id, end)
        click.echo(f"{clean(found.id):{width}}  {ending(found)}")
        codes.append(exit_code(found))
    click.get_current_context().exit(next(filter(None, codes), 0))


def wait_for(lifecycle: Lifecycle, container_id: str, end: float | None) -> Container:
    """The container as it ended, by monotonic time `end`."""
    left = None if end is None else max(0.0, end - time.monotonic())
    try:
        with Console(stderr=True).status(Text(f"waiting for {clean(container_id)}; Ctrl-C leaves, and it goes on")):
            return lifecycle.wait(container_id, left)
    except WaitTimeout as error:
        status = lifecycle.get(container_id).status
        raise TooLate(f"not ended in time: {clean(container_id)} is {status}") from error
    except KeyboardInterrupt:
        click.echo("not waiting any more: what runs goes on", err=True)
        click.get_current_context().exit(INTERRUPTED)


def ending(container: Container) -> str:
    """`COMPLETED 0`, `FAILED 1: ValueError: no luck`."""
    message = f": {clean(container.exit_message)}" if container.exit_message else ""
    code = "-" if container.exit_code is None else container.exit_code
    return f"{container.status} {code}{message}"


def exit_code(container: Container) -> int:
    """Its exit code; an ended one without any was ended by hand."""
    return 1 if container.exit_code is None else container.exit_code

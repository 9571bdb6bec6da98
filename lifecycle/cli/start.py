"""`container start` and `rerun`: a container of a registered type, from the command line."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import click

from lifecycle.cli.group import Refusal
from lifecycle.cli.options import (
    INTERRUPTED,
    find_one,
    grace_option,
    id_argument,
    pass_lifecycle,
    player_option,
    split_pairs,
    tag_option,
)
from lifecycle.cli.text import clean
from lifecycle.cli.wait import ending, exit_code
from lifecycle.domain.container import Container
from lifecycle.runtime.app import Lifecycle

NO_BROKER = "the broker could not be reached: the container is recorded, and a node will start it"
wait_option = click.option("--wait", is_flag=True, help="Wait for its end and exit with its exit code.")


def _kwargs(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """Keyword arguments of the body; a repeated key becomes a list."""
    values: dict[str, list[Any]] = {}
    for key, text in split_pairs(given):
        values.setdefault(key, []).append(parse_value(text))
    return {key: found if len(found) > 1 else found[0] for key, found in values.items()}


@click.command("start")
@click.argument("container_type", metavar="TYPE")
@click.argument("kwargs", metavar="[KEY=VALUE]...", nargs=-1, callback=_kwargs)
@player_option
@tag_option("Give it this tag; may be repeated.")
@click.option("--resource", "resources", metavar="NAME", multiple=True, help="Hold this; may be repeated.")
@click.option("--detach", is_flag=True, help="Not stopped with a parent.")
@grace_option("From a stop to the kill, instead of its type's.")
@click.option("--id", "container_id", metavar="ID", help="Its id, instead of a generated one.")
@wait_option
@pass_lifecycle
def start_container(
    lifecycle: Lifecycle, *, container_type: str, kwargs: Mapping[str, Any], wait: bool, **how: Any
) -> None:
    """Start a container of a registered TYPE and print its id.

    A VALUE is JSON where it is valid JSON, else text; a KEY given several times makes a list.

    \b
    Example:
      celery -A workers container start CRAWL_COORDINATOR folder=/usr/share depth=3
    """
    lifecycle.app.loader.import_default_modules()
    tell(told(lambda: lifecycle.start(container_type, kwargs, **how)), wait=wait)


@click.command("rerun")
@id_argument
@player_option
@wait_option
@pass_lifecycle
def rerun_container(lifecycle: Lifecycle, *, container_id: str, player_id: int | None, wait: bool) -> None:
    """Start a new container as ID was started, and print its id.

    It has the same type, arguments, options, tags, player, grace and resources.
    """
    lifecycle.app.loader.import_default_modules()
    found = find_one(lifecycle, container_id, player_id).id
    tell(told(lambda: lifecycle.rerun(found, player_id=player_id)), wait=wait)


def told(start: Callable[[], Container]) -> Container:
    """The container, or as Python says it that the body takes no such arguments."""
    try:
        return start()
    except TypeError as error:
        raise Refusal(clean(error)) from error


def tell(container: Container, *, wait: bool) -> None:
    """Print the id of a new container; say if no broker has its message; with `wait`, exit as it does."""
    click.echo(clean(container.id))
    if container.refresh().dispatched_at is None and container.wake_at is None:
        raise Refusal(NO_BROKER)
    if wait:
        click.get_current_context().exit(ended(container))


def ended(container: Container) -> int:
    """Wait for its end, say how it ended, and give its exit code."""
    try:
        container = container.wait()
    except KeyboardInterrupt:
        click.echo("not waiting any more: the container goes on", err=True)
        return INTERRUPTED
    click.echo(ending(container), err=True)
    return exit_code(container)


def parse_value(text: str) -> Any:
    """JSON where it parses to what JSON can say, else the text itself."""
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        return text


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number

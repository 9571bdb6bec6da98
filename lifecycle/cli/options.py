"""What several verbs take: the Lifecycle of the app, players, tags, ids."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

import click

from lifecycle.domain.container import Container
from lifecycle.domain.policy import MAX_SECONDS
from lifecycle.runtime.app import Lifecycle
from lifecycle.runtime.installed import lifecycle_of

INTERRUPTED = 130  # the shell's exit code for Ctrl-C
MAX_INTEGER = 2**31 - 1
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

Decorator = Callable[[Any], Any]


def pass_lifecycle(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give the verb the Lifecycle of the app named with `celery -A`."""

    @click.pass_context
    @wraps(verb)
    def call(ctx: click.Context, /, *args: Any, **kwargs: Any) -> Any:
        return verb(lifecycle_of(ctx.obj.app), *args, **kwargs)

    return call


def find_one(lifecycle: Lifecycle, part: str, player_id: int | None) -> Container:
    """The container that an id or a unique part of one names; another player's is not found."""
    return lifecycle.get(lifecycle.resolve(part, player_id=player_id), player_id=player_id)


def split_pairs(given: Iterable[str]) -> list[tuple[str, str]]:
    """Read `key=value` arguments; the value may be empty and may hold further `=`."""
    split = [(text, *text.partition("=")) for text in given]
    for text, key, equals, _ in split:
        if not key or not equals:
            raise click.BadParameter(f"{text!r} is not key=value")
    return [(key, value) for _, key, _, value in split]


def _tags(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> Mapping[str, str]:
    tags: dict[str, str] = {}
    for key, value in split_pairs(given):
        if tags.get(key, value) != value:
            raise click.BadParameter(f"{key} cannot be both {tags[key]!r} and {value!r}")
        tags[key] = value
    return tags


def between(low: float, high: float) -> Callable[..., Any]:
    """A callback that refuses a number beyond what the columns hold."""

    def check(_ctx: click.Context, _param: click.Parameter, given: float | None) -> float | None:
        if given is None or low <= given <= high:
            return given
        raise click.BadParameter(f"{given} is not between {low:,} and {high:,}")

    return check


def tag_option(text: str) -> Decorator:
    """`--tag k=v`, any number of them, as a mapping."""
    return click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, callback=_tags, help=text)


player_option = click.option(
    "--player-id",
    type=int,
    callback=between(-MAX_INTEGER, MAX_INTEGER),
    metavar="N",
    help="The player whose containers are meant.",
)


def grace_option(text: str) -> Decorator:
    """`--grace`, a time that a stop leaves."""
    return click.option("--grace", type=float, callback=between(0, MAX_SECONDS), metavar="SECONDS", help=text)


def _duration(_ctx: click.Context, _param: click.Parameter, given: str | None) -> float | None:
    """`14d`, `36h`, `90m`, `30s` or `3600` as seconds."""
    if given is None:
        return None
    fits = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", given)
    seconds = float(fits[1]) * SECONDS[fits[2]] if fits else -1.0
    if 0 <= seconds <= MAX_SECONDS:
        return seconds
    raise click.BadParameter(f"{given!r} is no time: give 14d, 36h, 90m or seconds, {MAX_SECONDS:,.0f} at most")


def duration_option(name: str, text: str) -> Decorator:
    """A time as a number of seconds, minutes, hours or days."""
    return click.option(name, callback=_duration, metavar="TIME", help=text)


json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
id_argument = click.argument("container_id", metavar="ID")

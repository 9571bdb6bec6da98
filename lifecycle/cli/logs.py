"""`container logs`: what a container logged, and what it logs from now on."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click

from lifecycle.cli.options import MAX_INTEGER, between, find_one, id_argument, pass_lifecycle, player_option
from lifecycle.cli.text import clean, clean_lines, milliseconds
from lifecycle.runtime.app import Lifecycle
from lifecycle.store.logs import LEVELS, LogLine

PAGE = 1_000
POLL = 0.5  # seconds
OVERLAP = 1_000  # lines: several writers do not commit in the order of their ids
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which lines of whose logs."""

    container_id: str
    with_children: bool
    level: str | None
    since: datetime | None


def _since(_ctx: click.Context, _param: click.Parameter, given: str | None) -> datetime | None:
    """A time ago (`10m`) or a time; without a zone it is UTC."""
    if given is None:
        return None
    try:
        if ago := re.fullmatch(r"(\d+)([smhd])", given):
            return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        time = datetime.fromisoformat(given)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{given!r} is neither a time ago (30s, 10m, 2h, 1d) nor an ISO 8601 time") from error


@click.command("logs")
@id_argument
@player_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the container has ended, or Ctrl-C.")
@click.option("--tail", type=int, callback=between(0, MAX_INTEGER), metavar="N", help="Only the last N lines.")
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), help="Only this level and above.")
@click.option("--since", callback=_since, metavar="TIME", help="Only since: 10m, 2h, or an ISO 8601 time (UTC).")
@click.option("--with-children", is_flag=True, help="Also of all below it.")
@pass_lifecycle
def show_logs(
    lifecycle: Lifecycle,
    *,
    container_id: str,
    player_id: int | None,
    follow: bool,
    tail: int | None,
    level: str | None,
    since: datetime | None,
    with_children: bool,
) -> None:
    """Show what a container logged, oldest first, in UTC."""
    full_id = find_one(lifecycle, container_id, player_id).id
    wanted = Wanted(container_id=full_id, with_children=with_children, level=level, since=since)
    with suppress(KeyboardInterrupt):
        for line in followed(lifecycle, wanted, tail) if follow else recorded(lifecycle, wanted, tail):
            click.echo(written(line, with_id=with_children))


def written(line: LogLine, *, with_id: bool) -> str:
    """Time, level, whose, what, and how often within the folding window."""
    whose = f" [{clean(line.container_id)}]" if with_id else ""
    times = f" (x{line.count:,})" if line.count > 1 else ""
    return f"{milliseconds(line.at)} {clean(line.level):8}{whose} {clean_lines(line.message)}{times}"


def recorded(lifecycle: Lifecycle, wanted: Wanted, tail: int | None, after: int = 0) -> Iterator[LogLine]:
    """What there is now, page by page."""
    ids = _ids(lifecycle, wanted)
    if tail is not None:
        yield from lifecycle.logs(ids, tail=tail, level=wanted.level, since=wanted.since)
        return
    while True:
        page = lifecycle.logs(ids, after=after, level=wanted.level, since=wanted.since, limit=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].id


def followed(lifecycle: Lifecycle, wanted: Wanted, tail: int | None) -> Iterator[LogLine]:
    """What there is and what comes; between two looks nothing is held in the database.

    Each look goes back a little: a line may become visible after one with a higher id.
    """
    newest = max((line.id for line in lifecycle.logs(_ids(lifecycle, wanted), tail=1)), default=0)
    seen = {line.id for line in recorded(lifecycle, wanted, None, after=newest - OVERLAP)}
    for line in recorded(lifecycle, wanted, tail):
        seen.add(line.id)
        yield line
    while True:
        ended = lifecycle.get(wanted.container_id).is_ended  # asked first: what it logged last is read after
        newest = max(seen, default=0)
        seen = {number for number in seen if number > newest - OVERLAP}
        for line in recorded(lifecycle, wanted, None, after=newest - OVERLAP):
            if line.id not in seen:
                seen.add(line.id)
                yield line
        if ended:
            return
        time.sleep(POLL)


def _ids(lifecycle: Lifecycle, wanted: Wanted) -> list[str]:
    if not wanted.with_children:
        return [wanted.container_id]
    return [container.id for container in lifecycle.tree(wanted.container_id)]

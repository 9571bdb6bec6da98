"""`container list`: what runs, and a last line that counts the rest."""

import json
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import click
from rich.console import Console, Group
from rich.live import Live

from lifecycle.cli import table
from lifecycle.cli.options import MAX_INTEGER, between, json_option, pass_lifecycle, player_option, tag_option
from lifecycle.cli.text import clean, count
from lifecycle.cli.tree import Entry, arrange
from lifecycle.domain.container import Container
from lifecycle.domain.status import ACTIVE, TERMINAL, Status, parse_statuses
from lifecycle.errors import StoreUnreachable
from lifecycle.runtime.app import Lifecycle

LIMIT = 1_000
REFRESH = 1.0  # seconds
NOTHING = "No containers found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked for; statuses None means all."""

    statuses: tuple[Status, ...] | None
    is_default: bool
    player_id: int | None
    tags: Mapping[str, str]
    container_type: str | None
    limit: int
    tree: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """What was found, and what to say below it."""

    entries: list[Entry]
    footer: str
    left_out: int
    """How many that match are beyond the limit."""


@click.command("list")
@click.option("--status", metavar="A,B", help="Only these statuses, in any case; wins over --show-all.")
@click.option("-a", "--show-all", is_flag=True, help="All, also the completed, failed and stopped.")
@player_option
@tag_option("Only containers with this tag; several must all fit.")
@click.option("--type", "container_type", metavar="TYPE", help="Only containers of this type.")
@click.option(
    "--limit",
    type=int,
    callback=between(1, MAX_INTEGER),
    default=LIMIT,
    show_default=True,
    metavar="N",
    help="The newest N at most.",
)
@click.option("--tree", is_flag=True, help="Children under their parents.")
@click.option("--watch", is_flag=True, help="Stay and keep it current, until Ctrl-C.")
@click.option("--wide", is_flag=True, help="More columns.")
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Only ids, for programs.")
@pass_lifecycle
def list_containers(
    lifecycle: Lifecycle,
    *,
    status: str | None,
    show_all: bool,
    player_id: int | None,
    tags: Mapping[str, str],
    container_type: str | None,
    limit: int,
    tree: bool,
    watch: bool,
    wide: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """List containers.

    By default only RUNNING and INTERRUPTED containers are shown; the last line counts what is hidden.

    \b
    Examples:
      # Show only active containers (default)
      celery -A workers container list --player-id 12
    \b
      # Show all containers including historical
      celery -A workers container list --player-id 12 --show-all
    \b
      # Show only completed containers
      celery -A workers container list --player-id 12 --status COMPLETED
    \b
      # Show failed and stopped containers
      celery -A workers container list --player-id 12 --status FAILED,STOPPED
    """
    if as_json + quiet + (watch or wide) > 1:
        raise click.UsageError("--json, --quiet and a table (--watch, --wide) exclude each other")
    query = Query(
        statuses=_statuses(status, show_all=show_all),
        is_default=status is None and not show_all,
        player_id=player_id,
        tags=tags,
        container_type=container_type,
        limit=limit,
        tree=tree,
    )
    console = table.terminal()
    if watch and console is not None and console.is_interactive:
        keep_current(console, lambda: look(lifecycle, query), tree=tree, wide=wide)
    elif as_json or quiet:
        for_programs(look(lifecycle, query), as_json=as_json)
    else:
        for_people(look(lifecycle, query), tree=tree, wide=wide)


def look(lifecycle: Lifecycle, query: Query) -> Listing:
    """Read what is asked for as it is now."""
    found = lifecycle.find(
        status=query.statuses, player_id=query.player_id, tags=query.tags, type=query.container_type, limit=query.limit
    )
    counts = lifecycle.counts(player_id=query.player_id, tags=query.tags, type=query.container_type)
    total = len(found)
    if total == query.limit:
        total = max(total, sum(counts[status] for status in query.statuses or Status))
    entries = arrange(found, lifecycle.get) if query.tree else [Entry(container) for container in found]
    above = sum(not entry.matches for entry in entries)
    notes = [f"+{count(above, 'ancestor')}"] if above else []
    notes += [f"newest {len(found):,} shown, --limit for more"] if total > len(found) else []
    notes += hidden(counts) if query.is_default else []
    footer = (f"Total: {count(total)}" if found else NOTHING) + (f" ({'; '.join(notes)})" if notes else "")
    return Listing(entries, footer, total - len(found))


def hidden(counts: Mapping[Status, int]) -> list[str]:
    """What the default leaves out: live containers by status, the ended ones together."""
    parts = [f"{counts[status]:,} {status}" for status in (Status.PENDING, Status.STOPPING) if counts[status]]
    ended = sum(counts[status] for status in TERMINAL)
    parts += [f"{ended:,} ended"] if ended else []
    return [f"hidden: {', '.join(parts)}", "--show-all"] if parts else []


def for_people(listing: Listing, *, tree: bool, wide: bool) -> None:
    """A table and its last line."""
    if listing.entries:
        table.show(table.table(listing.entries, tree=tree, wide=wide), listing.footer)
    else:
        click.echo(listing.footer)


def for_programs(listing: Listing, *, as_json: bool) -> None:
    """Nothing on stdout but what matches; on stderr, that there is more."""
    matching = [entry.container for entry in listing.entries if entry.matches]
    if as_json:
        echo_array(matching)
    else:
        for container in matching:
            click.echo(clean(container.id))
    if listing.left_out:
        click.echo(f"{listing.left_out:,} more: raise --limit", err=True)


def echo_array(containers: Sequence[Container]) -> None:
    """A JSON array, written one container after the other: a hundred thousand as one text took a gigabyte."""
    before = "["
    for container in containers:
        text = "\n" + json.dumps(container.as_dict(), indent=2)
        click.echo(before + text.replace("\n", "\n  "), nl=False)
        before = ","
    click.echo("\n]" if containers else "[]")


def keep_current(console: Console, read: Callable[[], Listing], *, tree: bool, wide: bool) -> None:
    """A screen that follows the containers until Ctrl-C; an outage of the database is said and outlived."""
    listing, trouble = read(), ""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the terminal is put right after this one, too
    with suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            footer = trouble or listing.footer
            lines = table.page(listing.entries, footer, height=console.height, tree=tree, wide=wide)
            live.update(Group(*lines), refresh=True)
            time.sleep(REFRESH)
            try:
                listing, trouble = read(), ""
            except StoreUnreachable as error:
                trouble = clean(error)


def _statuses(given: str | None, *, show_all: bool) -> tuple[Status, ...] | None:
    if given is not None:
        return parse_statuses(given)
    return None if show_all else ACTIVE

"""Listed containers as a table: in a terminal coloured and as wide as that, elsewhere plain and whole."""

import io
import sys
from collections.abc import Callable, Iterable, Sequence

import click
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lifecycle.cli.text import clean, pairs, seconds
from lifecycle.cli.tree import Entry
from lifecycle.domain.container import Container

ENDLESS = 1_000_000  # columns
LEAST = 12  # columns that an id keeps in a narrow terminal
COLOURS = {
    "PENDING": "cyan",
    "RUNNING": "green",
    "INTERRUPTED": "yellow",
    "STOPPING": "magenta",
    "COMPLETED": "blue",
    "FAILED": "red",
    "STOPPED": "bright_black",
}

Column = tuple[str, Callable[[Container], object]]
NARROW: tuple[Column, ...] = (
    ("TYPE", lambda c: c.container_type),
    ("STATUS", lambda c: c.status),
    ("ITERATION", lambda c: c.progress),
)
CREATED: tuple[Column, ...] = (("CREATED", lambda c: seconds(c.created_at)),)
WIDE: tuple[Column, ...] = (
    ("ACTIVITY", lambda c: c.activity or None),
    ("PARENT", lambda c: c.parent_container_id),
    ("PLAYER", lambda c: c.player_id),
    ("NODE", lambda c: c.node),
    ("RESTARTS", lambda c: c.restart_count),
    ("EXIT", lambda c: c.exit_code),
    ("MESSAGE", lambda c: c.exit_message),
    ("TAGS", lambda c: pairs(c.tags) or None),
)
ELASTIC = {"TYPE", "ACTIVITY", "PARENT", "NODE", "MESSAGE", "TAGS"}


class Cut:
    """One line that loses its middle where there is no room: an id is known by its beginning or its end."""

    def __init__(self, text: str, style: str = "") -> None:
        self.text, self.style = text, style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Keep a third at the beginning, for ids end in what tells them apart."""
        text, room = self.text, max(1, options.max_width)
        if len(text) > room:
            head = (room - 1) // 3
            text = text[:head] + "…" + text[len(text) - (room - 1 - head) :]
        yield Text(text, self.style, no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """From an ellipsis to all of it."""
        width = Text(self.text).cell_len
        return Measurement(min(LEAST, width), width)


def table(entries: Iterable[Entry], *, tree: bool, wide: bool) -> Table:
    """The seed's columns; a tree leaves out CREATED, as the seed's does, and `wide` adds what there is."""
    columns = NARROW + (CREATED if wide or not tree else ()) + (WIDE if wide else ())
    made = blank("CONTAINER ID")
    for title, _ in columns:
        made.add_column(title, no_wrap=title not in ELASTIC)
    for entry in entries:
        cells = [_cell(title, value(entry.container)) for title, value in columns]
        made.add_row(Cut(entry.branch + clean(entry.container.id)), *cells, style="" if entry.matches else "dim")
    return made


def blank(*titles: str) -> Table:
    """A table with no row yet, as all verbs draw theirs."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title in titles:
        made.add_column(title)
    return made


def status(text: str) -> Text:
    """A status in its colour."""
    return Text(clean(text), COLOURS.get(text, ""), no_wrap=True)


def show(table: Table, footer: str) -> None:
    """Print a table and its last line; where nobody reads along, nothing is cut, wrapped or coloured."""
    console = terminal()
    if console is not None:
        console.print(table, Text(footer))
        return
    paper = Console(file=io.StringIO(), width=ENDLESS, color_system=None, force_terminal=False)
    with paper.capture() as captured:
        paper.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
    click.echo(footer)


def terminal() -> Console | None:
    """The terminal that stdout is, whatever the environment says of colours; None if it is none."""
    if not sys.stdout.isatty():
        return None
    options = click.get_current_context().find_root().obj
    return Console(force_terminal=True, no_color=getattr(options, "no_color", None) or None, highlight=False)


def page(entries: Sequence[Entry], footer: str, *, height: int, tree: bool, wide: bool) -> list[RenderableType]:
    """What fits a screen: the header's two lines, rows, how many more there are, the footer."""
    room = max(1, height - 3)
    shown = entries if len(entries) <= room else entries[: max(1, room - 1)]
    more = len(entries) - len(shown)
    lines: list[RenderableType] = [table(shown, tree=tree, wide=wide)] if shown else []
    lines += [_line(f"+{more:,} more", "dim")] if more else []
    return [*lines, _line(footer)]


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _cell(title: str, value: object) -> RenderableType:
    text = "-" if value is None else clean(value)
    if title in ELASTIC:
        return Cut(text)
    return status(text) if title == "STATUS" else Text(text)

"""What a person sees of a tree: a picture that moves on a terminal, else a line a change."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Self

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.text import Text

from lifecycle import Container

COLOURS = {
    "PENDING": "dim",
    "RUNNING": "green",
    "INTERRUPTED": "yellow",
    "STOPPING": "magenta",
    "COMPLETED": "cyan",
    "FAILED": "bold red",
    "STOPPED": "blue",
}


class Changes:
    """A line for each container that is new or whose status changed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._known: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, tree: Sequence[Container]) -> None:
        changed = [container for container in tree if self._known.get(container.id) != container.status]
        for container in changed:
            self._known[container.id] = container.status
            self._console.print(self._line(container), soft_wrap=True)

    def _line(self, container: Container) -> Text:
        why = f"  {container.exit_message}" if container.exit_message else ""
        clock = datetime.now(UTC).strftime("%H:%M:%S")
        return Text(f"{clock}  {container.status:<11}  {'  ' * container.depth}{container.id}{why}")


class Picture:
    """The tree, redrawn in place and cut to the screen."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, tree: Sequence[Container]) -> None:
        self._live.update(Frame(tree))


class Frame:
    """One frame: the counts, then what lives or failed with its ancestors, as far as the screen goes."""

    def __init__(self, tree: Sequence[Container]) -> None:
        self._tree = tree

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._worth_showing()
        room = max((options.height or 24) - 3, 1)
        lines = [branch(container) for container in shown[:room]]
        if hidden := len(shown) - len(lines):
            lines.append(Text(f"+{hidden} more", style="dim"))
        yield Group(Text(counts(self._tree), style="bold"), *lines)

    def _worth_showing(self) -> list[Container]:
        by_id = {container.id: container for container in self._tree}
        wanted: set[str] = set()
        for container in self._tree:
            at: Container | None = (
                container if container.is_root or not container.is_ended or is_failed(container) else None
            )
            while at and at.id not in wanted:
                wanted.add(at.id)
                at = by_id.get(at.parent_container_id or "")
        return [container for container in self._tree if container.id in wanted]


def of(console: Console) -> Picture | Changes:
    return Picture(console) if console.is_terminal else Changes(console)


def branch(container: Container) -> Text:
    line = Text("  " * container.depth + container.id, no_wrap=True, overflow="ellipsis")
    line.append(f"  {container.status}", style=COLOURS[container.status])
    if container.max_iterations != 1:
        line.append(f"  {container.progress}", style="dim")
    return line


def counts(tree: Sequence[Container]) -> str:
    found = Counter(str(container.status) for container in tree)
    parts = [f"{found[status]:,} {status}" for status in COLOURS if found[status]]
    return f"{len(tree):,} containers: {', '.join(parts)}"


def is_failed(container: Container) -> bool:
    return container.status == "FAILED"

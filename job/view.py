"""What a person sees of a tree: a picture that moves on a terminal, else a line a change."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from lifecycle import Container, Status

COLOURS = {  # of `container list`, as are the lines of the tree
    "PENDING": "cyan",
    "RUNNING": "green",
    "INTERRUPTED": "yellow",
    "STOPPING": "magenta",
    "COMPLETED": "blue",
    "FAILED": "red",
    "STOPPED": "bright_black",
}
AROUND = 8  # lines left to what the job says: how to stop it, the counts, how it went
BESIDE = 32  # columns left to a status and its notes


class View:
    """What the job says, and its tree for as long as the view is entered; it may be entered again."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        pass

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)

    def show(self, tree: Sequence[Container]) -> None:
        raise NotImplementedError


class Changes(View):
    """A line for each container that is new or whose status or activity changed."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._known: dict[str, tuple[str, str]] = {}

    def show(self, tree: Sequence[Container]) -> None:
        for container in tree:
            stands = (container.status, container.activity)
            if self._known.get(container.id) != stands:
                self._known[container.id] = stands
                self.say(self._line(container))

    def _line(self, container: Container) -> str:
        why = container.activity or container.exit_message
        clock = datetime.now(UTC).strftime("%H:%M:%S")
        return f"{clock}  {container.status:<11}  {'  ' * container.depth}{container.id}{f'  {why}' if why else ''}"


class Picture(View):
    """The tree, redrawn in place; wiped when it is left by an exception, for the stop draws it anew."""

    def __enter__(self) -> Self:
        self._live = Live(console=self.console, auto_refresh=False)
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._live.transient = kind is not None
        self._live.stop()

    def show(self, tree: Sequence[Container]) -> None:
        self._live.update(Frame(tree), refresh=True)


class Frame:
    """One frame: the counts, then the tree as far as the screen goes; what is not shown is counted above it."""

    def __init__(self, tree: Sequence[Container]) -> None:
        self._tree = tree

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        shown = chosen(self._tree, options.max_height - AROUND)
        below = folded(self._tree, {container.id for container in shown})
        lines = [(branch + container.id, container) for container, branch in branches(shown)]
        width = min(max(len(name) for name, _ in lines), max(options.max_width - BESIDE, BESIDE))
        yield Text(counts(self._tree), "bold", no_wrap=True, overflow="ellipsis")
        for name, container in lines:
            yield row(name, container, below.get(container.id), width)


def of(console: Console) -> View:
    return Picture(console) if console.is_terminal else Changes(console)


def chosen(tree: Sequence[Container], room: int) -> list[Container]:
    """As many as there is room for, each with its ancestors: the root, then the busy, the live, the ended."""
    by_id = {container.id: container for container in tree}
    found: set[str] = set()
    for container in sorted(tree, key=_urgency):
        way: list[str] = []
        at: Container | None = container
        while at and at.id not in found:
            way.append(at.id)
            at = by_id.get(at.parent_container_id or "")
        if not found or len(found) + len(way) <= room:
            found.update(way)
    return [container for container in tree if container.id in found]


def _urgency(container: Container) -> tuple[int, int]:
    done = {Status.FAILED: 1, Status.STOPPED: 3, Status.COMPLETED: 4}.get(container.status)
    busy = container.node is not None or container.status == Status.STOPPING
    return 0 if container.is_root else done or (1 if busy else 2), container.depth


def folded(tree: Sequence[Container], shown: set[str]) -> dict[str, Counter[str]]:
    """The statuses of those that are not shown, by the nearest above that is; parents come first in a tree."""
    nearest: dict[str | None, str] = {}
    below: dict[str, Counter[str]] = {}
    for container in tree:
        if container.id in shown:
            nearest[container.id] = container.id
            continue
        above = nearest[container.id] = nearest[container.parent_container_id]
        below.setdefault(above, Counter())[container.status] += 1
    return below


def branches(tree: Sequence[Container]) -> Iterator[tuple[Container, str]]:
    """Each with the lines that lead to it, as `container list --tree` draws them; parents come first in a tree."""
    to_come = Counter(container.parent_container_id for container in tree)
    indents: dict[str | None, str] = {}
    for container in tree:
        to_come[container.parent_container_id] -= 1
        last = not to_come[container.parent_container_id]
        above = indents.get(container.parent_container_id)
        yield container, "" if above is None else above + ("└─ " if last else "├─ ")
        indents[container.id] = "  " if above is None else above + ("   " if last else "│  ")


def row(name: str, container: Container, below: Counter[str] | None, width: int) -> Text:
    line = Text(f"{cut(name, width):<{width}}", no_wrap=True, overflow="ellipsis")
    line.append(f"  {container.status:<9}", COLOURS[container.status])
    notes = [
        container.progress if container.max_iterations != 1 else "",
        f"+{statuses(below)} below" if below else "",
        container.activity,
        (container.exit_message or "") if container.status == Status.FAILED else "",
    ]
    line.append("".join(f"  {note}" for note in notes if note), "dim")
    return line


def cut(name: str, room: int) -> str:
    """Without its middle where there is no room, for an id ends in what tells it apart."""
    head = (room - 1) // 2
    return name if len(name) <= room else f"{name[:head]}…{name[head + 1 - room :]}"


def counts(tree: Sequence[Container]) -> str:
    """How many there are of each status, and how many of the RUNNING hold a slot."""
    executing = sum(container.status == Status.RUNNING and container.node is not None for container in tree)
    found = Counter(str(container.status) for container in tree)
    told = statuses(found, {Status.RUNNING: f" ({executing:,} executing)"} if executing < found["RUNNING"] else {})
    return f"{count(len(tree), 'container')}: {told}"


def statuses(found: Mapping[str, int], notes: Mapping[str, str] | None = None) -> str:
    return ", ".join(
        f"{found[status]:,} {status}{(notes or {}).get(status, '')}" for status in COLOURS if found.get(status)
    )


def count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"

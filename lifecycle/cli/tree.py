"""Containers in the order and with the lines of a tree."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lifecycle.domain.container import Container
from lifecycle.errors import ContainerNotFound


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing."""

    container: Container
    branch: str = ""
    """The lines that lead to it in a tree."""
    matches: bool = True
    """False for an ancestor, shown only so that its descendants hang somewhere."""


def arrange(matched: Iterable[Container], read: Callable[[str], Container]) -> list[Entry]:
    """All that matched, under their ancestors: roots newest first, children oldest first."""
    known = {container.id: container for container in matched}
    wanted = set(known)
    known |= {container.id: container for container in _ancestors(known, read)}
    below: dict[str | None, list[Container]] = defaultdict(list)
    for container in sorted(known.values(), key=lambda each: (each.created_at, each.id)):
        parent = container.parent_container_id
        below[parent if parent in known else None].append(container)
    return [Entry(each, branch, each.id in wanted) for each, branch in _walk(below)]


def _ancestors(known: dict[str, Container], read: Callable[[str], Container]) -> Iterator[Container]:
    """The parents, and theirs, that are not among the known; a pruned one makes its child a root."""
    seen = {*known, None}
    wanted = [container.parent_container_id for container in known.values()]
    while wanted:
        parent = wanted.pop()
        if parent is None or parent in seen:
            continue
        seen.add(parent)
        try:
            found = read(parent)
        except ContainerNotFound:
            continue
        wanted.append(found.parent_container_id)
        yield found


def _walk(below: dict[str | None, list[Container]]) -> Iterator[tuple[Container, str]]:
    """Every container with its branch, parents first; without recursion, for trees of any depth."""
    stack = [(root, "", "  ") for root in below[None]]
    while stack:
        container, branch, indent = stack.pop()
        yield container, branch
        for child in reversed(below[container.id]):
            last = child is below[container.id][-1]
            stack.append((child, indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  ")))

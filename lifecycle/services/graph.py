"""Who depends on whom among an engine's containers, how strongly, and in which order they are looked at."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from lifecycle.domain.recovery import Memory
from lifecycle.domain.service import Dependency, Service, Share, Snapshot, State

PARENT_LABEL = "lifecycle.parent"


class Strength(StrEnum):
    """How a dependent hangs on its parent."""

    HARD = "hard"
    """It lives in a namespace of its parent: it follows each start, and each new container."""
    FOLLOW = "follow"
    """It is restarted once its parent was."""
    ORDER = "order"
    """It is not touched before its parent is well, and goes on when that is restarted."""
    JOB = "job"
    """Its parent has to be done; a job follows nobody and nobody follows it."""
    SOFT = "soft"
    """It can do without its parent (volumes): only the order of two that are mended counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One dependency of a container; `parent` is None if nobody here knows what took the place of `reference`."""

    parent: Service | None
    strength: Strength
    reference: str
    share: Share | None = None

    @property
    def is_dead(self) -> bool:
        """True if the namespace is that of a container that does not exist any more."""
        return self.share is not None and (
            self.parent is None or self.reference not in (self.parent.id, self.parent.name)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The containers in order, parents first, with what each depends on."""

    order: tuple[Service, ...]
    edges: Mapping[str, tuple[Edge, ...]]
    """By id of the dependent."""
    wanted: frozenset[str] = field(default_factory=frozenset)
    """Ids of those that somebody needs to run."""
    jobs: frozenset[str] = field(default_factory=frozenset)
    """Ids of those that somebody needs to be done, and nobody to run."""
    cycles: tuple[tuple[str, ...], ...] = ()
    replaced: frozenset[str] = field(default_factory=frozenset)
    """Ids of older containers of a key that has a newer one."""

    def below(self, keys: Iterable[str]) -> frozenset[str]:
        """These keys and those of all that depends on them, however far down."""
        found = set(keys)
        for service in self.order:  # parents first: once through is enough
            if any(edge.parent is not None and edge.parent.key in found for edge in self.edges[service.id]):
                found.add(service.key)
        return frozenset(found)


def draw(snapshot: Snapshot, memory: Memory, *, follow_all: bool = False) -> Graph:
    """The graph of a snapshot. R10-R20: from labels and namespaces, within a project; no file is read."""
    current = _current(snapshot)
    search = _Search(snapshot, memory, current, follow_all)
    order, edges, cycles = _ordered(snapshot, {each.id: tuple(search.edges(each)) for each in snapshot})
    parents = [(edge.parent.id, edge.strength) for found in edges.values() for edge in found if edge.parent]
    wanted = frozenset(parent for parent, strength in parents if strength not in IDLE)
    jobs = frozenset(parent for parent, strength in parents if strength is Strength.JOB) - wanted
    replaced = {each.id for each in snapshot if not each.is_set_aside and current[each.key] is not each}
    return Graph(order=order, edges=edges, wanted=wanted, jobs=jobs, cycles=cycles, replaced=frozenset(replaced))


WEIGHTS = (Strength.SOFT, Strength.ORDER, Strength.JOB, Strength.FOLLOW, Strength.HARD)
IDLE = {Strength.JOB, Strength.SOFT}  # edges that need nobody to run


def _current(snapshot: Snapshot) -> dict[str, Service]:
    """The one container of each key: what runs, else the newest; a re-creation by Compose has two for a moment."""
    found: dict[str, Service] = {}
    for each in snapshot:
        if not each.is_set_aside and (each.key not in found or _rank(each) > _rank(found[each.key])):
            found[each.key] = each
    return found


def _rank(service: Service) -> tuple[object, ...]:
    return service.state not in (State.REMOVING, State.DEAD), service.is_running, service.created_at, service.id


@dataclass(frozen=True, slots=True)
class _Search:
    """Finds the parents of each container."""

    snapshot: Snapshot
    memory: Memory
    current: Mapping[str, Service]
    follow_all: bool

    def edges(self, service: Service) -> Iterator[Edge]:
        if service.oneoff:  # R15: what `compose run` started is nobody's dependent
            return
        yield from self._shared(service)
        yield from self._declared(service)
        for strength, references in ((Strength.ORDER, service.links), (Strength.SOFT, service.volumes_from)):
            for reference in references:
                if (parent := self.snapshot.named(reference)) and parent.id != service.id:
                    yield Edge(parent=parent, strength=strength, reference=reference)

    def _shared(self, service: Service) -> Iterator[Edge]:
        """R16, R17: from the configuration, never from a flag of `depends_on`."""
        for share, reference in sorted(service.shares.items()):
            parent = self.snapshot.named(reference) or self._successor(service, reference)
            if parent is None or parent.id != service.id:
                yield Edge(parent=parent, strength=Strength.HARD, reference=reference, share=share)

    def _declared(self, service: Service) -> Iterator[Edge]:
        for dependency in service.depends_on:
            strength = self._strength(dependency)
            for parent in self._replicas(service.project, dependency.service):
                if parent.id != service.id:
                    yield Edge(parent=parent, strength=strength, reference=dependency.service)

    def _strength(self, dependency: Dependency) -> Strength:
        if dependency.is_job:
            return Strength.JOB
        return Strength.FOLLOW if dependency.restart or self.follow_all else Strength.ORDER

    def _replicas(self, project: str | None, service: str) -> list[Service]:
        """R13, R14: every container of the service, within the project."""
        same = (each for each in self.current.values() if (each.project, each.service) == (project, service))
        return sorted((each for each in same if not each.oneoff), key=lambda each: each.key)

    def _successor(self, service: Service, reference: str) -> Service | None:
        """What took the place of a container that is gone: as labelled, as remembered, as declared."""
        for known in (self._labelled, self._remembered, self._only_parent):
            if (found := known(service, reference)) is not None and found.id != service.id:
                return found
        return None

    def _labelled(self, service: Service, _reference: str) -> Service | None:
        said = service.labels.get(PARENT_LABEL)
        if not said:
            return None
        return self.current.get(said) or self.snapshot.named(said) or _only(self._replicas(service.project, said))

    def _remembered(self, _service: Service, reference: str) -> Service | None:
        keys = [key for key, row in sorted(self.memory.services.items()) if reference in row.ids]
        return _only([self.current[key] for key in keys if key in self.current])

    def _only_parent(self, service: Service, _reference: str) -> Service | None:
        """Compose labels `network_mode: service:x` as a dependency, with `restart: true` if it is not declared."""
        running = [each for each in service.depends_on if not each.is_job]
        wishes: tuple[Callable[[Dependency], bool | None], ...] = (lambda each: each.restart, lambda each: True)
        for wish in wishes:
            names = {each.service for each in running if wish(each)}
            if len(names) == 1:
                return _only(self._replicas(service.project, names.pop()))
        return None


def _only(found: list[Service]) -> Service | None:
    """The one that is meant; of several none is."""
    return found[0] if len(found) == 1 else None


def _ordered(
    snapshot: Snapshot, edges: Mapping[str, tuple[Edge, ...]]
) -> tuple[tuple[Service, ...], dict[str, tuple[Edge, ...]], tuple[tuple[str, ...], ...]]:
    """R19: parents before children, ties by name; of a circle the weakest edge is left out, and it is reported."""
    kept = dict(edges)
    cycles: list[tuple[str, ...]] = []
    while True:
        sorter = TopologicalSorter({each.id: sorted(_above(kept[each.id])) for each in snapshot})
        try:
            sorter.prepare()
        except CycleError as error:
            circle: list[str] = error.args[1]  # each is a parent of the next; the first is the last again
            cycles.append(tuple(sorted({snapshot.services[each].key for each in circle})))
            parent, child = min(pairwise(circle), key=lambda pair: _weight(kept[pair[1]], pair[0]))
            kept[child] = tuple(edge for edge in kept[child] if edge.parent is None or edge.parent.id != parent)
            continue
        return tuple(_in_order(snapshot, sorter)), kept, tuple(cycles)


def _weight(edges: Iterable[Edge], parent: str) -> int:
    """How much is lost with the edges to a parent: a namespace is never."""
    return max(WEIGHTS.index(edge.strength) for edge in edges if edge.parent is not None and edge.parent.id == parent)


def _above(edges: Iterable[Edge]) -> set[str]:
    return {edge.parent.id for edge in edges if edge.parent is not None}


def _in_order(snapshot: Snapshot, sorter: "TopologicalSorter[str]") -> Iterator[Service]:
    rank = {each.id: place for place, each in enumerate(snapshot)}
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=rank.__getitem__)
        yield from (snapshot.services[each] for each in ready)
        sorter.done(*ready)

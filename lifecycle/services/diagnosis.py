"""What is wrong with one container: told by its state and those of its parents, the same each time it is asked."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from lifecycle.domain.recovery import Fate, Memory, Need, Remembered
from lifecycle.domain.service import Health, Kind, Policy, Recover, Service, Share, Snapshot, State
from lifecycle.services.graph import Edge, Graph, Strength
from lifecycle.settings import Settings

KILLED = 137  # exit code of SIGKILL
BY_SIGNAL = {130, KILLED, 143}  # and of SIGINT and SIGTERM
TICK = timedelta(milliseconds=10)  # a database may keep times to the millisecond
SLACK = timedelta(seconds=2)  # a pid dependent is told to have ended a moment before its parent, or after


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One container with all that may be known of it."""

    service: Service
    snapshot: Snapshot
    graph: Graph
    memory: Memory
    settings: Settings
    now: datetime
    """By the database's clock."""
    asked: bool = False
    """True if somebody asks by hand to have it recovered."""

    @property
    def edges(self) -> tuple[Edge, ...]:
        """What it depends on."""
        return self.graph.edges[self.service.id]

    @property
    def row(self) -> Remembered:
        """What is remembered of its key."""
        return self.memory.of(self.service.key)

    @property
    def is_wanted(self) -> bool:
        """True if it is to run: somebody depends on it, or it says so, or somebody asks. R18: no job is."""
        return self.asked or self.service.id in self.graph.wanted or self.service.recover is Recover.TRUE

    def has_ended(self, fate: Fate) -> bool:
        """True if this very container was heard to end so."""
        return self.row.fate is fate and self.row.fate_id == self.service.id


def seconds_to_settle(service: Service, snapshot: Snapshot, settle: float) -> float:
    """How much longer a service without health check has to run until it is well; 0 if it is."""
    if service.health is not Health.NONE or service.started_at is None:
        return 0.0
    return max(0.0, settle - (snapshot.taken_at - service.started_at).total_seconds())


def is_well(service: Service, snapshot: Snapshot, settle: float) -> bool:
    """R55, R88: healthy, or without a health check and running for a while."""
    if not service.is_running:
        return False
    return service.health is Health.HEALTHY or (
        service.health is Health.NONE and seconds_to_settle(service, snapshot, settle) == 0
    )


def was_stopped(case: Case) -> bool:
    """R39, H4: an operator ended it, as was heard or as the engine's own policy lets know: it would run again else."""
    service = case.service
    if service.state is not State.EXITED or case.asked or service.error:
        return False  # a start that failed was wanted, whatever was heard before it
    if case.row.fate is not None and case.has_ended(case.row.fate):
        spared = {Fate.STOPPED: True, Fate.KILLED: service.recover is not Recover.TRUE, Fate.CRASHED: False}
        return spared[case.row.fate]
    return not service.oom_killed and _is_left_down(case)


def _is_left_down(case: Case) -> bool:
    """Its engine would have started it again had it crashed; without a policy only the exit code tells."""
    service = case.service
    if service.policy in (Policy.ALWAYS, Policy.UNLESS_STOPPED):
        return True
    if service.policy is Policy.ON_FAILURE:
        return not (0 < service.max_retries <= service.restart_count)
    return service.exit_code in BY_SIGNAL and not _fallen(case)


def diagnose(case: Case) -> Need | None:
    """The first thing that is wrong; None if nothing is."""
    return next((need for find in DIAGNOSES if (need := find(case)) is not None), None)


def cut_off_recreation(case: Case) -> Need | None:
    """T20: a re-creation left its old container behind."""
    return Need(Kind.TIDY, "a re-creation was cut off") if case.service.is_set_aside else None


def dead_reference(case: Case) -> Need | None:
    """R66, R83, H2: the namespace is that of a container that is gone; no restart can bring that back."""
    dead = [edge for edge in case.edges if edge.is_dead]
    if not dead or not (case.service.is_running or case.asked or _fallen(case)):
        return None
    shares = {edge.share: edge.parent.id for edge in case.edges if edge.share and edge.parent}
    what = ", ".join(sorted({str(edge.share) for edge in dead}))
    heirs = ", ".join(sorted({edge.parent.key for edge in dead if edge.parent is not None}))
    reason = f"its {what} is of a container that is gone" + (heirs and f"; now there is {heirs}")
    return Need(Kind.RECREATE, reason, shares, is_cut_off=True)


def stale_namespace(case: Case) -> Need | None:
    """Finding 4, H10: its parent has started since, and has a new namespace."""
    for edge in case.edges:
        if edge.strength is Strength.HARD and case.service.is_running and _is_newer(edge.parent, case.service):
            return Need(Kind.RESTART, f"{_name(edge)} has started since, with a new {edge.share}", is_cut_off=True)
    return None


def fallen_with_parent(case: Case) -> Need | None:
    """R65: it does not run because of its parent."""
    names = ", ".join(sorted(_name(edge) for edge in _fallen(case)))
    return Need(Kind.START, f"it ended with {names}") if names else None


def unhealthy(case: Case) -> Need | None:
    """R28: it runs, and its health check says no. What a stopped one said last counts for nothing."""
    is_so = case.service.is_running and case.service.health is Health.UNHEALTHY
    return Need(Kind.RESTART, "unhealthy") if is_so else None


def crashed(case: Case) -> Need | None:
    """R28: it ended badly by itself, and is wanted."""
    service = case.service
    if service.state not in (State.EXITED, State.CREATED) or not case.is_wanted:
        return None
    if service.state is State.CREATED and not (service.error or case.asked):
        return None  # somebody is about to start it
    if case.asked:
        return Need(Kind.START, "asked for")
    if service.error:
        return Need(Kind.START, f"its start failed: {service.error}")
    return Need(Kind.START, "out of memory" if service.oom_killed else f"ended with exit code {service.exit_code}")


def left_behind(case: Case) -> Need | None:
    """R17, R85: a parent that it follows was started anew, and not only seen first so."""
    for edge in case.edges:
        if edge.strength is not Strength.FOLLOW or not case.service.is_running or edge.parent is None:
            continue
        baseline = case.memory.of(edge.parent.key).baseline
        if (
            baseline is not None
            and (edge.parent.started_at or baseline) - baseline > TICK
            and _is_newer(edge.parent, case.service)
        ):
            return Need(Kind.RESTART, f"{_name(edge)} has started since")
    return None


DIAGNOSES: tuple[Callable[[Case], Need | None], ...] = (
    cut_off_recreation,
    dead_reference,
    stale_namespace,
    fallen_with_parent,
    unhealthy,
    crashed,
    left_behind,
)


def _is_newer(parent: Service | None, child: Service) -> bool:
    if parent is None or not parent.is_running or parent.started_at is None:
        return False
    return child.started_at is not None and child.started_at < parent.started_at


def _name(edge: Edge) -> str:
    return edge.parent.key if edge.parent is not None else edge.reference


def _fallen(case: Case) -> list[Edge]:
    """The edges because of which it does not run: its last start names the parent, or it died with that one's pids."""
    return list(_because_of(case.service, case.edges)) if case.service.state in (State.EXITED, State.CREATED) else []


def _because_of(service: Service, edges: tuple[Edge, ...]) -> Iterator[Edge]:
    for edge in edges:
        if edge.strength is not Strength.HARD:
            continue
        if _is_named(edge, service.error) or (edge.share is Share.PID and _died_with(service, edge)):
            yield edge


def _is_named(edge: Edge, error: str) -> bool:
    """True if the engine blames this parent; engines from 28 on do so by its name."""
    names = {edge.reference} | ({edge.parent.id, edge.parent.name} if edge.parent is not None else set())
    return any(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", error) for name in names)


def _died_with(service: Service, edge: Edge) -> bool:
    """A pid namespace takes all its processes along."""
    if service.exit_code != KILLED or service.error or service.finished_at is None or service.policy is not Policy.NO:
        return False
    if edge.is_dead or edge.parent is None:
        return True
    ended, started = edge.parent.finished_at, edge.parent.started_at
    return ended is not None and abs(service.finished_at - ended) <= SLACK and (started is None or started > ended)

"""Guards of the store, each with the change that takes it away: in the statement as it is sent, or in the function."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from lifecycle.domain.status import Status
from lifecycle.store import assignments, endings, marks, nodes, runs
from lifecycle.store.tables import containers as table
from lifecycle.trees import end, spawn
from tests.model.truth import Truth

OUTSIDER = "a coordinator is stopped while it and an outsider spawn"
FAILS = "a body fails over its children while an outsider spawns"
DETACHED = "a stop spares what is detached"
CHAIN = "a chain goes on under a coordinator whose body is over"
CRASHES = "processes die while a tree is stopped"
LOST = "a node is lost while a tree is stopped"
RESTS = "containers rest and wake while they are stopped"
UNTOLD = "commits are not acknowledged"
LATE = "an execution goes on after its lease, and its container is started again"

NO_LIVE_CHILD = (
    "NOT (EXISTS (SELECT ? AS anon_1 \nFROM containers AS child \nWHERE child.parent_container_id = containers.id "
    "AND child.status IN ('INTERRUPTED', 'PENDING', 'RUNNING', 'STOPPING') AND child.detached = 0 "
    "AND child.stop_error IS NULL))"
)


@dataclass(frozen=True)
class Mutant:
    """A guard that is gone, the scenario that must show it, and the invariant that must break there."""

    name: str
    scenario: str
    breaks: str
    apply: Callable[[Any, Any], None]
    """Takes pytest's monkeypatch and the Memory."""


def without(guard, *doing):
    """The guard holds for every row, wherever these kinds of transactions send it."""
    return lambda patch, memory: memory.weaken(doing, guard)


def instead(module, name, mutated):
    """`mutated` takes the real function and its arguments."""

    def apply(patch, memory):
        real = getattr(module, name)
        patch.setattr(module, name, lambda *args, **kwargs: mutated(real, *args, **kwargs))

    return apply


def nothing(module, name, result=None):
    return instead(module, name, lambda real, *args, **kwargs: result)


def held_as(doing, **values):
    """The row that this kind of transaction locks seems to have these values, or those made of its own."""

    def apply(patch, memory):
        def locked(real, connection, container_id):
            held = real(connection, container_id)
            if held is None or memory.doing != doing:
                return held
            seeming = {name: value(held._mapping[name]) if callable(value) else value for name, value in values.items()}
            return SimpleNamespace(**{**held._mapping, **seeming})

        instead(runs, "lock", locked)(patch, memory)

    return apply


class Whatever(int):
    """A row's own number, and in a comparison any other too."""

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = int.__hash__


class Whoever(str):
    """A row's own name, or none, and in a comparison any other too."""

    __slots__ = ()

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = str.__hash__


def parent_as(change):
    """The spawner asks for its parent's state, and gets another."""
    return instead(spawn, "_refuse_unless_running", lambda real, parent, row: real(*change(parent, row)))


def its_own_epoch(parent, row):
    return (parent if parent.epoch is None else replace(parent, epoch=row.epoch)), row


def without_outcome(parent, row):
    return parent, SimpleNamespace(**{**row._mapping, "outcome": None})


def only(*statuses):
    return lambda real, of=table: of.c.status.in_(statuses)


def unfenced(patch, memory):
    """The lease is trusted though no timer kills what outlives it."""
    patch.setattr(Truth, "living", property(lambda truth: [run for run in sorted(truth.runs) if not run.over]))


def both(*changes):
    def apply(patch, memory):
        for change in changes:
            change(patch, memory)

    return apply


DUE = "containers.wake_at <= strftime('%Y-%m-%d %H:%M:%f', 'now')"
IS_OVER = "(containers.outcome IS NOT NULL OR containers.status = ?)"
EPOCH, NODE, HAS_NODE = "containers.epoch = ?", "containers.node = ?", "containers.node IS NOT NULL"
STATUS = "containers.status = ?"
STARTABLE = "containers.status IN ('PENDING', 'RUNNING')"

MUTANTS = [
    Mutant("spawn asks nothing of the parent", OUTSIDER, "I1", nothing(spawn, "_refuse_unless_running")),
    Mutant("spawn takes a parent whose body is over", FAILS, "I1", parent_as(without_outcome)),
    Mutant("spawn takes a stale epoch", LATE, "I4", parent_as(its_own_epoch)),
    Mutant("a chain goes on without its child", CHAIN, "I1", nothing(spawn, "_is_kept_open", result=True)),
    Mutant("claim takes any status", OUTSIDER, "I6", without(STARTABLE, "claim")),
    Mutant("claim takes what executes", OUTSIDER, "I4", without("containers.node IS NULL", "claim")),
    Mutant("claim takes what is over", OUTSIDER, "section 3", without("containers.outcome IS NULL", "claim")),
    Mutant("claim takes what rests", RESTS, "section 5", without(DUE, "claim")),
    Mutant("claim on a dead node", LATE, "section 3", without("nodes.dead = 0", "claim")),
    Mutant("rest of a stale epoch", LATE, "I4", without(EPOCH, "rest")),
    Mutant("rest while it is being stopped", RESTS, "section 6", without(STATUS, "rest")),
    Mutant("rest a second time", UNTOLD, "I4", without(HAS_NODE, "rest")),
    Mutant("count of a stale epoch", LATE, "I4", without(EPOCH, "count")),
    Mutant("count while it is being stopped", RESTS, "I6", without(STATUS, "count")),
    Mutant("end of a stale epoch", LATE, "I4", both(held_as("end", epoch=Whatever), without(EPOCH, "end"))),
    Mutant("end of what rests", UNTOLD, "I4", both(held_as("end", node=Whoever), without(HAS_NODE, "end"))),
    Mutant("end over live children", OUTSIDER, "I1", without(NO_LIVE_CHILD, "end")),
    Mutant("a body that fails leaves its children", FAILS, "I1", nothing(end, "mark_with", result=[])),
    Mutant("settle over live children", OUTSIDER, "I1", without(NO_LIVE_CHILD, "look", "settle")),
    Mutant("settle what executes", OUTSIDER, "I2", without("containers.node IS NULL", "look", "settle")),
    Mutant("settle what is not over", RESTS, "section 3", without(IS_OVER, "look", "settle")),
    Mutant("nobody looks up", OUTSIDER, "I5", nothing(endings, "can_settle", result=False)),
    Mutant("no sweep settles", CRASHES, "I5", nothing(endings, "unsettled", result=[])),
    Mutant("no sweep takes from the dead", LOST, "I5", nothing(nodes, "rows_on_dead_nodes", result=[])),
    Mutant("mark only what runs", OUTSIDER, "I1", instead(marks, "live", only("RUNNING"))),
    Mutant("mark only what waits", OUTSIDER, "I5", instead(marks, "live", only("PENDING"))),
    Mutant("mark ends what waits for children", OUTSIDER, "I1", without(NO_LIVE_CHILD, "mark")),
    Mutant("mark ends what executes", OUTSIDER, "I2", without("containers.node IS NULL", "mark")),
    Mutant("mark takes the detached", DETACHED, "section 2", without("containers.detached = 0", "mark")),
    Mutant("ended containers keep their resources", OUTSIDER, "I3", nothing(assignments, "release")),
    Mutant(
        "lose interrupts what is being stopped",
        CRASHES,
        "I7",
        both(held_as("lose", status=Status.RUNNING), without("containers.status != ?", "lose")),
    ),
    Mutant("lose takes a later epoch", UNTOLD, "I4", both(held_as("lose", epoch=Whatever), without(EPOCH, "lose"))),
    Mutant(
        "lose takes from a row without node",
        UNTOLD,
        "I4",
        both(held_as("lose", node=Whoever), without(NODE, "lose"), without(HAS_NODE, "lose")),
    ),
    Mutant("a lease runs out before the fence", LATE, "I9", unfenced),
]

"""Guards of the store, each with the change that takes it away, in `changes`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lifecycle.domain.status import Status
from lifecycle.store import assignments, endings, interrupts, marks, nodes, orphans
from lifecycle.trees import end, interrupt, spawn
from tests.model.changes import (
    Whatever,
    Whoever,
    always_born_of_a_run,
    both,
    charged,
    held_as,
    instead,
    its_own_epoch,
    kept_out,
    nothing,
    only,
    parent_as,
    unfenced,
    without,
    without_outcome,
)

OUTSIDER = "a coordinator is stopped while it and an outsider spawn"
FAILS = "a body fails over its children while an outsider spawns"
DETACHED = "a stop spares what is detached"
CHAIN = "a chain goes on under a coordinator whose body is over"
CRASHES = "processes die while a tree is stopped"
LOST = "a node is lost while a tree is stopped"
RESTS = "containers rest and wake while they are stopped"
UNTOLD = "commits are not acknowledged"
LATE = "an execution goes on after its lease, and its container is started again"
SPENT = "processes die more often than they may, over their children"
TWO = "two recoverers take up a run that was cut off while its tree is stopped"
RESTED = "children of a run that rested go on when a later one is cut off"
LEFT = "a run is cut off, and so are the children that it leaves"
SURVIVES = "two recoverers come to a run whose child survives its kill"
LEAVES = "an execution leaves, and is not told"
LEAVES_LATE = "an execution leaves after its lease"
GIVEN = "what an outsider spawned goes on when a run is cut off"
HAND = "a hand ends containers over their children"

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


DUE = "containers.wake_at <= strftime('%Y-%m-%d %H:%M:%f', 'now')"
IS_OVER = "(containers.outcome IS NOT NULL OR containers.status = 'STOPPING')"
EPOCH, NODE, HAS_NODE = "containers.epoch = ?", "containers.node = ?", "containers.node IS NOT NULL"
STATUS = "containers.status = ?"
INTERRUPTED = "containers.status = 'INTERRUPTED'"
LIVE = "containers.status IN ('INTERRUPTED', 'PENDING', 'RUNNING', 'STOPPING')"
LIVE_CHILD = LIVE.replace("containers", "child")
OF_ITS_EPOCH = "child.parent_epoch = containers.epoch"
OF_THAT_EPOCH = "parent.epoch = containers.parent_epoch"
WAITS_NOT = NO_LIVE_CHILD.replace("NULL))", f"NULL AND {OF_ITS_EPOCH}))")
WITHOUT_PARENT = (
    "NOT (containers.detached = 0 AND (EXISTS (SELECT ? AS anon_1 \nFROM containers AS parent \n"
    f"WHERE parent.id = containers.parent_container_id AND parent.status = 'INTERRUPTED' AND {OF_THAT_EPOCH})))"
)
SILENT = "nodes.expires_at < strftime('%Y-%m-%d %H:%M:%f', 'now')"
NOT_ON_LIVING = "(nodes.id IS NULL OR nodes.dead = 1)"
GONE = (
    "coalesce((SELECT parent.status \nFROM containers AS parent \n"
    "WHERE parent.id = containers.parent_container_id), ?) IN (?, ?, ?, ?)"
)
NOT_STOPPED = "NOT (containers.status = ? AND containers.stop_deadline IS NOT NULL)"
HOLDER_ENDED = (
    f"NOT (EXISTS (SELECT ? AS anon_1 \nFROM containers \nWHERE containers.id = assignments.container_id AND {LIVE}))"
)
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
    Mutant("a node renews once it is dead", LEAVES_LATE, "I9", without("nodes.dead = 0", "renew")),
    Mutant("a sweep declares who renews dead", LOST, "I9", without(SILENT, "declare dead")),
    Mutant("a sweep takes from nodes that live", LOST, "I9", without(NOT_ON_LIVING, "read lost")),
    # Interruptions
    Mutant(
        "interrupt of a later epoch",
        LEAVES_LATE,
        "I4",
        both(held_as("interrupt", epoch=Whatever), without(EPOCH, "interrupt")),
    ),
    Mutant(
        "interrupt of what has been interrupted",
        LEAVES,
        "I4",
        both(held_as("interrupt", node=Whoever), without(HAS_NODE, "interrupt")),
    ),
    Mutant(
        "interrupt of what is being stopped",
        TWO,
        "I7",
        both(held_as("interrupt", status=Status.RUNNING), without("containers.status != ?", "interrupt")),
    ),
    Mutant("restarts are not counted", SPENT, "section 3", kept_out(interrupts, "interrupt", restart_count=None)),
    Mutant("restarts are spent at once", SPENT, "section 3", nothing(interrupts, "budget", result=(0, 0, 0.0))),
    Mutant("what is lost for good leaves its children", SPENT, "I1", nothing(interrupt, "mark_with", result=[])),
    Mutant("a free interruption costs a restart", LEAVES, "section 3", charged),
    # Recovery
    Mutant("nobody supersedes", LEFT, "I5", nothing(interrupts, "superseding", result=[])),
    Mutant("supersede finds who goes on", TWO, "I5", without(INTERRUPTED, "read left")),
    Mutant("supersede finds what is being stopped", TWO, "I5", without("child.status != ?", "read left")),
    Mutant("supersede finds what has ended", TWO, "I5", both(without(LIVE_CHILD, "read left"))),
    Mutant("supersede finds what others spawned", RESTED, "I5", without(OF_ITS_EPOCH, "read left")),
    Mutant("supersede finds the detached", LEFT, "I5", without("child.detached = 0", "read left")),
    Mutant("supersede comes late", SURVIVES, "section 7", nothing(interrupts, "is_superseding", result=True)),
    Mutant(
        "supersede stops what others spawned", RESTED, "section 7", without("containers.parent_epoch = ?", "supersede")
    ),
    Mutant("supersede stops what an outsider spawned", GIVEN, "section 7", always_born_of_a_run),
    Mutant("supersede stops the detached", LEFT, "section 2", without("containers.detached = 0", "supersede")),
    Mutant("supersede stops what runs as if it did not", TWO, "I2", without("containers.node IS NULL", "supersede")),
    Mutant("nobody resumes", LEFT, "I5", nothing(interrupts, "resume", result=[])),
    Mutant("resume takes any status", TWO, "section 3", without(INTERRUPTED, "resume")),
    Mutant("resume takes what is not due", LEFT, "section 7", without(DUE, "resume")),
    Mutant("resume waits for nobody", TWO, "section 7", without(WAITS_NOT, "resume")),
    Mutant("resume waits for what others spawned", RESTED, "I5", without(OF_ITS_EPOCH, "resume")),
    Mutant("resume waits for the detached", LEFT, "I5", without("child.detached = 0", "resume")),
    Mutant("resume waits for what has ended", LEFT, "I5", without(LIVE_CHILD, "resume")),
    Mutant("resume waits for what cannot be stopped", SURVIVES, "I5", without("child.stop_error IS NULL", "resume")),
    Mutant("resume takes a child before its parent", LEFT, "section 7", without(WITHOUT_PARENT, "resume")),
    Mutant("resume leaves children of who runs", SPENT, "I5", without("parent.status = 'INTERRUPTED'", "resume")),
    Mutant("resume leaves children of other runs", RESTED, "I5", without(OF_THAT_EPOCH, "resume")),
    Mutant("resume leaves the detached to their parent", LEFT, "I5", without("containers.detached = 0", "resume")),
    # Orphans
    Mutant("no sweep stops orphans", HAND, "I5", nothing(orphans, "orphans", result=[])),
    Mutant("a root is an orphan", HAND, "I9", without("containers.parent_container_id IS NOT NULL", "sweep orphans")),
    Mutant("the detached are orphans", HAND, "section 2", without("containers.detached = 0", "sweep orphans")),
    Mutant("children of who lives are orphans", HAND, "I9", without(GONE, "sweep orphans")),
    Mutant("what has ended is an orphan", HAND, "I5", without(LIVE, "sweep orphans")),
    Mutant("what is being stopped is an orphan", HAND, "I5", without(NOT_STOPPED, "sweep orphans")),
    Mutant("nothing owed is released", HAND, "I3", nothing(orphans, "release_owed", result=[])),
    Mutant("what is held is released", HAND, "I3", without(HOLDER_ENDED, "release owed")),
]

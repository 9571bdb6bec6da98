"""I2, I4 and I9: executions, by the marks of their bodies, and what took their rows away."""

from itertools import pairwise

from chaos import allowances
from chaos.allowances import SLACK
from chaos.history import TERMINAL
from chaos.violation import Violation
from lifecycle.domain.policy import (
    INTERRUPTED_NODE_DOWN,
    INTERRUPTED_NODE_LOST,
    INTERRUPTED_PROCESS_LOST,
    STOPPED_NOT_RUNNING,
    STOPPED_ORPHAN,
)

LOST = (INTERRUPTED_PROCESS_LOST, INTERRUPTED_NODE_LOST)
LEFT = {*TERMINAL, "INTERRUPTED"}


def nothing_runs_after_its_end(history):
    """I2: an execution that has ended or was cut off writes nothing more."""
    for change in history.changes:
        if change.to_status not in LEFT:
            continue
        late = [
            mark
            for mark in history.marks_of.get(change.container_id, ())
            if mark.epoch <= change.epoch and mark.at > change.at + SLACK
        ]
        if late:
            last = late[-1]
            said = f"epoch {last.epoch} wrote {last.what} {last.at - change.at:.3f} s after it was {change.to_status}"
            yield Violation("I2", change.container_id, said)


def one_at_a_time(history):
    """I4: an epoch is one process, and writes nothing once the next has begun."""
    for container, epochs in history.epochs_of.items():
        for epoch in epochs:
            pids = {mark.pid for mark in history.runs_of[container, epoch]}
            if len(pids) > 1:
                yield Violation("I4", container, f"epoch {epoch} is that of processes {sorted(pids)}")
        for earlier, later in pairwise(epochs):
            ended = max(mark.at for mark in history.runs_of[container, earlier])
            began = min(mark.at for mark in history.runs_of[container, later])
            if ended >= began:
                said = f"epoch {earlier} wrote {ended - began:.3f} s after epoch {later} had begun"
                yield Violation("I4", container, said)


def epochs_rise(history):
    """I4: an old epoch writes nothing; and no execution is without its claim."""
    for container, changes in history.changes_of.items():
        for one, other in pairwise(changes):
            if other.epoch < one.epoch:
                said = f"epoch {other.epoch} wrote {other.to_status} after epoch {one.epoch}"
                yield Violation("I4", container, said)
    for container, epochs in history.epochs_of.items():
        row = history.rows.get(container)
        if row is None or epochs[-1] > row.epoch:
            claimed = "none" if row is None else row.epoch
            yield Violation("I4", container, f"epoch {epochs[-1]} ran, its row is of {claimed}")


def nothing_alive_is_reaped(history):
    """I9: every loss has its fault, and nobody is taken for an orphan."""
    for change in history.changes:
        why = change.why or ""
        taken = why.startswith(LOST) or why == STOPPED_NOT_RUNNING
        if change.to_status in LEFT and taken and not allowances.explain_loss(history, change):
            said = f"epoch {change.epoch} was {change.to_status} at {change.at:.3f}, {why}: no fault explains it"
            yield Violation("I9", change.container_id, said)
        left = change.to_status == "INTERRUPTED" and why == INTERRUPTED_NODE_DOWN
        if left and not allowances.explain_shutdown(history, change):
            yield Violation("I9", change.container_id, f"{why} at {change.at:.3f}, and no node was told to leave")
        if why == STOPPED_ORPHAN:
            yield Violation("I9", change.container_id, f"taken for an orphan at {change.at:.3f}")


def no_living_node_is_taken_for_dead(history):
    """I9, of nodes."""
    for node in history.nodes:
        if node.dead_why == "lease ran out" and not allowances.explain_death(history, node):
            yield Violation("I9", node.id, f"declared dead at {node.dead_at:.3f}, and no fault explains it")

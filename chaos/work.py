"""What was asked for is done: nothing acknowledged is lost, and what says that it is done is done."""

from itertools import pairwise

from chaos import allowances
from chaos.history import TERMINAL
from chaos.violation import Violation

TELLING = 5.0  # seconds around an ending in which a fault may have hit who tells Celery of it
STEPWISE = {"STEPS": "step", "RESTING": "leg"}


def nothing_acknowledged_is_lost(history):
    """Who was told that a container is recorded finds its row."""
    told = {event.id for event in history.events if event.what == "acknowledged"}
    told |= {mark.child for mark in history.marks if mark.what == "spawned"}
    for container in sorted(told - set(history.rows)):
        yield Violation("lost", container, "acknowledged, and has no row")


def everything_ends(history):
    """After the last stop nothing lives; what can end by itself did so before."""
    for row in history.rows.values():
        if row.status not in TERMINAL:
            yield Violation("lost", row.id, f"{row.status} at the end: epoch {row.epoch}, node {row.node}")
        elif row.id in history.run.get("left", ()):
            yield Violation(
                "lost", row.id, f"could have ended, and was {history.run['left'][row.id]} until the last stop"
            )


def no_node_ends_by_itself(history):
    """Whatever is away, a node waits for it; at its start it may refuse."""
    for each in history.exits:
        if not allowances.explain_exit(history, each):
            yield Violation("node", each.member, f"ended by itself with {each.code} at {each.at:.3f}")


def completed_is_done(history):
    """COMPLETED: its last run returned, and each iteration and step was done once at least."""
    for row in history.rows.values():
        if row.status != "COMPLETED":
            continue
        last = history.runs_of.get((row.id, row.epoch), ())
        if not any(mark.what == "return" and not mark.rests for mark in last):
            yield Violation("lost", row.id, f"COMPLETED, and epoch {row.epoch} did not return")
        done = {mark.iteration for mark in history.marks_of[row.id] if mark.what == "return" and not mark.rests}
        if row.max_iterations > 0 and not (len(done) == row.current_iteration == row.max_iterations):
            said = f"COMPLETED {row.current_iteration}/{row.max_iterations}, iterations done {sorted(done)}"
            yield Violation("lost", row.id, said)
        if row.container_type in STEPWISE:
            yield from _left_out(history, row, STEPWISE[row.container_type])


def _left_out(history, row, what):
    """Steps that are kept in the state: none is left out, and none is done again but the one that was cut off."""
    steps = [getattr(mark, what) for mark in history.marks_of[row.id] if mark.what == what]
    if set(steps) != set(range(max(steps, default=0) + 1)):
        yield Violation("lost", row.id, f"COMPLETED with {what}s {steps}")
    if any(later < earlier for earlier, later in pairwise(steps)):
        yield Violation("lost", row.id, f"its state went back: {what}s {steps}")


def failed_has_failed(history):
    """FAILED: its last run raised, or its restarts were spent."""
    for row in history.rows.values():
        if row.status != "FAILED":
            continue
        last = history.runs_of.get((row.id, row.epoch), ())
        cut = sum(change.to_status == "INTERRUPTED" for change in history.changes_of[row.id])
        if not any(mark.what == "raise" for mark in last) and cut < row.max_restarts:
            said = f"FAILED ({row.exit_message}) after {cut} interruptions, and epoch {row.epoch} did not raise"
            yield Violation("lost", row.id, said)


def celery_is_told(history):
    """REVOKED for what was STOPPED, unless who was to say so died, or the results were away or lost.

    What a body has returned is kept: it may have waited for its children only.
    """
    for container, state in history.results.items():
        row = history.rows[container]
        returned = any(mark.what == "return" and not mark.rests for mark in history.marks_of.get(container, ()))
        if state != "REVOKED" and not (state == "SUCCESS" and returned) and not _may_be_untold(history, row.stopped_at):
            yield Violation("told", container, f"STOPPED at {row.stopped_at:.3f}, and its result is {state}")


def _may_be_untold(history, at):
    near = [fault for fault in history.faults if allowances.overlaps(fault, at - TELLING, at + TELLING)]
    gone = [fault for fault in history.faults if fault.kind == "broker loses all" and fault.ended >= at]
    return bool(gone) or any(fault.kind not in {"kill beat", "kill child"} for fault in near)

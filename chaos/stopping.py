"""I5 to I8: stops end in time, are final, and say whose they are."""

from itertools import pairwise

from chaos import allowances
from chaos.history import UNSTOPPED
from chaos.violation import Violation
from lifecycle.domain.policy import EXIT_STOPPED, STOPPED_SUPERSEDED
from lifecycle.domain.status import TRANSITIONS, Status


def stops_end_in_time(history):
    """I5: within the largest grace and 5 s; later only where a node died or a server was away."""
    for stop, rows, grace in timed(history):
        nodes = {change.node for change in history.asked_by[stop.id] if change.node}
        allowed = allowances.latest_end(history, stop.requested_at, grace, nodes) - stop.requested_at
        for row in rows:
            took = seconds(history, stop, row)
            if took > allowed:
                said = f"{row.status} {took:.2f} s after stop {stop.id} of {stop.container_id}, allowed {allowed:.2f} s"
                yield Violation("I5", row.id, said)


def timed(history):
    """Each stop with the rows it asked to end, and the largest grace of them; but those that could not be stopped."""
    for stop in history.stops:
        asked = {change.container_id for change in history.asked_by.get(stop.id, ())}
        rows = [history.rows[each] for each in asked]
        if rows and not any(row.stop_error for row in rows):
            yield stop, rows, max(row.grace if stop.grace is None else stop.grace for row in rows)


def seconds(history, stop, row):
    """How long a row took to end, after it was asked to."""
    return (row.stopped_at or history.run["ended"]) - stop.requested_at


def nothing_starts_after_its_mark(history):
    """I6: a mark is the end of all claims."""
    for container, changes in history.changes_of.items():
        marked = next((change.epoch for change in changes if change.to_status == "STOPPING"), None)
        ran = max([history.rows[container].epoch, *history.epochs_of.get(container, ())])
        if marked is not None and ran > marked:
            yield Violation("I6", container, f"marked in epoch {marked}, and started as epoch {ran}")


def stop_beats_restart(history):
    """I7: from STOPPING no way leads back."""
    for container, changes in history.changes_of.items():
        stopping = False
        for change in changes:
            if stopping and change.to_status in UNSTOPPED:
                yield Violation("I7", container, f"{change.to_status} after it was STOPPING")
            stopping = stopping or change.to_status == "STOPPING"


def each_step_is_legal(history):
    """The status machine; and the history tells the whole way."""
    for container, changes in history.changes_of.items():
        for one, other in pairwise(changes):
            again = other.from_status == other.to_status == "STOPPING"  # a second stop
            legal = again or other.to_status in TRANSITIONS[Status(one.to_status)]
            if other.from_status != one.to_status or not legal:
                said = f"{one.to_status}, then from {other.from_status} to {other.to_status}"
                yield Violation("section 3", container, said)
        row = history.rows[container]
        if row.status != changes[-1].to_status:
            yield Violation("section 3", container, f"{row.status}, its history says {changes[-1].to_status}")


def each_stopped_says_why(history):
    """I8: who and why, in the history and on the row, and truly."""
    for row in history.rows.values():
        asked = [change for change in history.changes_of[row.id] if change.to_status == "STOPPING"]
        if any(None in (change.by, change.why) for change in asked):
            yield Violation("I8", row.id, "its history does not say who stopped it and why")
        if row.status != "STOPPED":
            continue
        if not asked:
            yield Violation("I8", row.id, "STOPPED, and nobody stopped it")
        if None in (row.stop_by, row.exit_message) or row.exit_code != EXIT_STOPPED:
            yield Violation("I8", row.id, f"STOPPED by {row.stop_by}: {row.exit_code} {row.exit_message}")
        if row.exit_message == STOPPED_SUPERSEDED and not _was_cut_off(history, row):
            yield Violation("I8", row.id, f"superseded, but epoch {row.parent_epoch} of its parent was not cut off")


def _was_cut_off(history, row):
    changes = history.changes_of.get(row.parent_container_id, ())
    return any(change.to_status == "INTERRUPTED" and change.epoch == row.parent_epoch for change in changes)

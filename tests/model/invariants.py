"""What has to be true in every state and in every end, by the numbers of the design (section 10)."""

from itertools import pairwise

from lifecycle.domain.policy import STOPPED_BY_CASCADE, STOPPED_BY_USER, STOPPED_ORPHAN, STOPPED_SUPERSEDED
from lifecycle.domain.status import LIVE, TERMINAL, TRANSITIONS, Status
from tests.model.calls import FREE
from tests.model.memory import NOW

STARTED = {Status.PENDING, Status.RUNNING, Status.INTERRUPTED}


def broken(scenario, truth, contents):
    """The first invariant that does not hold here, or None."""
    for check in (trees, processes, resources, starts, recovered, restarts, reasons, endings, shape, kept):
        for found in check(scenario, truth, contents):
            return found
    return None


def stuck(scenario, truth, contents):
    """I5, where nothing can happen any more: what is still live, and need not be."""
    given_up = set() if scenario.recoverers else {Status.INTERRUPTED}
    waits = {
        each
        for each, row in contents.rows.items()
        if row.status in given_up or (not truth.awake and queued(row)) or waits_for_ever(scenario, truth, row)
    }
    for row in sorted(contents.rows.values(), key=lambda row: -row.depth):
        if row.id in waits and not row.detached:
            waits.add(row.parent_container_id)
    for row in contents.rows.values():
        if row.status in LIVE and row.stop_error is None and (row.id not in waits or row.stop_id is not None):
            return f"I5: {row.id} stays {row.status} for ever"
    return None


def overdue(scenario, truth, contents):
    """Section 7, where nothing but time goes on: what is due to go on, and does not."""
    for row in contents.rows.values():
        if scenario.recoverers and row.status == Status.INTERRUPTED and (row.wake_at is None or row.wake_at <= NOW):
            return f"I5: {row.id} is due, and is left INTERRUPTED"
    for each in contents.held:
        if scenario.hands and contents.rows[each.container_id].status in TERMINAL:
            return f"I3: {each.container_id} has ended and {each.resource} is never released"
    return None


def waits_for_ever(scenario, truth, row):
    """Its script says so, and its parent has not ended."""
    runs = [run for run in truth.runs if run.container == row.id and not run.raised]
    is_orphan = row.parent_container_id in truth.ended_by_hand and not row.detached
    return not is_orphan and any(scenario.words(run.container, run.epoch)[run.at] == "wait" for run in runs)


def queued(row):
    return row.status in {Status.PENDING, Status.RUNNING} and row.node is None and row.outcome is None


def shape(scenario, truth, contents):
    """Section 3: what a row says of itself, and its history."""
    for row in contents.rows.values():
        said = [row.node is not None, row.outcome is not None]
        if all(said) or (row.wake_at is not None and any(said)):
            yield f"section 3: {row.id} executes, rests and is over at once"
        if row.wake_at is not None and row.status in {Status.STOPPING, *TERMINAL}:
            yield f"section 6: {row.id} is {row.status} and has a time to wake"
        if row.status in TERMINAL and row.node is not None:
            yield f"section 3: {row.id} is {row.status} and names a node"
        history = contents.history[row.id]
        if row.id in truth.ended_by_hand:
            continue
        told = all(before.to_status == after.from_status for before, after in pairwise(history))
        if not told or history[-1].to_status != row.status or not all(map(is_legal, history[1:])):
            yield f"section 3: {row.id} is {row.status} by way of {' '.join(each.to_status for each in history)}"


def is_legal(change):
    again = change.from_status == change.to_status == Status.STOPPING  # a second stop
    return again or change.to_status in TRANSITIONS[change.from_status]


def trees(scenario, truth, contents):
    """I1, of a body that failed too; and nothing ends before what it waits for."""
    for row in contents.rows.values():
        parent = contents.rows.get(row.parent_container_id)
        if parent is None or row.detached or parent.id in truth.ended_by_hand:
            continue
        if row.status in STARTED and (parent.status not in STARTED or parent.outcome == Status.FAILED):
            yield f"I1: {row.id} is {row.status} under {parent.id}, which is {parent.status} (body: {parent.outcome})"
        if row.status == Status.STOPPING and row.stop_error is None and parent.status in TERMINAL:
            yield f"I1: {parent.id} is {parent.status} before its child {row.id}"


def processes(scenario, truth, contents):
    """I2, I4, I9: a process that lives is the one its row names, and only that."""
    living = truth.living
    for run in living:
        row = contents.rows[run.container]
        if row.status in TERMINAL:
            yield f"I2: {row.id} is {row.status} and {run} lives"
        if sum(other.container == run.container for other in living) > 1:
            yield f"I4: {run.container} has two executions"
        if row.node != run.node or row.epoch != run.epoch:
            yield f"I9: {run} lives, and its row is {row.status} and names {row.node}#{row.epoch}"


def resources(scenario, truth, contents):
    for each in contents.held:
        if contents.rows[each.container_id].status in TERMINAL and each.container_id not in truth.ended_by_hand:
            yield f"I3: {each.container_id} has ended and holds {each.resource}"


def kept(scenario, truth, contents):
    """An interruption takes nothing away."""
    for each in contents.released:
        if contents.rows[each.container_id].status in LIVE:
            yield f"I3: {each.container_id} is {contents.rows[each.container_id].status} and has lost {each.resource}"


def starts(scenario, truth, contents):
    """I6, I7: after a mark there is no other claim, and no way back."""
    for row in contents.rows.values():
        marked = [each.epoch for each in contents.history[row.id] if each.to_status == Status.STOPPING]
        if marked and row.epoch > marked[0]:
            yield f"I6: {row.id} was claimed after it was marked"
        if marked and row.status in STARTED:
            yield f"I7: {row.id} was marked and is {row.status}"


def cut_epochs(contents, container):
    """Its executions that were cut off."""
    return {each.epoch for each in contents.history[container] if each.to_status == Status.INTERRUPTED}


def recovered(scenario, truth, contents):
    """Section 7: who goes on has no child of a run that was cut off; what other runs spawned goes on as well."""
    for row in contents.rows.values():
        parent = contents.rows.get(row.parent_container_id)
        if parent is None or row.detached:
            continue
        of_cut = row.parent_epoch in cut_epochs(contents, parent.id)
        goes_on = parent.status == Status.PENDING or (parent.status == Status.RUNNING and parent.outcome is None)
        if of_cut and goes_on and row.status in LIVE and row.stop_error is None:
            yield f"section 7: {parent.id}#{parent.epoch} goes on over {row.id}, which a run that was cut off has left"
        if row.stop_message == STOPPED_SUPERSEDED and (not of_cut or row.id in scenario.outside):
            yield f"section 7: {row.id} was stopped, and no repeated body will spawn it again"


def restarts(scenario, truth, contents):
    """Section 3: as many as are allowed, and not FAILED before."""
    bodies = {container for container, word in truth.bodies if word == "fail"}
    for row in contents.rows.values():
        cuts = [each for each in contents.history[row.id] if each.to_status == Status.INTERRUPTED]
        charged = sum(each.why not in FREE for each in cuts)
        if charged > row.max_restarts:
            yield f"section 3: {row.id} was restarted {charged} times"
        if row.status == Status.FAILED and row.id not in bodies and charged < row.max_restarts:
            yield f"section 3: {row.id} is FAILED after {charged} restarts"


def reasons(scenario, truth, contents):
    """I8; and a stop reaches nothing but the attached tree below a target or a body that failed."""
    for row in contents.rows.values():
        asked = [each for each in contents.history[row.id] if each.to_status == Status.STOPPING]
        if any(each.by is None or each.why is None for each in asked):
            yield f"I8: the history of {row.id} does not say who stops it and why"
        if row.status == Status.STOPPING and None in (row.stop_by, row.stop_message):
            yield f"I8: {row.id} is STOPPING and says not who or why"
        if row.status == Status.STOPPED and (row.stop_by is None or row.exit_message is None or row.exit_code != 143):
            yield f"I8: {row.id} is STOPPED by {row.stop_by}: {row.exit_code} {row.exit_message}"
        if row.status == Status.STOPPED and row.exit_message == STOPPED_BY_USER and row.id not in scenario.stops:
            yield f"I8: {row.id} was stopped with its parent, and says {row.exit_message!r}"
        if row.stop_message in {STOPPED_BY_CASCADE, STOPPED_SUPERSEDED, STOPPED_ORPHAN} and row.detached:
            yield f"section 2: {row.id} is detached, and was stopped with its parent"
        if row.stop_message == STOPPED_ORPHAN and row.parent_container_id not in truth.ended_by_hand:
            yield f"I9: {row.id} was stopped as an orphan, and is none"


def endings(scenario, truth, contents):
    """Section 3: nothing says that its body came out in a way in which it did not."""
    came = {"return": Status.COMPLETED, "fail": Status.FAILED}
    for row in contents.rows.values():
        if row.id in truth.ended_by_hand:
            continue
        bodies = {came.get(word) for container, word in truth.bodies if container == row.id}
        if any(each.to_status == Status.INTERRUPTED for each in contents.history[row.id]):
            bodies.add(Status.FAILED)  # its restarts were spent: `restarts` looks at how many
        if row.status in {Status.COMPLETED, Status.FAILED} and Status(row.status) not in bodies:
            yield f"section 3: {row.id} is {row.status}, its body is not"
        if row.status == Status.STOPPED and not any(e.to_status == Status.STOPPING for e in contents.history[row.id]):
            yield f"section 3: {row.id} is STOPPED, and nobody stopped it"

"""I1 and I3: parents, children, and what they hold."""

from itertools import pairwise

from chaos.allowances import SLACK
from chaos.history import TERMINAL, UNSTOPPED
from chaos.violation import Violation


def no_live_child_of_what_stops(history):
    """I1: with a parent's mark each attached child has ended or is marked too, and none is born later.

    A transition is numbered while its row is locked, and a mark numbers its own after all its locks: so the numbers,
    and no clock, say what came first.
    """
    for parent, children in history.children_of.items():
        for change in history.changes_of[parent]:
            for child in children:
                if change.to_status == "STOPPING":
                    yield from _left_by_mark(history, change, child)
                elif change.to_status in TERMINAL:
                    yield from _left_by_end(history, change, child)


def _left_by_mark(history, change, child):
    changes = history.changes_of[child.id]
    before = [each for each in changes if each.id < change.id]
    if not before:
        late = changes[0].at - change.at
        yield Violation("I1", child.id, f"born {late:.3f} s after the mark of {change.container_id}")
    elif before[-1].to_status in UNSTOPPED and not any(each.stop_id == change.stop_id for each in changes):
        said = f"{before[-1].to_status} under {change.container_id}, and not marked with it by stop {change.stop_id}"
        yield Violation("I1", child.id, said)


def _left_by_end(history, change, child):
    """A mark ends what runs nowhere, parents and children in one statement, in any order."""
    ended = [each for each in history.changes_of[child.id] if each.to_status in TERMINAL]
    with_it = ended and change.by is not None and abs(ended[-1].at - change.at) < SLACK
    if child.stop_error is None and not with_it and (not ended or ended[-1].id > change.id):
        yield Violation("I1", child.id, f"lived when its parent {change.container_id} became {change.to_status}")


def nothing_is_held_after_the_end(history):
    """I3; and nothing is taken away before it."""
    for each in history.assignments:
        row = history.rows[each.container_id]
        if row.status in TERMINAL and each.released_at is None:
            yield Violation("I3", row.id, f"{row.status} and holds {each.resource}")
        if row.stopped_at and each.released_at and each.released_at < row.stopped_at - SLACK:
            early = row.stopped_at - each.released_at
            yield Violation("I3", row.id, f"lost {each.resource} {early:.3f} s before its end")


def nothing_is_held_twice(history):
    """I3: by one at a time."""
    for one, other in pairwise(sorted(history.assignments, key=lambda each: (each.resource, each.assigned_at))):
        over = one.released_at is not None and one.released_at <= other.assigned_at + SLACK
        if one.resource == other.resource and not over:
            yield Violation("I3", other.container_id, f"took {one.resource} while {one.container_id} held it")

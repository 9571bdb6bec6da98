"""Who brings back what was cut off, and who ends what lost its parent: recoverers and sweeps of orphans."""

from lifecycle.domain.status import Status
from tests.model.executions import waited_for
from tests.model.memory import NOW
from tests.model.step import Broken, Step


def recoveries(scenario, truth, contents):
    """Each recoverer reads what cut-off executions have left, and stops it piece by piece while the others go on."""
    for read in sorted(set(truth.recovering)):
        left = list(truth.recovering)
        left.remove(read)
        if read:
            (container, epoch), *later = read
            after = truth.but(recovering=tuple(sorted([*left, tuple(later)])))
            label = f"a recoverer supersedes the children of {container}#{epoch}, then {len(later)} more"
            yield Step(label, ("supersede", container, epoch), superseded(after))
        else:
            then = found(truth, contents, left)
            yield Step("a recoverer reads what was left", ("read left",), then, reads=contents.outline)
    if truth.recovering:
        yield Step("a recoverer resumes", ("resume",), resumed(truth, contents), reads=contents.outline)


def found(truth, contents, left):
    def then(read, changed):
        for container, epoch in read or ():
            if not any(is_left(row, container, epoch) for row in contents.rows.values()):
                raise Broken(f"I5: a recoverer finds {container}#{epoch}, which left nothing to stop")
        return truth.but(recovering=tuple(sorted([*left, read or ()])))

    return then


def is_left(row, container, epoch):
    of_it = row.parent_container_id == container and row.parent_epoch == epoch and not row.detached
    return of_it and row.status in {Status.PENDING, Status.RUNNING, Status.INTERRUPTED}


def superseded(truth):
    def then(ended, changed):
        after = truth
        for moved in ended:
            after = waited_for(after, moved, "recovery")
        return after

    return then


def resumed(truth, contents):
    def then(ids, changed):
        for row in (contents.rows[each] for each in ids or ()):
            if row.wake_at is not None and row.wake_at > NOW:
                raise Broken(f"section 7: {row.id} goes on before its time")
            parent = contents.rows.get(row.parent_container_id)
            if parent and parent.status == Status.INTERRUPTED and is_left(row, parent.id, parent.epoch):
                raise Broken(f"section 7: {row.id} goes on, and {parent.id} will spawn it again")
        return truth

    return then


# What a hand did


def hands(scenario, truth, contents):
    """An operator's UPDATE ends a container that runs nowhere; the sweep follows it up."""
    for container in sorted(truth.hands):
        row = contents.rows.get(container)
        if row is not None and row.node is None and (row.outcome is not None or row.status == Status.INTERRUPTED):
            after = truth.but(hands=truth.hands - {container}, ended_by_hand=truth.ended_by_hand | {container})
            yield Step(f"a hand ends {container}", ("hand", container), lambda done, changed, after=after: after)
    if scenario.hands:
        yield Step("a sweep stops the orphans", ("sweep orphans",), swept(truth))
        yield Step("a sweep releases what is owed", ("release owed",), lambda done, changed: truth)


def swept(truth):
    def then(found, changed):
        orphans, ended = found
        again = [container for container, status in orphans if status not in {"PENDING", "RUNNING", "INTERRUPTED"}]
        if again:
            raise Broken(f"I5: a sweep stops {', '.join(again)} again and again")
        return superseded(truth)(ended, changed)

    return then

"""Executions: claimed, then word by word through their scripts, until they end, meet a stop or die."""

from lifecycle.domain.status import Status
from tests.model.calls import CUTS, Refused
from tests.model.memory import NOW
from tests.model.step import Broken, Step
from tests.model.truth import Run


def claims(scenario, truth, contents):
    """Messages are delivered late and twice: any node may try any row at any time."""
    for node, how in truth.nodes:
        if node in truth.awake or (how == "expired" and not scenario.fenced):
            for row in contents.rows.values():
                call, reads = ("claim", row.id, node), (row, node in contents.dead)
                yield Step(f"{node} claims {row.id}", call, claimed(truth, row, node, *reads[1:]), reads)


def claimed(truth, row, node, is_dead):
    def then(epoch, changed):
        if epoch is None:
            return truth
        if is_dead:
            raise Broken(f"section 3: {node} is dead and claimed {row.id}")
        if row.wake_at is not None and row.wake_at > NOW:
            raise Broken(f"section 5: {row.id} was claimed before its time")
        late = truth.how(node) == "expired"
        return truth.but(runs=truth.runs | {Run(row.id, epoch, node, stale=late)})

    return then


def executing(scenario, truth, contents, run):
    """The next word of its script; or it meets a stop, is killed at its deadline, dies."""
    row = contents.rows[run.container]
    is_stopping = row.status == Status.STOPPING and names(row, run)
    word = "stopped" if run.raised else scenario.words(run.container, run.epoch)[run.at]
    if word.startswith("await "):
        awaited, claims = word.removeprefix("await ").split()
        if contents.rows[awaited].epoch >= int(claims):
            yield Step(f"{run} sees {awaited}#{claims}", None, lambda result, changed: truth.swap(run, at=run.at + 1))
    elif word != "wait":
        yield from spoken(scenario, truth, row, run, word)
    if is_stopping and not run.over:
        if not run.raised and (word != "wait" or run.container not in scenario.survivors):
            yield from ended(truth, row, run, "stopped")
        if run.container in scenario.survivors:
            call = ("give up", run.container, run.epoch, run.node)
            yield Step(f"{run.node} gives {run} up", call, lambda noted, changed: truth)
        else:
            yield Step(f"{run} is killed at its deadline", None, died(truth, run, was_killed=True))
    if truth.crashes:
        yield Step(f"{run} crashes", None, died(truth.but(crashes=truth.crashes - 1), run, was_killed=False))


def spoken(scenario, truth, row, run, word):
    if word in {"return", "fail", "stopped"}:
        yield from ended(truth, row, run, word)
    elif word in CUTS:
        yield from cut_off(truth, row, run, word)
    elif word == "rest":
        yield from rested(scenario, truth, row, run)
    elif word == "count":
        yield Step(f"{run} counts", ("count", run.container, run.epoch), counted(truth, row, run))
    elif word.startswith("follow "):
        child = word.removeprefix("follow ")
        call = ("follow", child, run.container, row.parent_container_id)
        after = truth.swap(run, at=run.at + 1)
        yield Step(f"{run} is followed by {child}", call, lambda refused, changed: after)
    else:
        child = word.removeprefix("spawn ")
        call = ("spawn", child, run.container, run.epoch, child in scenario.detached)
        yield Step(f"{run} spawns {child}", call, spawned(truth, row, run))


def spawned(truth, row, run):
    def then(refused, changed):
        only_if_named(row, run, changed)
        if refused == "ExecutionSuperseded":
            return truth.drop(run)
        if refused == "ContainerStopped":
            return truth.swap(run, raised=True)
        if refused == "InvalidParent":
            raise Broken(f"{run} is told that its own container takes no children")
        return truth.swap(run, at=run.at + 1)

    return then


def counted(truth, row, run):
    def then(goes_on, changed):
        only_if_named(row, run, changed)
        if goes_on and row.status == Status.STOPPING:
            raise Broken(f"I6: {run} began an iteration though it is being stopped")
        return truth.swap(run, at=run.at + 1) if goes_on else truth.swap(run, raised=True)

    return then


def rested(scenario, truth, row, run):
    call = ("rest", run.container, run.epoch)

    def then(has_rested, changed):
        only_if_named(row, run, changed)
        if not has_rested:
            return truth.swap(run, raised=True)
        mistaken = {(run, False)} if scenario.looks_late else set()
        return truth.drop(run).but(dead=truth.dead | mistaken)

    yield Step(f"{run} rests", call, then)
    if truth.repeats and not run.over and names(row, run) and row.status == Status.RUNNING:
        again = truth.but(repeats=truth.repeats - 1).swap(run, over=True)
        yield Step(f"{run} rests, and is not told", call, lambda has_rested, changed: again)


def ended(truth, row, run, word):
    call = ("end", run.container, run.epoch, word)

    def then(moved, changed):
        only_if_named(row, run, changed)
        if isinstance(moved, Refused):
            return truth.drop(run)
        return waited_for(truth.drop(run).came(run, word), moved, run.node)

    yield Step(f"{run} ends: {word}", call, then)
    if truth.repeats and not run.over and names(row, run):
        again = truth.but(repeats=truth.repeats - 1).came(run, word)
        again = again.swap(run, over=True, raised=word == "stopped")
        yield Step(f"{run} ends: {word}, and is not told", call, lambda moved, changed: again)


def cut_off(truth, row, run, word):
    """It leaves, and is to go on later; one that is being stopped ends so instead."""
    call = ("interrupt", run.container, run.epoch, word)

    def then(moved, changed):
        only_if_named(row, run, changed)
        if isinstance(moved, Refused):
            return truth.drop(run)
        return truth.swap(run, raised=True) if moved is None else waited_for(truth.drop(run), moved, run.node)

    yield Step(f"{run} is cut off: {word}", call, then)
    if truth.repeats and not run.over and names(row, run) and row.status == Status.RUNNING:
        again = truth.but(repeats=truth.repeats - 1).swap(run, over=True)
        yield Step(f"{run} is cut off: {word}, and is not told", call, lambda moved, changed: again)


def names(row, run):
    """The row belongs to this execution."""
    return row.epoch == run.epoch and row.node == run.node


def only_if_named(row, run, changed):
    if changed and not names(row, run):
        raise Broken(f"I4: {run} wrote to a row that is not its own any more")


def waited_for(truth, moved, by):
    """As `trees.end.settle`: the parent of what ended, or what waits itself; what is to go on does not."""
    if moved.status == Status.INTERRUPTED:
        return truth
    waiting = moved.parent if moved.ended else moved.id
    return truth if waiting is None else truth.chore("look", waiting, by)


def died(truth, run, *, was_killed):
    after = truth.drop(run).but(dead=truth.dead | {(run, was_killed)})
    return lambda result, changed: after

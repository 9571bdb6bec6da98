"""Who does what next: executions, nodes, a sweep, stoppers, outsiders, time; a step is at most one transaction."""

from tests.model.calls import Refused
from tests.model.executions import claims, executing, only_if_named, waited_for
from tests.model.memory import NOW
from tests.model.recovery import hands, recoveries
from tests.model.step import Broken, Step


def steps(scenario, truth, contents):
    """Everything that can happen now, in an order that is always the same."""
    found = [
        *(step for run in sorted(truth.runs) for step in executing(scenario, truth, contents, run)),
        *claims(scenario, truth, contents),
        *deaths(truth, contents),
        *chores(truth),
        *sweeps(scenario, truth, contents),
        *lost_nodes(scenario, truth),
        *recoveries(scenario, truth, contents),
        *hands(scenario, truth, contents),
        *outsiders(scenario, truth, contents),
        *time(contents),
    ]
    return sorted(found, key=lambda step: step.label)


# Deaths, and what is left to do


def deaths(truth, contents):
    """A node takes the row from a process of its own that died."""
    for run, was_killed in sorted(truth.dead):
        if run.node in truth.awake:
            call = ("lose", run.container, run.epoch, run.node, was_killed)
            yield Step(f"{run.node} sees that {run} died", call, buried(truth, contents, run, was_killed))


def buried(truth, contents, run, was_killed):
    def then(moved, changed):
        if isinstance(moved, Refused):
            raise Broken(f"I4: the row of {run} is taken from it, and is not: {moved}")
        only_if_named(contents.rows[run.container], run, changed)
        after = truth.but(dead=truth.dead - {(run, was_killed)})
        return after if moved is None else waited_for(after, moved, run.node)

    return then


def chores(truth):
    for chore in sorted(truth.chores):
        left = truth.but(chores=truth.chores - {chore})
        yield Step(f"{chore.by} {chore.do}s {chore.container}", (chore.do, chore.container), done(left, chore))
        if truth.crashes:
            less = left.but(crashes=truth.crashes - 1)
            yield Step(f"{chore.by} dies before it {chore.do}s {chore.container}", None, lambda r, c, less=less: less)


def done(left, chore):
    def then(result, changed):
        if result is None or result is False:
            return left
        if chore.do == "look":
            return left.chore("settle", chore.container, chore.by)
        if chore.do == "ring":
            return left.chore("look", result, chore.by)
        return waited_for(left, result, chore.by)

    return then


def sweeps(scenario, truth, contents):
    """One pass reads what is left, then takes it up piece by piece while the others go on."""
    if not scenario.loses:
        return  # then all has to end without it
    if not {"expired", "gone"}.isdisjoint(dict(truth.nodes).values()):
        yield Step("a sweep declares the dead", ("declare dead",), lambda gone, changed: truth)
        if not truth.swept:
            reads = (contents.outline, frozenset(contents.dead))
            yield Step("a sweep reads the lost", ("read lost",), read(truth, "lose"), reads=reads)
    if truth.swept:
        yield taken_up(truth, *truth.swept[0])
    else:
        yield Step("a sweep reads the unsettled", ("read unsettled",), read(truth, "settle"), reads=contents.outline)


def read(truth, do):
    def then(found, changed):
        return truth.but(swept=tuple((do, *(each if do == "lose" else (each,))) for each in sorted(found or ())))

    return then


def taken_up(truth, do, container, *of):
    call = (do, container, *of, False) if do == "lose" else (do, container)

    def then(moved, changed):
        left = truth.but(swept=truth.swept[1:])
        if do == "lose" and changed and any(run.container == container for run in truth.living):
            raise Broken(f"I9: {container} was taken from an execution that lives")
        waiting = moved and (moved.parent if moved.ended else moved.id)
        return left if waiting is None else left.but(swept=(("settle", waiting), *left.swept))

    return Step(f"a sweep {do}s {container}", call, then)


def lost_nodes(scenario, truth):
    """Its lease is not renewed, its processes are killed by their own timers, and only then does it run out."""
    node = scenario.lost
    how = node and truth.how(node)
    here = {run for run in truth.runs if run.node == node}
    if how == "up":
        yield Step(f"{node} renews no more", None, lambda result, changed: truth.turn(node, "cut"))
    elif how == "cut" and scenario.fenced:
        left = frozenset(each for each in truth.chores if each.by != node)
        dead = frozenset(each for each in truth.dead if each[0].node != node)
        gone = truth.turn(node, "fenced").but(runs=truth.runs - here, dead=dead, chores=left)
        yield Step(f"{node} is fenced", None, lambda result, changed: gone)
    elif how in {"cut", "fenced"}:
        late = truth.turn(node, "expired")
        for run in here:
            late = late.swap(run, stale=True)
        yield Step(f"the lease of {node} runs out", ("expire", node), lambda result, changed: late)
    elif how == "expired" and scenario.suspended:
        yield Step(f"{node} renews late", ("renew", node), renewed(truth, node, here))


def renewed(truth, node, here):
    """It was suspended: either nobody has noticed, or its containers are others' now, and it ends all it runs."""

    def then(alive, changed):
        if alive:
            back = truth.turn(node, "back")
            for run in here:
                back = back.swap(run, stale=False)
            return back
        left = frozenset(each for each in truth.chores if each.by != node)
        return truth.turn(node, "gone").but(runs=truth.runs - here, chores=left)

    return then


# Outside


def outsiders(scenario, truth, contents):
    for child in sorted(truth.births):
        if scenario.outside[child] in contents.rows:
            call = ("spawn", child, scenario.outside[child], None, False)
            after = truth.but(births=truth.births - {child})
            yield Step(f"an outsider spawns {child}", call, lambda refused, changed, after=after: after)
    for target in sorted(truth.stops):
        if target in contents.rows:
            after = truth.but(stops=truth.stops - {target})
            if contents.rows[target].parent_container_id is not None:
                after = after.chore("ring", target, "caller")
            yield Step(f"a caller marks {target}", ("mark", target), lambda result, changed, after=after: after)


def time(contents):
    for row in contents.rows.values():
        if row.wake_at is not None and row.wake_at > NOW:
            yield Step(f"the time of {row.id} comes", ("wake", row.id), None, is_time=True)

"""The rules by which it is decided about one container: two tables, each read from its top until a rule has an answer.

The numbers are those of docs/docker.md.
"""

from collections.abc import Callable
from datetime import timedelta

from lifecycle.domain.recovery import Decision, Verdict
from lifecycle.domain.service import REFUSALS, SHORT, Kind, Recover, Service, State
from lifecycle.services.diagnosis import was_stopped
from lifecycle.services.graph import Edge, Strength
from lifecycle.services.question import Question
from lifecycle.services.scope import in_scope
from lifecycle.settings import Settings

STAYS_DOWN = {
    Verdict.DONE,
    Verdict.STOPPED,
    Verdict.ALONE,
    Verdict.PAUSED,
    Verdict.TOLD,
    Verdict.GIVEN_UP,
    Verdict.OPEN,
}
Rule = Callable[[Question], Decision | None]


# Whom nothing is done to, whatever is wrong with it.


def ourselves(q: Question) -> Decision | None:
    """R60: who restarts itself does not see to the end of it."""
    return q.says(Verdict.ALONE, "it is what we run in") if q.service.id == q.case.snapshot.own else None


def one_off(q: Question) -> Decision | None:
    """R15: what `compose run` started is its caller's."""
    return q.says(Verdict.ALONE, "started by compose run") if q.service.oneoff else None


def opted_out(q: Question) -> Decision | None:
    """`lifecycle.recover=false`."""
    return q.says(Verdict.ALONE, "lifecycle.recover=false") if q.service.recover is Recover.FALSE else None


def another_project(q: Question) -> Decision | None:
    """R14, H6, T9: not of the projects that are ours, and not labelled."""
    ours = in_scope(q.service, q.case.snapshot, q.case.settings)
    return None if ours else q.says(Verdict.ALONE, "of no project that is recovered here")


def not_asked_for(q: Question) -> Decision | None:
    """A recovery by hand means what was named, and what depends on it."""
    left_out = q.meant is not None and q.service.key not in q.meant
    return q.says(Verdict.ALONE, "not asked for") if left_out else None


def paused(q: Question) -> Decision | None:
    """`container docker pause`."""
    return q.says(Verdict.PAUSED, "paused by hand") if q.case.row.paused else None


def in_hand(q: Question) -> Decision | None:
    """H1: one recovery at a time; whoever is at it says when it is over."""
    wait = q.seconds_until(q.case.row.locked_until)
    return q.says(Verdict.HELD, f"{q.case.row.locked_by} is at it", wait) if wait and q.case.row.locked_by else None


def replaced(q: Question) -> Decision | None:
    """H5: an updater has made a newer one, and is about to remove this one."""
    is_old = q.service.id in q.case.graph.replaced
    return q.says(Verdict.ALONE, "there is a newer one") if is_old else None


def engine_at_work(q: Question) -> Decision | None:
    """R82, R75: neither up nor down by the engine's own doing, or paused by an operator."""
    if q.service.is_set_aside:
        return None
    said = {
        State.PAUSED: "paused by an operator",
        State.RESTARTING: "its engine is restarting it",
        State.REMOVING: "being removed",
        State.DEAD: "being removed",
    }.get(q.service.state)
    return None if said is None else q.says(Verdict.ALONE, said)


def done(q: Question) -> Decision | None:
    """R18, H3, T8: what has ended well is never started again."""
    is_over = q.service.is_done and not q.service.is_set_aside and not q.case.asked
    return q.says(Verdict.DONE, "ended with exit code 0") if is_over else None


def stopped(q: Question) -> Decision | None:
    """R39, H4, T4: until somebody starts it."""
    is_so = not q.service.is_set_aside and was_stopped(q.case)
    return q.says(Verdict.STOPPED, "stopped by an operator") if is_so else None


LEAVE_ALONE: tuple[Rule, ...] = (
    ourselves,
    one_off,
    opted_out,
    another_project,
    not_asked_for,
    paused,
    in_hand,
    replaced,
    engine_at_work,
    done,
    stopped,
)


# Who has a need that is not answered now.


def job(q: Question) -> Decision | None:
    """R18: what is half done is not begun again by us, whoever it depends on was."""
    is_one = q.service.id in q.case.graph.jobs and not q.service.is_set_aside
    if not is_one or q.case.asked or q.service.recover is not Recover.UNSAID:
        return None
    return q.says(Verdict.ALONE, f"a job, which is not begun again: {q.need.reason if q.need else ''}")


def no_heir(q: Question) -> Decision | None:
    """R66: nobody knows what took the place of the container whose namespace it had."""
    lost = [edge for edge in q.case.edges if edge.is_dead and edge.parent is None]
    if not lost or q.service.is_set_aside:
        return None
    return q.says(
        Verdict.WAITS, f"{lost[0].reference[:SHORT]} is gone, whose {lost[0].share} it had: waits for a new one"
    )


def updater_at_work(q: Question) -> Decision | None:
    """H5, T5: others create, rename or remove it or its parent: until they have been quiet for a while."""
    if q.case.asked:
        return None
    for each in (q.service, *(edge.parent for edge in q.case.edges if edge.parent is not None)):
        if wait := _unquiet(q, each):
            return q.says(Verdict.QUIET, f"others are at work on {each.key}", wait)
    return None


def _unquiet(q: Question, service: Service) -> float:
    row, quiet = q.case.memory.of(service.key), q.case.settings.docker_quiet
    young = quiet - (q.case.snapshot.taken_at - service.created_at).total_seconds()
    return max(
        q.seconds_until(row.quiet_until), 0.0 if row.made_id == service.id or service.is_set_aside else young, 0.0
    )


def parents_first(q: Question) -> Decision | None:
    """R19, R53, R54, H14: nothing is done before what it depends on is well. Of replicas one is enough.

    One that has ended well is waited for by nobody: `depends_on` in its short form does not say that it is a job. Who
    is cut off from its namespace is not left so for a parent of another kind that nobody brings back.
    """
    groups: dict[tuple[Strength, str], list[Edge]] = {}
    for edge in () if q.service.is_set_aside else q.case.edges:
        groups.setdefault((edge.strength, edge.reference), []).append(edge)
    for (strength, _), edges in groups.items():
        parents = [edge.parent for edge in edges if edge.parent is not None]
        if strength is Strength.SOFT or any(_allows(q, strength, parent) for parent in parents):
            continue
        return q.says(Verdict.WAITS, f"waits for {', '.join(parent.key for parent in parents)}")
    return None


def _allows(q: Question, strength: Strength, parent: Service) -> bool:
    if parent.is_done and strength is not Strength.HARD:
        return True
    if strength is not Strength.JOB and q.is_ready(parent):
        return True
    said = q.decided.get(parent.id)
    is_cut_off = q.need is not None and q.need.is_cut_off and strength is not Strength.HARD
    return is_cut_off and said is not None and said.verdict in STAYS_DOWN


def made_to_vanish(q: Question) -> Decision | None:
    """R66: with `--rm` its engine removes it once it is stopped, or its restart fails: there is no way back."""
    if q.case.asked or q.service.recover is Recover.TRUE or not q.service.auto_remove:
        return None
    is_risk = q.need is not None and q.need.kind in (Kind.RECREATE, Kind.RESTART)
    if q.need is None or not is_risk:
        return None
    return q.says(Verdict.TOLD, f"{q.need.reason}; made with --rm: recovered only by hand, or if labelled")


def only_observing(q: Question) -> Decision | None:
    """T19: the engine's proxy does not let us act, or not so; asked again after a while."""
    if q.need is None:
        return None
    wait = q.seconds_until(q.case.memory.of(REFUSALS[q.need.kind]).quiet_until)
    return q.says(Verdict.OBSERVED, "the engine refuses our actions", wait) if wait else None


def only_told(q: Question) -> Decision | None:
    """`lifecycle.recover=notify`."""
    is_told = q.need is not None and q.service.recover is Recover.NOTIFY and not q.case.asked
    return q.says(Verdict.TOLD, q.need.reason) if q.need and is_told else None


def unrestartable(q: Question) -> Decision | None:
    """R63, R76-R80, R83: never called again, but re-created once there is another parent than the one it failed for."""
    noted = q.case.memory.unrestartable.get(q.service.id)
    if noted is None or q.case.asked:
        return None
    if noted.reference is not None and q.need and q.need.shares and noted.reference not in q.need.shares.values():
        return None
    return q.says(Verdict.GIVEN_UP, f"this container is not tried again: {noted.reason}")


def circuit(q: Question) -> Decision | None:
    """H17, T17: over its budget it is given up, and tried once in a long while."""
    row, settings = q.case.row, q.case.settings
    if q.case.asked or (q.need and q.need.kind is Kind.TIDY):  # what we left half done is ended
        return None
    if row.opened_at is None:
        over = row.recent >= settings.docker_budget
        return q.says(Verdict.OPEN, _too_often(settings), settings.docker_probe_every) if over else None
    last = max(row.opened_at, row.acted_at or row.opened_at)
    wait = q.seconds_until(last + timedelta(seconds=settings.docker_probe_every))
    return q.says(Verdict.OPEN, _too_often(settings), wait) if wait else None


def _too_often(settings: Settings) -> str:
    return f"recovered {settings.docker_budget} times within {settings.docker_budget_within:g} s, and not well"


def cooling_down(q: Question) -> Decision | None:
    """R70, R71, T6, T11: it is put off, not dropped; counted from the end of the last recovery."""
    row = q.case.row
    if q.case.asked:
        return None
    patience = None
    if row.acted_at is not None and q.service.is_running and q.need and q.need.reason == "unhealthy":
        patience = row.acted_at + timedelta(seconds=q.case.settings.docker_patience)
    next_at = row.next_at
    if q.need and q.need.kind is Kind.TIDY and row.acted_at is not None:
        next_at = row.acted_at + timedelta(seconds=q.case.settings.docker_backoff[0])
    wait = max(q.seconds_until(next_at), q.seconds_until(patience))
    return q.says(Verdict.COOLS, "recovered just now", wait) if wait else None


HOLD_BACK: tuple[Rule, ...] = (
    job,
    no_heir,
    updater_at_work,
    parents_first,
    made_to_vanish,
    only_observing,
    only_told,
    unrestartable,
    circuit,
    cooling_down,
)

"""What is to be done about an engine's containers, now: no I/O, no clock, the same answer to the same question.

A long wait holds nothing: whoever waits for a parent's health is decided about again at the next look, from the state
of then. Who has to be restarted can be told from states alone, so nothing is lost by a pass that did not come.
"""

from dataclasses import replace
from datetime import datetime

from lifecycle.domain.recovery import Decision, Memory, Need, Plan, Verdict
from lifecycle.domain.service import Action, Health, Snapshot
from lifecycle.services.diagnosis import Case, diagnose, is_well, seconds_to_settle
from lifecycle.services.graph import draw
from lifecycle.services.question import Question
from lifecycle.services.remember import remember
from lifecycle.services.rules import HOLD_BACK, LEAVE_ALONE
from lifecycle.services.scope import worth_remembering
from lifecycle.settings import Settings


def plan(
    snapshot: Snapshot,
    memory: Memory,
    settings: Settings,
    now: datetime,
    *,
    asked: frozenset[str] = frozenset(),
) -> Plan:
    """Decide about each container, parents first.

    `asked` are keys to be recovered by hand: only they, and what depends on them; that an operator has stopped them
    does not count then.
    """
    graph = draw(snapshot, memory, follow_all=settings.docker_follow_all)
    meant = graph.below(asked) if asked else None
    decided: dict[str, Decision] = {}
    for service in graph.order:
        case = Case(
            service=service,
            snapshot=snapshot,
            graph=graph,
            memory=memory,
            settings=settings,
            now=now,
            asked=service.key in asked,
        )
        decided[service.id] = _decide(Question(case, decided, meant))
    decisions = tuple(decided.values())
    known = worth_remembering(graph, snapshot, settings)
    told = tuple(each for each in decisions if each.service.id in known)
    asked_for = [each for each in told if meant is None or each.service.key in meant]
    changes, alerts = remember(asked_for, memory, settings, now)
    return Plan(decisions=decisions, known=told, changes=changes, alerts=alerts, cycles=graph.cycles)


def _decide(question: Question) -> Decision:
    """The first rule that has an answer; whoever gets past those of the healthy has a need."""
    for rule in LEAVE_ALONE:
        if (decision := rule(question)) is not None:
            return decision
    question = replace(question, need=diagnose(question.case))
    if question.need is None:
        return _nothing_wrong(question)
    for rule in HOLD_BACK:
        if (decision := rule(question)) is not None:
            return decision
    return _act(question, question.need)


def _nothing_wrong(q: Question) -> Decision:
    service, settle = q.service, q.case.settings.docker_settle
    if is_well(service, q.case.snapshot, settle):
        return q.says(Verdict.WELL, "healthy" if service.health is not Health.NONE else "running")
    if service.is_running:  # R54: a health check that is still starting is waited for, as long as it takes
        wait = seconds_to_settle(service, q.case.snapshot, settle)
        return q.says(
            Verdict.STARTING,
            "not healthy yet" if service.health is not Health.NONE else "started just now",
            wait or None,
        )
    return q.says(Verdict.ALONE, "nobody needs it to run")


def _act(q: Question, need: Need) -> Decision:
    service = q.service
    action = Action(
        kind=need.kind, key=service.key, id=service.id, name=service.name, reason=need.reason, shares=need.shares
    )
    return replace(q.says(Verdict.ACTS, need.reason), action=action)

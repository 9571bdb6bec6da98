"""What `check` says of Docker services: is anybody looking, and what keeps them from it?"""

import math
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from lifecycle.domain.check import Finding, Level, Problem, sum_up
from lifecycle.domain.facts import Engine as Remembered
from lifecycle.domain.facts import Facts, Pass
from lifecycle.errors import LifecycleError, ServiceTrouble
from lifecycle.runtime.docker import NAME
from lifecycle.services.engine import Engine
from lifecycle.services.monitor import NAMELESS
from lifecycle.settings import Settings

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

OVERDUE = 2  # periods
RECENT = 7_200.0  # seconds: a service that is there is noted every hour


def examine(lifecycle: "Lifecycle", facts: Facts) -> Iterator[Finding]:
    """One line for each problem, where recovery is asked for or a watch listens."""
    try:
        settings = lifecycle.settings
    except LifecycleError:
        return
    if settings.docker and not facts.recorded.id:
        yield Finding("docker", Level.SKIP, "needs database and schema")
    elif settings.docker or any(each.heard is not None for each in facts.recorded.engines):
        problems = [*_looks(settings, facts), *_engines(settings, facts)]
        yield from (Finding("docker", *problem) for problem in problems)
        if not problems:
            begun = facts.recorded.passes[NAME].begun
            yield Finding("docker", Level.OK, f"services were looked at {begun:.0f} s ago")


def _looks(settings: Settings, facts: Facts) -> Iterator[Problem]:
    """One that is late has several reasons, all in its line."""
    run_of = facts.recorded.passes.get(NAME)
    if run_of is not None and run_of.error is not None:
        yield Level.FAIL, f"the last look at services failed: {run_of.error}"
    if run_of is None or _ended(run_of) > OVERDUE * settings.docker_every:
        late = sum_up("docker", [(Level.WARN, text) for text in _late(settings, facts, run_of)], "")
        yield late.level, late.message


def _ended(run_of: Pass) -> float:
    """One that failed has begun, and not ended."""
    return math.inf if run_of.ended is None else max(run_of.begun, run_of.ended)


def _late(settings: Settings, facts: Facts, run_of: Pass | None) -> Iterator[str]:
    queue = settings.docker_queue
    yield (
        "services were never looked at"
        if run_of is None or run_of.ended is None
        else f"services were last looked at {run_of.ended:.0f} s ago"
    )
    if not any(queue in facts.said.get(row.id, row).queues for row in facts.living):
        yield f"no node consumes {queue}: start one with -Q {queue} next to the engine, or container docker watch"
    if (trouble := reach(settings)) is not None:
        yield f"from here the engine cannot be asked: {trouble}"


def reach(settings: Settings) -> ServiceTrouble | None:
    """Why the engine cannot be asked from here; None if it can."""
    with closing(Engine(settings)) as engine:
        try:
            engine.snapshot()
        except ServiceTrouble as trouble:
            return trouble
    return None


def _engines(settings: Settings, facts: Facts) -> Iterator[Problem]:
    """An engine that nobody has looked at for long has only had its watch."""
    for each in facts.recorded.engines:
        if each.seen <= RECENT:
            yield from ((Level.WARN, told) for told in each.refusals)
            if each.given_up:
                yield Level.FAIL, f"given up for now: {', '.join(each.given_up)}; see container docker status"
            if not (each.name or settings.docker_engine):
                yield Level.WARN, NAMELESS
        yield from _watch(settings, each)


def _watch(settings: Settings, engine: Remembered) -> Iterator[Problem]:
    if engine.deaf is not None:
        yield Level.WARN, f"a watch does not hear the engine's events: {engine.deaf}"
    elif engine.heard is not None and engine.heard > (OVERDUE + 1) * settings.docker_every:
        yield Level.WARN, f"a watch last heard the engine's events {engine.heard:.0f} s ago: is it alive?"

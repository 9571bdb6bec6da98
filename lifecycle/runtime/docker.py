"""Recovery of Docker services as Celery's: a task that beat sends to the nodes that reach the engine, and its check."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from celery import Task

from lifecycle.domain.check import Finding, Level, sum_up
from lifecycle.domain.facts import Facts, Pass
from lifecycle.errors import LifecycleError, ServiceTrouble
from lifecycle.runtime.passes import run
from lifecycle.services.engine import Engine
from lifecycle.services.monitor import Monitor, monitor_of, recover_services
from lifecycle.services.report import Report
from lifecycle.settings import Settings

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.docker")
NAME = "docker_recover"
TASK = f"lifecycle.{NAME}"
OVERDUE = 2  # periods


def install(lifecycle: "Lifecycle") -> None:
    """Give the app the task; beat sends it only where it is asked for."""
    register = lifecycle.app.task(name=TASK, base=Task, shared=False, ignore_result=True)
    register(_body(lifecycle))


def _body(lifecycle: "Lifecycle") -> Callable[[], int | None]:
    def recover() -> int | None:
        """Look once at the services of the engine that this node reaches, and recover what is due."""
        settings = lifecycle.settings
        with closing(Engine(settings)) as engine:
            try:
                return _noted(lifecycle, lambda: recover_services(lifecycle.database, engine, settings))[0]
            except ServiceTrouble as trouble:
                log.warning("no pass: %s", trouble)
                return None

    return recover


def entries(settings: Settings) -> dict[str, dict[str, Any]]:
    """Of beat's schedule: one, if it is asked for."""
    if not settings.docker:
        return {}
    options = {"queue": settings.docker_queue, "expires": settings.docker_every}
    return {TASK: {"task": TASK, "schedule": settings.docker_every, "options": options}}


def _noted(lifecycle: "Lifecycle", work: Callable[[], Report]) -> tuple[int | None, Report]:
    """Run a pass, and keep when it was. R97: so `check` and `docker status` see that who watches is alive."""
    reports: list[Report] = []

    def once() -> Report:
        reports.append(work())
        return reports[-1]

    found = run(lifecycle.database, NAME, once, by=lifecycle.who, at_most_every=0.0)
    return found, reports[-1] if reports else work()  # the last began in the future: the database's clock was set back


class Looker:
    """The passes of a watch."""

    def __init__(self, lifecycle: "Lifecycle", engine: Engine) -> None:
        self._lifecycle = lifecycle
        self._monitor: Monitor = monitor_of(lifecycle.database, engine, lifecycle.settings)

    def run(self) -> Report:
        """One pass, which is noted."""
        return _noted(self._lifecycle, self._monitor.run)[1]

    def halt(self) -> None:
        """Begin no more actions."""
        self._monitor.halt()


def examine(lifecycle: "Lifecycle", facts: Facts) -> Iterator[Finding]:
    """What `check` says of it, where it is asked for: is anybody looking, and if not, why?"""
    try:
        settings = lifecycle.settings
    except LifecycleError:
        return
    if settings.docker and not facts.recorded.id:
        yield Finding("docker", Level.SKIP, "needs database and schema")
    elif settings.docker:
        problems = list(_problems(settings, facts))
        run_of = facts.recorded.passes.get(NAME)
        fine = "" if run_of is None else f"services were looked at {run_of.begun:.0f} s ago"
        yield sum_up("docker", [(Level.WARN, text) for text in problems], fine)


def _problems(settings: Settings, facts: Facts) -> Iterator[str]:
    run_of = facts.recorded.passes.get(NAME)
    if run_of is not None and _ended(run_of) <= OVERDUE * settings.docker_every:
        return
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


def _ended(run_of: Pass) -> float:
    """One that failed has begun, and not ended."""
    return math.inf if run_of.ended is None else max(run_of.begun, run_of.ended)


def reach(settings: Settings) -> ServiceTrouble | None:
    """Why the engine cannot be asked from here; None if it can."""
    with closing(Engine(settings)) as engine:
        try:
            engine.snapshot()
        except ServiceTrouble as trouble:
            return trouble
    return None

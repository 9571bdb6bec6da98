"""Recovery of Docker services as Celery's: a task that beat sends to the nodes that reach the engine."""

import logging
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from celery import Task

from lifecycle.errors import ServiceTrouble
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

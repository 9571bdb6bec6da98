"""The periodic passes as Celery's: a task for each, and its entry in the schedule of whatever beat runs."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import Task, signals

from lifecycle.errors import LifecycleError
from lifecycle.runtime import docker
from lifecycle.runtime.passes import NAMES, OWN_TURN, periods, run, work_of

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.schedule")
PREFIX = "lifecycle."


def install(lifecycle: "Lifecycle") -> None:
    """Give the app the tasks, and beat their entries when it begins.

    Not before: an app may assign its `beat_schedule` and its settings until then, and an assignment replaces the whole.
    """
    for name in NAMES:
        # No other app of the process shares them, and whatever class the app gives its tasks, these are no containers.
        register = lifecycle.app.task(name=PREFIX + name, base=Task, shared=False, ignore_result=True)
        register(_body(lifecycle, name))

    docker.install(lifecycle)

    # A function for each Lifecycle: Celery 5.5 takes the methods of two objects for the same receiver.
    def join(sender: Any = None, **_: Any) -> None:
        if sender is not None and sender.app is lifecycle.app:
            _join(lifecycle, sender.scheduler)

    signals.beat_init.connect(join, weak=False)


def _body(lifecycle: "Lifecycle", name: str) -> Callable[[], int | None]:
    def run_pass() -> int | None:
        """Run a periodic pass, unless another beat or a node began it within half its period."""
        by = lifecycle.who if lifecycle.node is None else lifecycle.node.page.node
        most = periods(lifecycle.settings)[name] * OWN_TURN
        return run(lifecycle.database, name, work_of(lifecycle)[name], by=by, at_most_every=most)

    return run_pass


def _join(lifecycle: "Lifecycle", scheduler: Any) -> None:
    """In beat, its own process or a worker's `-B`, before its first look: add what the app has no entry for."""
    try:
        entries = _entries(lifecycle)
    except LifecycleError as error:
        log.error("beat sends no passes error=%s", error)  # noqa: TRY400 - the app's own schedule goes on
        return
    own = lifecycle.app.conf.beat_schedule
    scheduler.update_from_dict({name: entry for name, entry in entries.items() if name not in own})


def _entries(lifecycle: "Lifecycle") -> dict[str, dict[str, Any]]:
    """As a `beat_schedule` has them. What waits behind busy slots for a period is dropped: the next one comes.

    Raises ImpossibleSettings.
    """
    ours = {
        PREFIX + name: {"task": PREFIX + name, "schedule": every, "options": {"expires": every}}
        for name, every in periods(lifecycle.settings).items()
    }
    return ours | docker.entries(lifecycle.settings)

"""The periodic passes as Celery's: a task for each, and its entry in the schedule of whatever beat runs."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import Task, signals

from lifecycle.errors import LifecycleError
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
    schedule = Schedule(lifecycle)
    signals.beat_init.connect(schedule.join, weak=False)


def _body(lifecycle: "Lifecycle", name: str) -> Callable[[], int | None]:
    def run_pass() -> int | None:
        """Run a periodic pass, unless another beat or a node began it within half its period."""
        by = lifecycle.who if lifecycle.node is None else lifecycle.node.page.node
        most = periods(lifecycle.settings)[name] * OWN_TURN
        return run(lifecycle.database, name, work_of(lifecycle)[name], by=by, at_most_every=most)

    return run_pass


class Schedule:
    """The entries of one Lifecycle."""

    def __init__(self, lifecycle: "Lifecycle") -> None:
        self._lifecycle = lifecycle

    def entries(self) -> dict[str, dict[str, Any]]:
        """By name, as `beat_schedule` has them; one that waits behind busy slots for a period is outrun by the next.

        Raises ImpossibleSettings.
        """
        return {
            PREFIX + name: {"task": PREFIX + name, "schedule": every, "options": {"expires": every}}
            for name, every in periods(self._lifecycle.settings).items()
        }

    def join(self, sender: Any = None, **_: Any) -> None:
        """In beat, its own process or a worker's `-B`, before its first look: add what the app has no entry for."""
        app = self._lifecycle.app
        if sender is None or sender.app is not app:
            return
        try:
            entries = self.entries()
        except LifecycleError as error:
            log.error("beat sends no passes error=%s", error)  # noqa: TRY400 - the app's own schedule goes on
            return
        own = app.conf.beat_schedule
        sender.scheduler.update_from_dict({name: entry for name, entry in entries.items() if name not in own})

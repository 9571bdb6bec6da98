"""A node's dispatcher: all that waits for a broker or for Celery's results, so that its supervisor never does."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from lifecycle.errors import LifecycleError
from lifecycle.runtime.native import native, start_thread
from lifecycle.runtime.outage import Outage
from lifecycle.runtime.page import Page
from lifecycle.settings import Settings
from lifecycle.store.engine import Database
from lifecycle.store.forks import inside_a_library
from lifecycle.store.runs import Moved
from lifecycle.trees.dispatch import BATCH, dispatch, redispatch, seconds_to_next
from lifecycle.trees.doorbell import Doorbell, tell

log = logging.getLogger("lifecycle.dispatcher")
SOONEST = 0.05  # seconds between two passes
FIRST_FORK_WAITS = 10.0  # seconds: the first time modules are imported
FORK_WAITS = 1.0  # a broker may hang, and a pool that lost its children needs new ones


class Reachable(Doorbell, Protocol):
    """A doorbell that can be tried first."""

    def reach(self) -> None:
        """Raise at once if the broker is away."""
        ...


class Dispatcher:
    """One thread of a node's main process: publishes what is due, tells Celery what ended STOPPED."""

    def __init__(self, database: Database, page: Page, doorbell: Reachable, settings: Settings) -> None:
        self._database, self._doorbell, self._settings = database, doorbell, settings
        self._over = False
        self._outage = Outage(log, page, "dispatcher waits", "dispatcher goes on")
        self._changed: SimpleQueue[Sequence[Moved]] = native("queue", "SimpleQueue")()  # gevent's wakes no other thread
        self._in_a_hurry = False
        self._next_redispatch = 0.0
        self._next_due: float | None = None
        self._fork_waits = FIRST_FORK_WAITS
        self._join: Callable[[float], object] | None = None

    def start(self) -> None:
        """Begin to publish."""
        self._join = start_thread(self._work, "lifecycle-dispatcher")

    def stop(self) -> None:
        """Publish no more; what ended until now is told, if Celery's results can be reached soon."""
        self._over = True
        self.tell(())
        if self._join is not None:
            self._join(self._settings.supervise_every + 1)

    def tell(self, changed: Sequence[Moved]) -> None:
        """From any thread, at once: these rows changed, Celery is to hear of what ended."""
        self._changed.put(changed)

    def hurry(self) -> None:
        """From any thread, at once: rows are due now."""
        self._in_a_hurry = True
        self.tell(())

    def _work(self) -> None:
        while not self._over:
            try:
                self._pass()
            except LifecycleError as error:
                self._outage.see(error)
            except Exception:
                log.exception("dispatcher failed, goes on")
            self._listen()

    def _pass(self) -> None:
        """Publish what is due; without a broker the rows stay due, and no message is taken to be sent.

        Nobody forks meanwhile: a pool child that inherits a lock of the broker's client hangs at its first spawn.
        """
        self._next_due = None
        try:
            with inside_a_library(self._fork_waits):
                self._doorbell.reach()
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            self._outage.see(error, expected=Exception)
            return
        self._fork_waits = FORK_WAITS
        while self._dispatch() == BATCH and not self._over:
            pass
        if time.monotonic() >= self._next_redispatch:
            self._next_redispatch = time.monotonic() + self._settings.redispatch / 6
            with inside_a_library(FORK_WAITS):
                redispatch(self._database, self._doorbell, after=self._settings.redispatch)
        self._next_due = seconds_to_next(self._database)
        self._outage.see(None)

    def _dispatch(self) -> int:
        with inside_a_library(FORK_WAITS):
            return dispatch(self._database, self._doorbell)

    def _listen(self) -> None:
        """Until the next pass, or until a row is due before that: hand on what ended."""
        pause = self._settings.supervise_every
        if self._next_due is not None and self._next_due > 0:  # what is due already is locked by somebody
            pause = min(pause, max(self._next_due, SOONEST))
        end = time.monotonic() + pause
        while (left := end - time.monotonic()) > 0 and not self._in_a_hurry:
            with suppress(Empty):
                self._hand_on(list(self._changed.get(timeout=left)))
            if self._over:
                return
        self._in_a_hurry = False

    def _hand_on(self, changed: list[Moved]) -> None:
        """With all that waits behind it: where results cannot be reached, one wait is enough."""
        with suppress(Empty):
            while True:
                changed += self._changed.get_nowait()
        try:
            with inside_a_library(FORK_WAITS):
                tell(self._doorbell, changed)
        except Exception:
            log.exception("results not told containers=%d", len(changed))

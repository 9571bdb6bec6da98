"""Periodic passes without beat: a node runs each that nobody began in time."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from lifecycle.errors import LifecycleError, StoreError
from lifecycle.runtime.native import native, start_thread
from lifecycle.runtime.outage import Outage
from lifecycle.runtime.page import Page
from lifecycle.settings import Settings
from lifecycle.store import passes
from lifecycle.store.engine import Database
from lifecycle.store.forks import inside_a_library

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.passes")
NAMES = ("sweep", "recover", "prune")
OWN_TURN = 0.5  # periods: who has the turn runs a pass unless another began it within this time
OVERDUE = 1.5  # periods without a beginning after which a node runs it: what it finds is ended within two
FORK_WAITS = 1.0  # seconds: a pass rings nodes, and a broker may hang
LONGEST = 60.0  # seconds between two looks: settings of other nodes may differ


class Found(Protocol):
    """What a pass returns."""

    @property
    def found(self) -> int:
        """How many it found."""
        ...


Work = Mapping[str, Callable[[], Found]]


def periods(settings: Settings) -> dict[str, float]:
    """Seconds between two runs of each pass."""
    return {name: getattr(settings, f"{name}_every") for name in NAMES}


def work_of(lifecycle: "Lifecycle") -> dict[str, Callable[[], Found]]:
    """Each pass by its name: the call of the Lifecycle that has it."""
    return {name: getattr(lifecycle, name) for name in NAMES}


def run(database: Database, name: str, work: Callable[[], Found], *, by: str, at_most_every: float) -> int | None:
    """Run a pass unless one began less than `at_most_every` seconds ago; how many it found, None if it was not run.

    Raises what the pass does, and StoreError.
    """
    with database.begin() as connection:
        if not passes.begin(connection, name, by=by, at_most_every=at_most_every):
            return None
    began = time.monotonic()
    try:
        found = work().found
    except LifecycleError as error:
        with suppress(StoreError), database.begin() as connection:
            passes.failed(connection, name, str(error))
        raise
    with database.begin() as connection:
        passes.done(connection, name, found)
    level = logging.INFO if found else logging.DEBUG
    log.log(level, "pass ran name=%s found=%d seconds=%.3f", name, found, time.monotonic() - began)
    return found


class Passes:
    """One thread of a node's main process: neither beat nor a free slot is needed for what it runs."""

    def __init__(self, database: Database, page: Page, settings: Settings, work: Work) -> None:
        self._database, self._page, self._settings, self._work = database, page, settings, work
        self._periods = periods(settings)
        self._over = False
        self._soon = {"recover"}  # at the node's start, and what failed: these wait for no overdue
        self._blind = Outage(log, page, "passes not looked at", "passes looked at again")
        self._outages = {name: Outage(log, page, f"{name} failed", f"{name} runs again") for name in work}
        self._bell: SimpleQueue[None] = native("queue", "SimpleQueue")()  # gevent's wakes no other thread
        self._join: Callable[[float], object] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._join = start_thread(self._watch, "lifecycle-passes")

    def stop(self) -> None:
        """Begin no pass any more; one that runs is waited for, but not long: it may be cut off anywhere."""
        self._over = True
        self._bell.put(None)
        if self._join is not None:
            self._join(self._settings.supervise_every + 1)

    def _watch(self) -> None:
        while not self._over:
            pause = self._pause(self._look())
            with suppress(Empty):
                self._bell.get(timeout=pause)

    def _pause(self, seconds: float) -> float:
        """How long to wait for what may be overdue in so many seconds: the database is not asked all the time."""
        return max(min(seconds, LONGEST), self._settings.supervise_every)

    def _look(self) -> float:
        """Run what is overdue; seconds until something may be."""
        try:
            with self._database.read() as connection:
                begun = passes.last(connection)
            self._blind.see(None)
        except Exception as error:  # noqa: BLE001 - said once, and tried again
            self._blind.see(error)
            return 0.0
        return min((self._look_after(name, begun.get(name, math.inf)) for name in self._work), default=LONGEST)

    def _look_after(self, name: str, begun: float) -> float:
        """Run one pass if its last beginning is so many seconds ago; seconds until it may be overdue."""
        patience = self._patience(name)
        if begun < patience or self._over:
            return patience - begun
        try:
            with inside_a_library(FORK_WAITS):  # a pool child that inherits a lock of the broker's client hangs
                run(self._database, name, self._work[name], by=self._page.node, at_most_every=patience)
        except Exception as error:  # noqa: BLE001 - the other passes go on
            self._outages[name].see(error)
            self._soon.add(name)
            return 0.0
        self._outages[name].see(None)
        self._soon.discard(name)
        return self._patience(name)

    def _patience(self, name: str) -> float:
        """Seconds without a beginning after which this node runs a pass."""
        return self._periods[name] * (OWN_TURN if name in self._soon else OVERDUE)

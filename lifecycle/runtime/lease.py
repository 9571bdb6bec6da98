"""A node's lease on its containers: renewed by a thread of its own, so that nothing else in the node delays it."""

import logging
import threading
import time
from collections.abc import Callable

from lifecycle.runtime.native import start_thread
from lifecycle.runtime.outage import Outage
from lifecycle.runtime.page import Page
from lifecycle.settings import Settings
from lifecycle.store import nodes
from lifecycle.store.engine import Database

log = logging.getLogger("lifecycle.lease")


class Lease:
    """Renews one row, and publishes to the pool children until when it is certain."""

    def __init__(self, database: Database, page: Page, settings: Settings, on_lost: Callable[[], None]) -> None:
        self._database, self._page, self._settings, self._on_lost = database, page, settings, on_lost
        self._over = threading.Event()
        self._outage = Outage(log, page, "lease not renewed", "lease renewed again")
        self._join: Callable[[float], object] | None = None

    def publish(self, since: float) -> None:
        """The lease granted at or after monotonic time `since`: counted from before it was asked for."""
        if 0.0 < self._page.deadline < since:
            self._page.missed_at = since
        self._page.deadline = since + self._settings.lease - self._settings.lease_margin

    def may_reap(self) -> bool:
        """True if this node may declare others dead: who missed a renewal of its own waits a full lease first.

        After an outage of the database every node's time is over, and each needs a moment to renew.
        """
        at = time.monotonic()
        has_missed = self._page.missed_at > 0.0 and at - self._page.missed_at < self._settings.lease
        return self._page.deadline > at and not has_missed

    def start(self) -> None:
        """Renew every heartbeat from now on."""
        self._join = start_thread(self._keep, "lifecycle-lease")

    def stop(self) -> None:
        """Renew no more."""
        self._over.set()
        if self._join is not None:
            self._join(self._settings.heartbeat)

    def _keep(self) -> None:
        """Whatever goes wrong, this thread lives: without it every pool child dies at its fence."""
        pause = self._settings.heartbeat
        while not self._over.wait(pause):
            try:
                self._renew()
            except Exception as error:  # noqa: BLE001 - said once, and tried again
                self._outage.see(error)
                pause = min(1.0, self._settings.heartbeat / 5)
            else:
                self._outage.see(None)
                pause = self._settings.heartbeat

    def _renew(self) -> None:
        asked = time.monotonic()
        with self._database.begin() as connection:
            renewed = nodes.renew(
                connection, self._page.node, expires_in=self._settings.expires_in, timeout=self._settings.heartbeat
            )
        if renewed:
            self.publish(asked)
        else:
            self._page.missed_at = asked
            self._on_lost()

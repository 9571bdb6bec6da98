"""Prometheus metrics of all containers, from the database: any process that serves them tells the same."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prometheus_client.core import REGISTRY
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from lifecycle.errors import LifecycleError
from lifecycle.runtime.families import families
from lifecycle.runtime.native import native, start_thread
from lifecycle.runtime.reading import Reading, read
from lifecycle.settings import Settings
from lifecycle.store.engine import Database

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.metrics")
PATIENCE = 1.0  # seconds that who asks is kept waiting; it may be Flower's event loop
STALE = 60.0  # seconds after which an old reading is none, beyond the time between two


class Metrics(Collector):
    """Reads the database in a thread of its own when it is asked, at most so often; tells what was read last."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._reading: Reading | None = None
        self._read_at = self._asked_at = float("-inf")
        self._one = native("_thread", "allocate_lock")()
        self._join: Callable[[float], object] | None = None
        self._fails = False

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register is no reason to ask the database."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Every metric; only that there is none where the database tells nothing. Never raises."""
        self._refresh()
        return families(self._settings.metrics_prefix, self._now())

    @property
    def url(self) -> str:
        """Of which database."""
        return self._database.url.render_as_string(hide_password=True)

    def _now(self) -> Reading | None:
        age = time.monotonic() - self._read_at
        return self._reading if age <= self._settings.metrics_every + STALE else None

    def _refresh(self) -> None:
        """Begin to read unless that was done just now, or goes on; wait for it, but not long."""
        if time.monotonic() - self._asked_at >= self._settings.metrics_every and self._one.acquire(False):
            self._asked_at = time.monotonic()
            self._join = start_thread(self._read, "lifecycle-metrics")
        if self._one.locked() and self._join is not None:
            self._join(PATIENCE)

    def _read(self) -> None:
        try:
            self._reading = read(self._database)
            self._read_at = time.monotonic()
            self._tell(None)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asks is answered
            self._reading = None
            self._tell(error)
        finally:
            self._one.release()

    def _tell(self, error: Exception | None) -> None:
        """Once when it begins to fail, and once when it is over."""
        if error is not None and not self._fails:
            log.warning("metrics not read error=%s", error, exc_info=not isinstance(error, LifecycleError))
        if error is None and self._fails:
            log.warning("metrics read again")
        self._fails = error is not None


_registered: dict[str, Metrics] = {}


def register(lifecycle: "Lifecycle") -> Metrics:
    """Have the metrics of this process told with all others of it; once, however often it is called."""
    settings = lifecycle.settings
    made = Metrics(lifecycle.database, settings)
    found = _registered.setdefault(settings.metrics_prefix, made)
    if found is made:
        REGISTRY.register(made)
    elif found.url != made.url:
        log.warning("metrics told of one database only url=%s not=%s", found.url, made.url)
    return found

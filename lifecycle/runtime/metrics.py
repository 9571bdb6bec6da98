"""Prometheus metrics of all containers, from the database: any process that serves them tells the same."""

import logging
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from prometheus_client.core import REGISTRY
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from lifecycle.errors import LifecycleError
from lifecycle.runtime.families import families
from lifecycle.runtime.native import native, start_thread
from lifecycle.runtime.reading import Reading, read
from lifecycle.settings import Settings

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.metrics")
PATIENCE = 1.0  # seconds that who asks is kept waiting
STALE = 60.0  # seconds after which an old reading is none, beyond the time between two


class Metrics(Collector):
    """Reads the database in a thread of its own when it is asked, at most so often; tells what was read last."""

    def __init__(self, find: Callable[[], "Lifecycle"], patience: float = PATIENCE) -> None:
        self._find, self._patience = find, patience
        self._reading: Reading | None = None
        self._read_at = self._asked_at = float("-inf")
        self._one = native("_thread", "allocate_lock")()
        self._fails = False

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register is no reason to ask the database."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Every metric; only that there is none where the database tells nothing. Never raises."""
        try:
            settings, _ = self._settings, self._lifecycle.database
        except LifecycleError as error:  # no database is set, or nothing works with what is
            self._tell(error)
            return []
        self._refresh()
        return families(settings.metrics_prefix, self._now())

    @cached_property
    def _lifecycle(self) -> "Lifecycle":
        """Looked for by the first scrape: by then its app is configured."""
        return self._find()

    @property
    def _settings(self) -> Settings:
        return self._lifecycle.settings

    def _now(self) -> Reading | None:
        age = time.monotonic() - self._read_at
        return self._reading if age <= self._settings.metrics_every + STALE else None

    def _refresh(self) -> None:
        """Begin to read unless that was done just now, or goes on; who begins waits for it, but not long."""
        if time.monotonic() - self._asked_at >= self._settings.metrics_every and self._one.acquire(False):
            is_first = self._asked_at == float("-inf")
            self._asked_at = time.monotonic()
            start_thread(self._read, "lifecycle-metrics")(PATIENCE if is_first else self._patience)

    def _read(self) -> None:
        try:
            self._reading = read(self._lifecycle.database)
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


_registered: list[Metrics] = []


def register(find: Callable[[], "Lifecycle"], patience: float = PATIENCE) -> None:
    """Have a Lifecycle's metrics told with all others of this process; the first scrape finds it.

    Once: a scrape with a metric in it twice is refused, so it is that of the first call; another is one warning.
    patience: seconds that a scrape may wait for what it began to read, but for the first, which waits a second.
    """
    if _registered:
        log.warning("metrics registered before: this process tells those of the first app only")
        return
    _registered.append(Metrics(find, patience))
    REGISTRY.register(_registered[0])

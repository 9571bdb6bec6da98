"""How many containers there are of each status: the live ones as it is now, the ended ones as it was a moment ago."""

import time

from lifecycle.domain.search import Filters
from lifecycle.domain.status import Status
from lifecycle.store import forest
from lifecycle.store.engine import Connection

GOOD_FOR = 20  # times as long as it took: a page that polls may not cost a database more than a twentieth of its time
MOST = 128  # filters remembered


class Tally:
    """Counts of an application's pages."""

    def __init__(self) -> None:
        self._ended: dict[Filters, tuple[float, dict[str, int]]] = {}

    def read(self, connection: Connection, filters: Filters) -> dict[str, int]:
        """Of every status, whatever the filters say of statuses."""
        found = forest.count_live(connection, filters) | self._count_ended(connection, filters)
        return {status.value: found.get(status.value, 0) for status in Status}

    def _count_ended(self, connection: Connection, filters: Filters) -> dict[str, int]:
        began = time.monotonic()
        good_until, found = self._ended.get(filters, (0.0, {}))
        if began < good_until:
            return found
        found = forest.count_ended(connection, filters)
        if len(self._ended) >= MOST:
            self._ended.clear()
        now = time.monotonic()
        self._ended[filters] = now + GOOD_FOR * (now - began), found
        return found

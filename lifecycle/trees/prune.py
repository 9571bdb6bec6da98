"""Retention: what ended long ago is deleted, leaves first, beside whatever else goes on."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lifecycle.domain.policy import check_seconds
from lifecycle.store import prunes, totals
from lifecycle.store.engine import Connection, Database
from lifecycle.store.prunes import OLDEST, UNDATED, Place

log = logging.getLogger("lifecycle.prune")
BATCH = 500  # rows locked at a time
Step = Callable[[Connection], int | None]
OnBatch = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows of each kind went, or would go. What belongs to a container went with it and is not counted."""

    containers: int = 0
    log_lines: int = 0
    """Old lines of containers that stay."""
    nodes: int = 0
    quarantines: int = 0

    @property
    def found(self) -> int:
        """All of them."""
        return self.containers + self.log_lines + self.nodes + self.quarantines


def prune(database: Database, *, older_than: float, batch: int = BATCH, on_batch: OnBatch | None = None) -> Pruned:
    """Delete what ended more than `older_than` seconds ago; what is live, or above a row that stays, stays.

    At most `batch` rows a transaction, and after each a pause as long as it took; `on_batch` hears how many went in it.
    Safe twice at once: rows that another prune holds are left to it. Raises InvalidArgument for a time that is none.
    """
    before = _time_before(database, older_than)
    shears = _Shears(database, before, batch, on_batch or _tell_nobody)
    shears.count_for_metrics()
    made = Pruned(shears.containers(), shears.log_lines(), shears.nodes(), shears.quarantines())
    counts = made.containers, made.log_lines, made.nodes, made.quarantines
    log.info("pruned containers=%d log_lines=%d nodes=%d quarantines=%d before=%s", *counts, before.isoformat())
    return made


def preview(database: Database, *, older_than: float) -> Pruned:
    """What `prune` would delete now; raises InvalidArgument as it does."""
    before = _time_before(database, older_than)
    with database.read() as connection:
        return Pruned(*prunes.count(connection, before))


def _time_before(database: Database, older_than: float) -> datetime:
    seconds = check_seconds("older_than", older_than)
    with database.read() as connection:
        return prunes.time_before(connection, seconds)


def _tell_nobody(_deleted: int) -> None:
    """Who asked does not want to hear of each batch."""


@dataclass(frozen=True, slots=True)
class _Shears:
    """One prune: what is older than a time, so many rows at once."""

    database: Database
    before: datetime
    batch: int
    told: OnBatch

    def count_for_metrics(self) -> None:
        """What no metrics have counted for good yet, and not only what goes: a first scrape is to find little."""
        self._each(lambda connection: totals.fold(connection, self.batch) or None, _tell_nobody)

    def containers(self) -> int:
        """Oldest first: children come before parents, as they ended before them.

        Where they did not (detached, in the same millisecond, without a time), the way is gone once more, from the
        first that was left: as long as there are any, and some have gone.
        """
        total, starts = 0, [OLDEST, UNDATED]
        while starts:
            ways = [_Way(start, self) for start in starts]
            gone = sum(self._each(way.step) for way in ways)
            total += gone
            starts = [way.left for way in ways if way.left is not None] if gone else []
        return total

    def log_lines(self) -> int:
        """Those of containers that live on: a coordinator without an end logs for months."""
        after = 0

        def step(connection: Connection) -> int | None:
            nonlocal after
            gone, after = prunes.delete_lines(connection, self.before, after=after, limit=self.batch)
            return gone or None

        return self._each(step)

    def nodes(self) -> int:
        """Those that died."""
        return self._each(lambda connection: prunes.delete_nodes(connection, self.before, limit=self.batch) or None)

    def quarantines(self) -> int:
        """Of resources that have not failed since."""
        return self._each(
            lambda connection: prunes.delete_quarantines(connection, self.before, limit=self.batch) or None
        )

    def _each(self, step: Step, told: OnBatch | None = None) -> int:
        """A transaction a step, until there is nothing left; how many rows went.

        The pause leaves half of the time to stops and spawns; on SQLite they wait for one step at most.
        """
        total = 0
        while True:
            begun = time.monotonic()
            with self.database.begin(impatient=True) as connection:
                gone = step(connection)
            took = time.monotonic() - begun
            if gone is None:
                return total
            total += gone
            (told or self.told)(gone)
            time.sleep(took)


class _Way:
    """One way through the ended containers, from a place on."""

    def __init__(self, start: Place, shears: _Shears) -> None:
        self.left: Place | None = None  # where to begin again
        self._at = start
        self._shears = shears

    def step(self, connection: Connection) -> int | None:
        """Delete what can go of the next batch; None at the end of the way."""
        taken = prunes.take(connection, self._shears.before, after=self._at, limit=self._shears.batch)
        if not taken:
            return None
        gone = prunes.delete(connection, taken)
        if gone < len(taken) and self.left is None:
            self.left = self._at
        self._at = taken[-1].place
        return gone

"""What the database tells metrics, read in a bounded number of statements."""

import time
from dataclasses import dataclass

from lifecycle.domain.counters import Counted, Counter
from lifecycle.domain.gauges import Gauges
from lifecycle.store import gauges, totals
from lifecycle.store.engine import Database, limit_statements

BATCH = 1_000  # rows counted for good in one transaction
BUDGET = 5.0  # seconds of counting for good before a reading: what is left is for the next one
PATIENCE = 1.0  # seconds of waiting for others who count
TIMEOUT = 5.0  # seconds that one statement may take, on PostgreSQL


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters and gauges, as the database told them at one time."""

    counted: tuple[Counted, ...]
    gauges: Gauges

    @property
    def types(self) -> list[str]:
        """Every type that lives, or was counted, in order."""
        live = {each.type for each in self.gauges.active}
        return sorted(live.union(each.type for each in self.counted if each.type))

    def value(self, counter: Counter, label: str = "", le: str = "", *, type: str | None = None) -> float:  # noqa: A002 - the label's name
        """How many, of all types or of one."""
        of = (counter, label, le)
        return sum(
            each.value for each in self.counted if (each.name, each.label, each.le) == of and type in {None, each.type}
        )

    def active(self, *, type: str | None = None, depth: str | None = None, status: str | None = None) -> int:  # noqa: A002 - the label's name
        """How many live containers, of those that are asked for."""
        wanted = {"type": type, "depth": depth, "status": status}
        given = {name: value for name, value in wanted.items() if value is not None}
        return sum(
            each.count
            for each in self.gauges.active
            if all(getattr(each, name) == value for name, value in given.items())
        )


def read(database: Database) -> Reading:
    """All of it; raises StoreError. What piled up since the last reading is counted for good first, within a budget."""
    fold(database, seconds=BUDGET)
    with database.read() as connection:
        limit_statements(connection, TIMEOUT)
        return Reading(tuple(totals.read(connection)), gauges.read(connection))


def fold(database: Database, *, seconds: float, batch: int = BATCH) -> int:
    """Count for good, whole batches at a time: less than one costs a reading nothing; how many rows.

    The pauses leave half of the time to stops and spawns: on SQLite they wait for one batch at most.
    """
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        with database.read() as connection:
            limit_statements(connection, TIMEOUT)
            if totals.backlog(connection, batch) < batch:
                break
        begun = time.monotonic()
        with database.begin(impatient=True, patience=PATIENCE) as connection:
            limit_statements(connection, TIMEOUT)
            found = totals.fold(connection, batch)
        count += found
        if not found:  # others count them
            break
        time.sleep(time.monotonic() - begun)
    return count

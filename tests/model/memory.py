"""The real database of the store, in memory: its time stands still, and its contents can be kept and put back.

`strftime` is SQLite's own word for the clock; this connection has another one, so the statements are the real ones.
"""

import re
import zlib
from collections import namedtuple
from datetime import datetime, timedelta
from functools import lru_cache
from operator import attrgetter

import sqlalchemy as sa

from lifecycle.store import schema
from lifecycle.store.engine import Database
from lifecycle.store.tables import assignments, containers, nodes, stops, transitions

NOW = "2026-01-01 12:00:00.000"
PAST = "2026-01-01 11:00:00.000"
ORDER = {containers: "id", transitions: "container_id, id", assignments: "resource, id", nodes: "id", stops: "id"}
COUNTED = (transitions, assignments)  # whose ids only count writes: two orders of the same writes are one content
COLUMNS = {table: [c.name for c in table.c if c.name != "id" or table not in COUNTED] for table in ORDER}
ROWS = {table: namedtuple(table.name, names) for table, names in COLUMNS.items()}  # noqa: PYI024 - no types to name

OUTLINE = attrgetter(
    "id", "status", "epoch", "node", "outcome", "wake_at", "parent_epoch", "stop_error", "stop_deadline"
)


class Memory:
    """One database whose contents are numbered; equal contents have one number."""

    def __init__(self):
        self.database = Database("sqlite:///:memory:")
        self._checkout = self.database.engine.raw_connection()
        self.raw = self._checkout.driver_connection
        self.raw.execute("PRAGMA page_size=512")  # most tables hold a row or two
        schema.migrate(self.database)
        self.raw.create_function("strftime", -1, strftime)
        sa.event.listen(self.database.engine, "before_cursor_execute", self._weakened, retval=True)
        self._empty = self.raw.serialize()
        self.weak, self.weakened, self.doing = [], 0, ""
        self.clear()

    def clear(self):
        """An empty database, and nothing kept."""
        self._numbers, self._blobs, self.contents = {}, [], []
        self._at, self._changes = None, 0
        self._blob = lru_cache(64)(lambda number: zlib.decompress(self._blobs[number]))
        self.raw.deserialize(self._empty)

    def keep(self):
        """The number of the contents of now."""
        if self._at is not None and self.raw.total_changes == self._changes:
            return self._at
        found = tuple(self._read(table) for table in ORDER)
        number = self._numbers.setdefault(found, len(self._blobs))
        if number == len(self._blobs):
            self._blobs.append(zlib.compress(self.raw.serialize(), 1))
            self.contents.append(Contents(*found))
        return number

    def put_back(self, number):
        """Make these the contents of now."""
        self.raw.deserialize(self._blob(number))
        self._at, self._changes = number, self.raw.total_changes

    def weaken(self, doing, guard):
        """Let `guard` hold for every row, in the statements of these kinds of transactions."""
        pattern = re.escape(guard).replace("anon_1", r"anon_\d+")
        self.weak.append((doing, re.compile(pattern)))

    def mend(self):
        """Every guard is back; how often one was missing."""
        missing, self.weak, self.weakened = self.weakened, [], 0
        return missing

    def _read(self, table):
        rows = self.raw.execute(f"SELECT {', '.join(COLUMNS[table])} FROM {table.name} ORDER BY {ORDER[table]}")
        return tuple(map(ROWS[table]._make, rows))

    def _weakened(self, _connection, _cursor, sql, parameters, _context, _many):
        for doing, guard in self.weak:
            if self.doing in doing:
                sql, count = guard.subn(r"(\g<0> OR 1)", sql)
                self.weakened += count
        return sql, parameters


class Contents:
    """All rows, as the invariants and the actors look at them."""

    def __init__(self, rows, history, held, node_rows, stop_rows):
        self.rows = {row.id: row for row in rows}
        self.history = {row.id: [each for each in history if each.container_id == row.id] for row in rows}
        self.held = [each for each in held if each.released_at is None]
        self.released = [each for each in held if each.released_at is not None]
        self.dead = {node.id for node in node_rows if node.dead}
        self.outline = tuple(map(OUTLINE, rows))
        self.stops = stop_rows


@lru_cache
def strftime(_format, time, shift="0 seconds"):
    """SQLite's function for the only format the store uses; `now` never changes."""
    if time is None or shift is None:
        return None
    at = datetime.fromisoformat(NOW if time == "now" else time)
    at += timedelta(seconds=float(shift.removesuffix(" seconds")))
    return at.isoformat(sep=" ", timespec="milliseconds")

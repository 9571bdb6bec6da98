"""How many have ended, as it was a moment ago: what is live is counted anew, what has ended may be millions."""

import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from lifecycle.domain.search import Filters
from lifecycle.domain.status import TERMINAL, Status
from lifecycle.errors import StoreUnreachable
from lifecycle.store import forest
from lifecycle.store.engine import Connection

GOOD_FOR = 20  # times as long as it took: a page that polls may not cost a database more than a twentieth of its time
MOST = 20_000  # counts remembered

Reader = Callable[[], AbstractContextManager[Connection]]
Counts = dict[str, int]


class Tally:
    """Counts of an application's pages; each is a reading of its own, and none is made to wait for."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[float, Counts | None]] = {}

    def add_ended(self, reader: Reader, filters: Filters, live: Counts) -> dict[str, int | None]:
        """Of every status, whatever the filters say of statuses; None while what has ended cannot be counted."""
        count = partial(_count, filters=filters)
        ended = self._recall(reader, [filters], count)[filters]
        unknown = dict.fromkeys(TERMINAL) if ended is None else {}
        return {status.value: unknown.get(status, {**live, **(ended or {})}.get(status, 0)) for status in Status}

    def add_ended_children(
        self, reader: Reader, ids: Iterable[str], live: dict[str, Counts]
    ) -> dict[str, dict[str, int]]:
        """Of each container; only of live ones while the others cannot be counted."""
        ended = self._recall(reader, list(ids), forest.ended_children)
        return {each: {**live.get(each, {}), **(found or {})} for each, found in ended.items()}

    def _recall(self, reader: Reader, keys: list[Any], count: Callable[[Connection, list[Any]], Any]) -> dict[Any, Any]:
        """What is known of each; what is known no more, or not well enough, is counted, or left as it was."""
        began = time.monotonic()
        due = [each for each in keys if self._known.get(each, (0.0, None))[0] <= began]
        if due:
            found = self._count(reader, due, count)
            now = time.monotonic()
            if len(self._known) + len(due) > MOST:
                self._known.clear()
            self._known |= {each: (now + GOOD_FOR * (now - began), found[each]) for each in due}
        return {each: self._known.get(each, (0.0, None))[1] for each in keys}

    def _count(self, reader: Reader, due: list[Any], count: Callable[[Connection, list[Any]], Any]) -> dict[Any, Any]:
        try:
            with reader() as connection:
                found = count(connection, due)
        except StoreUnreachable:
            return {each: self._known.get(each, (0.0, None))[1] for each in due}
        return {each: found.get(each, {}) for each in due}


def _count(connection: Connection, _: list[Filters], *, filters: Filters) -> dict[Filters, Counts]:
    return {filters: forest.count_ended(connection, filters)}

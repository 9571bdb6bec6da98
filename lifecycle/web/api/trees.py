"""Trees, and the children of one container."""

from functools import partial
from typing import Any

from lifecycle.domain.search import Filters
from lifecycle.domain.status import Status
from lifecycle.store import containers, forest, pages
from lifecycle.store.engine import Connection
from lifecycle.web import texts
from lifecycle.web.api.handler import Api
from lifecycle.web.parameters import ACTIVE_FILTERS, as_filters, number, statuses, words
from lifecycle.web.tally import Tally

MOST = 280_000  # bytes of trees in one answer


class Trees(Api):
    """GET api/containers/tree"""

    PARAMETERS = (*ACTIVE_FILTERS, number("limit", 200, 1, 1_000, "So many trees at most, the newest."))

    async def get(self) -> None:
        filters, limit = as_filters(self.query), self.query["limit"]
        await self.answer(partial(grown, tally=self.desk.tally, filters=filters, limit=limit))


def grown(connection: Connection, *, tally: Tally, filters: Filters, limit: int) -> bytes:
    """The answer, already as JSON."""
    counts = tally.read(connection, filters)
    found = forest.grow(connection, filters, limit)
    rest = texts.encode({"counts": counts, "more": found.more or False, "filters": as_understood(filters)})
    return b'{"roots":[' + b",".join(texts.trees(found, MOST)) + b"]," + rest[1:]


def as_understood(filters: Filters) -> dict[str, Any]:
    """What is asked for, as it was read."""
    said = {
        "status": [status.value for status in filters.statuses or Status],
        "words": [
            {"text": w.text, "excludes": w.excludes, "tag": [w.key, w.value] if w.key else None} for w in filters.words
        ],
        "player_id": filters.player_id,
        "type": filters.container_type,
        "tags": dict(filters.tags),
    }
    return {name: value for name, value in said.items() if value not in (None, [], {})}


class Children(Api):
    """GET api/containers/<id>/children"""

    PARAMETERS = (
        statuses(None),
        number("limit", 200, 1, 1_000, "So many children at most."),
        words("after", "Only children after this one, in the order of the answer."),
    )

    async def get(self, container_id: str) -> None:
        await self.answer(partial(children, container_id=container_id, query=self.query))


def children(connection: Connection, *, container_id: str, query: dict[str, Any]) -> dict[str, Any]:
    """Direct children, oldest first."""
    containers.get(connection, container_id)
    rows, more = pages.children(
        connection, container_id, statuses=query["status"], limit=query["limit"], after=query["after"]
    )
    counted = forest.child_counts(connection, [row.id for row in rows])
    return {"children": [texts.row(row, counted.get(row.id, {})) for row in rows], "more": more or False}

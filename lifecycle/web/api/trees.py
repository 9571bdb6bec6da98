"""Trees, and the children of one container."""

from dataclasses import replace
from functools import partial
from typing import Any

from lifecycle.domain.search import Filters
from lifecycle.domain.status import Status
from lifecycle.store import containers, forest, pages
from lifecycle.web import texts
from lifecycle.web.api.handler import Api
from lifecycle.web.parameters import ACTIVE_FILTERS, as_filters, number, statuses, words
from lifecycle.web.tally import Reader, Tally

MOST = 280_000  # bytes of trees in one answer


class Trees(Api):
    """GET api/containers/tree"""

    PARAMETERS = (*ACTIVE_FILTERS, number("limit", 200, 1, 1_000, "So many trees at most, the newest."))

    async def get(self) -> None:
        filters, limit = as_filters(self.query), self.query["limit"]
        self.send(await self.gather(partial(grown, tally=self.desk.tally, filters=filters, limit=limit)))


def grown(reader: Reader, *, tally: Tally, filters: Filters, limit: int) -> bytes:
    """The answer, already as JSON."""
    with reader() as connection:
        found = forest.grow(connection, filters, limit)
        live = forest.count_live(connection, filters)
    counts = tally.add_ended(reader, filters, live)
    found = replace(found, children=tally.add_ended_children(reader, found.rows, found.children))
    encoded = texts.trees(found, MOST)
    more = found.more + len(found.tops) - len(encoded)
    rest = texts.encode({"counts": counts, "more": more or False, "filters": as_understood(filters)})
    return b'{"roots":[' + b",".join(encoded) + b"]," + rest[1:]


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
        found = partial(children, tally=self.desk.tally, container_id=container_id, query=self.query)
        self.send(await self.gather(found))


def children(reader: Reader, *, tally: Tally, container_id: str, query: dict[str, Any]) -> dict[str, Any]:
    """Direct children, oldest first."""
    with reader() as connection:
        containers.get(connection, container_id)
        rows, more = pages.children(
            connection, container_id, statuses=query["status"], limit=query["limit"], after=query["after"]
        )
        ids = [row.id for row in rows]
        live = forest.live_children(connection, ids)
    counted = tally.add_ended_children(reader, ids, live)
    return {"children": [texts.row(row, counted.get(row.id, {})) for row in rows], "more": more or False}

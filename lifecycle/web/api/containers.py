"""Containers in full: a list of them, one of them."""

from functools import partial
from typing import Any

from celery.utils.saferepr import saferepr

from lifecycle.domain.search import Filters
from lifecycle.errors import ContainerNotFound
from lifecycle.store import containers, dossiers, forest, pages
from lifecycle.store.engine import Connection
from lifecycle.web import texts
from lifecycle.web.api.handler import Api
from lifecycle.web.parameters import ALL_FILTERS, as_filters, number, words
from lifecycle.web.tally import Reader, Tally

ARGUMENTS = 4_096  # characters shown
LATEST = 500  # changes of a status, and resources


class Listing(Api):
    """GET api/containers"""

    PARAMETERS = (
        *ALL_FILTERS,
        number("limit", 100, 1, 1_000, "So many containers at most."),
        words("before", "Only containers after this one in the order of the answer: those that are older."),
    )

    async def get(self) -> None:
        filters, limit, before = as_filters(self.query), self.query["limit"], self.query["before"]
        found = partial(listed, tally=self.desk.tally, filters=filters, limit=limit, before=before)
        self.send(await self.gather(found))


def listed(reader: Reader, *, tally: Tally, filters: Filters, limit: int, before: str | None) -> dict[str, Any]:
    """A page of containers, newest first."""
    with reader() as connection:
        rows, more = pages.newest(connection, filters, limit=limit, before=before)
        live = forest.count_live(connection, filters)
    return {
        "containers": [each.as_dict() for each in rows],
        "counts": tally.add_ended(reader, filters, live),
        "more": more,
    }


class One(Api):
    """GET api/containers/<id>"""

    async def get(self, container_id: str) -> None:
        body = await self.gather(partial(dossier, tally=self.desk.tally, container_id=container_id))
        known = self.application.events.state.tasks.get(container_id) is not None
        self.send(body[:-1] + b',"flower_task":' + (b"true" if known else b"false") + b"}")


def dossier(reader: Reader, *, tally: Tally, container_id: str) -> dict[str, Any]:
    """All that is known of a container."""
    with reader() as connection:
        live = forest.live_children(connection, [container_id])
        found = told(connection, container_id, live.get(container_id, {}))
    counted = tally.add_ended_children(reader, [container_id], live)[container_id]
    return {**found, "children": texts.ordered(counted)}


def told(connection: Connection, container_id: str, children: dict[str, int]) -> dict[str, Any]:
    """What its own rows tell, and those above it."""
    container = containers.get(connection, container_id)
    rows = forest.read(connection, forest.c.id == container_id)
    if not rows:  # pruned since the statement before
        raise ContainerNotFound(container_id)
    (row,) = rows
    holdings, more_holdings = dossiers.holdings(connection, container_id, LATEST)
    history, more_history = dossiers.history(connection, container_id, LATEST)
    return {
        **container.as_dict(),
        "why": texts.why(row, children),
        "stale": bool(row.stale),
        "error": texts.error(row),
        "path": [
            {"id": each.id, "type": each.container_type, "status": each.status}
            for each in dossiers.path(connection, container_id)
        ],
        "assignments": [each._asdict() for each in holdings],
        "history": [each._asdict() for each in history],
        "more": {"assignments": more_holdings, "history": more_history},
        "arguments": arguments(dossiers.message(connection, container_id)),
        "logs": dossiers.has_logs(connection, container_id),
    }


def arguments(message: dict[str, Any]) -> dict[str, str]:
    """As Celery shows them: a caller's `argsrepr` and `kwargsrepr` may hide what is secret."""
    options = message.get("options") or {}
    return {
        "args": options.get("argsrepr") or saferepr(message.get("args") or [], ARGUMENTS),
        "kwargs": options.get("kwargsrepr") or saferepr(message.get("kwargs") or {}, ARGUMENTS),
    }

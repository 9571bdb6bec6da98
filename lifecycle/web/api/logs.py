"""What containers logged."""

from dataclasses import asdict
from functools import partial
from typing import Any

from lifecycle.store import containers, logs
from lifecycle.store.engine import Connection
from lifecycle.web.api.handler import Api
from lifecycle.web.parameters import LEVEL, MAX_LINE, flag, number

AFTER = "Only lines after this one. To follow, look back 1,000 from the highest `last`: writers do not commit in order."


class Logs(Api):
    """GET api/containers/<id>/logs"""

    PARAMETERS = (
        number("after", 0, 0, MAX_LINE, AFTER),
        number("tail", None, 0, 1_000, "Only the last so many."),
        LEVEL,
        flag("with_children", "Also of all below it."),
        number("limit", 2_000, 1, 10_000, "So many lines at most."),
    )

    async def get(self, container_id: str) -> None:
        await self.answer(partial(lines, container_id=container_id, query=self.query))


def lines(connection: Connection, *, container_id: str, query: dict[str, Any]) -> dict[str, Any]:
    """Lines, oldest first."""
    containers.get(connection, container_id)
    whose = logs.tree_of(container_id) if query["with_children"] else [container_id]
    wanted = {name: query[name] for name in ("after", "tail", "level", "limit")}
    found = [asdict(line) for line in logs.read(connection, whose, **wanted)]
    last = max((line["id"] for line in found), default=query["after"])
    return {"lines": [{name: value for name, value in line.items() if name != "epoch"} for line in found], "last": last}

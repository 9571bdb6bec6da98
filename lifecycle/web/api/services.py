"""Docker services, as they are remembered."""

from dataclasses import asdict
from typing import Any

from lifecycle.domain.recovery import Remembered
from lifecycle.domain.service import OF_ENGINE
from lifecycle.store import recoveries, services
from lifecycle.store.checks import engines
from lifecycle.store.engine import Connection
from lifecycle.web.api.handler import Api

LATEST = 50  # actions
SAID = (
    "key",
    "name",
    "verdict",
    "reason",
    "paused",
    "attempts",
    "acted_at",
    "next_at",
    "opened_at",
    "well_since",
    "since",
)
COUNTED = ("quiet_until", "recoveries", "failures")


class Services(Api):
    """GET api/services"""

    async def get(self) -> None:
        await self.answer(remembered)


def remembered(connection: Connection) -> dict[str, Any]:
    """All services of all engines, and the latest of what was done to them."""
    found: list[dict[str, Any]] = []
    actions: list[dict[str, Any]] = []
    for engine in services.engines(connection):
        memory, _ = services.recall(connection, engine, within=0.0)
        found += [_service(engine, row) for key, row in sorted(memory.services.items()) if key not in OF_ENGINE]
        actions += [{"engine": engine, **asdict(each)} for each in recoveries.history(connection, engine, limit=LATEST)]
    actions.sort(key=lambda action: action["begun_at"], reverse=True)
    told = [
        {"engine": each.name, "refusals": each.refusals, "given_up": each.given_up, "deaf": each.deaf}
        for each in engines(connection)
    ]
    return {"services": found, "engines": told, "actions": actions[:LATEST]}


def _service(engine: str, row: Remembered) -> dict[str, Any]:
    return {"engine": engine, **{name: getattr(row, name) for name in (*SAID, *COUNTED)}}

"""One row a stop: whose tree, by whom, why, how many, how long it took."""

from datetime import datetime

import sqlalchemy as sa

from lifecycle.store.clock import now
from lifecycle.store.tables import stops


def open_stop(
    connection: sa.Connection, container_id: str, *, by: str, reason: str | None, grace: float | None
) -> tuple[int, datetime]:
    """Record that a stop begins; its id, and the time all its deadlines count from."""
    values = {
        "container_id": container_id,
        "requested_at": now(),
        "requested_by": by,
        "reason": reason,
        "grace": grace,
    }
    row = connection.execute(stops.insert().values(**values).returning(stops.c.id, stops.c.requested_at)).one()
    return row.id, row.requested_at


def count(connection: sa.Connection, stop_id: int, *, marked: int, levels: int) -> None:
    """Note how many containers on how many levels the stop marked."""
    connection.execute(stops.update().where(stops.c.id == stop_id).values(marked=marked, levels=levels))


def finish(connection: sa.Connection, targets: sa.Select[tuple[str]]) -> None:
    """The targets have ended, and with them the stops that named them."""
    s = stops.c
    over = stops.update().where(s.container_id.in_(targets), s.finished_at.is_(None))
    connection.execute(over.values(finished_at=now()))

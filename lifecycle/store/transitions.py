"""The history of a container's statuses: one row a change, written with the change."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from lifecycle.store.clock import now
from lifecycle.store.tables import containers, transitions


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of status: when, from what to what, by whom and why."""

    at: datetime
    from_status: str | None
    to_status: str
    epoch: int
    node: str | None
    by: str | None
    why: str | None


def record(
    connection: sa.Connection,
    which: sa.ColumnElement[bool],
    *,
    by: str | None,
    why: str | None,
    stop_id: int | None = None,
) -> None:
    """Write down the change just made to the rows `which` names: one statement for any number of rows."""
    c = containers.c
    told = (sa.literal(by, sa.String), sa.literal(why, sa.Text), sa.literal(stop_id, sa.Integer))
    changed = sa.select(c.id, now(), c.previous_status, c.status, c.epoch, c.node, *told).where(which)
    columns = ["container_id", "at", "from_status", "to_status", "epoch", "node", "by", "why", "stop_id"]
    connection.execute(transitions.insert().from_select(columns, changed))


def asked_by(stop_id: int) -> sa.Select[tuple[str]]:
    """The containers that a stop asked to end."""
    return sa.select(transitions.c.container_id).where(transitions.c.stop_id == stop_id)


def history(connection: sa.Connection, container_id: str) -> list[Transition]:
    """All changes of one container, oldest first."""
    t = transitions.c
    columns = (t.at, t.from_status, t.to_status, t.epoch, t.node, t.by, t.why)
    rows = connection.execute(sa.select(*columns).where(t.container_id == container_id).order_by(t.id))
    return [Transition(*row) for row in rows]

"""The history of a container's statuses: one row a change, written with the change."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lifecycle.domain.status import Status
from lifecycle.store.clock import now
from lifecycle.store.tables import containers, transitions

NOTE = transitions.insert().values(at=now())


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
    children_first: bool = False,
) -> None:
    """Write down the change just made to the rows `which` names: one statement for any number of rows.

    They are numbered as the change goes through the tree: a mark downwards, an end upwards.
    """
    c = containers.c
    told = (sa.literal(by, sa.String), sa.literal(why, sa.Text), sa.literal(stop_id, sa.Integer))
    changed = sa.select(c.id, now(), c.previous_status, c.status, c.epoch, c.node, *told).where(which)
    changed = changed.order_by(c.depth.desc() if children_first else c.depth, c.id)
    columns = ["container_id", "at", "from_status", "to_status", "epoch", "node", "by", "why", "stop_id"]
    connection.execute(transitions.insert().from_select(columns, changed))


def born(connection: sa.Connection, container_ids: Iterable[str], *, by: str) -> None:
    """Write down that these were recorded: one statement for any number of them."""
    rows = [{"container_id": each, "to_status": Status.PENDING.value, "epoch": 0, "by": by} for each in container_ids]
    connection.execute(NOTE, rows)


def note(connection: sa.Connection, row: Any, *, by: str | None, why: str | None, attempt: str | None = None) -> None:
    """Write down the change just made to one row, as its UPDATE returned it; attempt: what is to come of it."""
    change = {
        "container_id": row.id,
        "from_status": row.previous_status,
        "to_status": row.status,
        "epoch": row.epoch,
        "node": row.node,
        "by": by,
        "why": why,
        "attempt": attempt,
    }
    connection.execute(NOTE, change)


def asked_by(stop_id: int) -> sa.Select[tuple[str]]:
    """The containers that a stop asked to end."""
    return sa.select(transitions.c.container_id).where(transitions.c.stop_id == stop_id)


def history(connection: sa.Connection, container_id: str) -> list[Transition]:
    """All changes of one container, oldest first."""
    t = transitions.c
    columns = (t.at, t.from_status, t.to_status, t.epoch, t.node, t.by, t.why)
    rows = connection.execute(sa.select(*columns).where(t.container_id == container_id).order_by(t.id))
    return [Transition(*row) for row in rows]


def was_cut_off(connection: sa.Connection, container_id: str, epoch: int) -> bool:
    """True if the execution of this epoch was interrupted: what it began late is begun again by the one after it."""
    t = transitions.c
    cut = sa.and_(t.container_id == container_id, t.epoch == epoch, t.to_status == Status.INTERRUPTED.value)
    return connection.execute(sa.select(sa.literal(1)).where(cut)).first() is not None

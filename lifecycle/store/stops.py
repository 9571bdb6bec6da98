"""One row a stop: whose tree, by whom, why, how many, how long it took."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from lifecycle.domain.status import Status
from lifecycle.errors import ContainerNotFound
from lifecycle.store import transitions
from lifecycle.store.clock import UtcDateTime, now
from lifecycle.store.runs import MOVED, Moved, moved
from lifecycle.store.tables import containers, live, nodes, stops

c = containers.c
ABOUT = (c.id, c.parent_container_id, c.player_id, c.root_id)  # no more, where there may be a thousand
ROW = (*ABOUT, c.status, c.stop_error, c.created_at)


def open_stop(
    connection: sa.Connection, container_id: str, *, by: str, reason: str | None, grace: float | None
) -> tuple[int, datetime]:
    """Record that a stop begins; its id, and the time all its deadlines count from.

    Raises ContainerNotFound for one that was pruned meanwhile.
    """
    values = {
        "container_id": container_id,
        "requested_at": now(),
        "requested_by": by,
        "reason": reason,
        "grace": grace,
    }
    opened = stops.insert().values(**values).returning(stops.c.id, stops.c.requested_at)
    try:
        row = connection.execute(opened).one()
    except IntegrityError as error:
        raise ContainerNotFound(container_id) from error
    return row.id, row.requested_at


def count(connection: sa.Connection, stop_id: int, *, marked: int, levels: int) -> None:
    """Note how many containers on how many levels the stop marked."""
    connection.execute(stops.update().where(stops.c.id == stop_id).values(marked=marked, levels=levels))


def get(connection: sa.Connection, stop_id: int) -> Any:
    """One stop (its columns), or None."""
    return connection.execute(sa.select(stops).where(stops.c.id == stop_id)).first()


def unkillable(connection: sa.Connection, stop_id: int, killable: str) -> dict[str, int]:
    """How many containers of a stop run on which pools that are not `killable`: a deadline ends nothing there."""
    here = sa.and_(c.id.in_(transitions.asked_by(stop_id)), c.status == Status.STOPPING.value, nodes.c.pool != killable)
    query = sa.select(nodes.c.pool, sa.func.count()).join(containers, c.node == nodes.c.id).where(here)
    return {row[0]: row[1] for row in connection.execute(query.group_by(nodes.c.pool))}


def finish(connection: sa.Connection, targets: sa.Select[tuple[str]]) -> None:
    """The targets have ended, and with them the stops that named them."""
    s = stops.c
    over = stops.update().where(s.container_id.in_(targets), s.finished_at.is_(None))
    connection.execute(over.values(finished_at=now()))


def rows_of(connection: sa.Connection, stop_id: int) -> list[Any]:
    """Every container that a stop asked to end, as it is now, oldest first; also those a later stop asked too."""
    query = sa.select(*ROW).where(c.id.in_(transitions.asked_by(stop_id))).order_by(c.created_at, c.id)
    return list(connection.execute(query).all())


def ended_by(connection: sa.Connection, stop_id: int) -> list[Moved]:
    """What the mark of a stop ended at once: it ran nowhere."""
    ended = sa.and_(c.stop_id == stop_id, c.status == Status.STOPPED.value)
    return [moved(row) for row in connection.execute(sa.select(*MOVED).where(ended))]


def unfinished(connection: sa.Connection, stop_id: int) -> tuple[int, float]:
    """How many containers of a stop are still stopping and not given up; seconds since their last deadline."""
    asked = c.id.in_(transitions.asked_by(stop_id))
    waiting = sa.and_(asked, c.status == Status.STOPPING.value, c.stop_error.is_(None))
    query = sa.select(sa.func.count(), sa.type_coerce(sa.func.max(c.stop_deadline), UtcDateTime), now())
    count, deadline, at = connection.execute(query.where(waiting)).one()
    return count, (at - deadline).total_seconds() if deadline is not None else 0.0


def ended_below(connection: sa.Connection, stop_id: int, container_id: str, limit: int = 1_000) -> list[Any]:
    """Attached containers of the tree that had ended before the stop; at most `limit`, a level a statement."""
    ended = sa.and_(sa.not_(live()), c.id.not_in(transitions.asked_by(stop_id)))
    _read_by_index(connection)
    found = list(connection.execute(sa.select(*ABOUT).where(c.id == container_id, ended)).all())
    below = sa.and_(ended, c.detached == sa.false())
    query = _below_asked(connection, stop_id, container_id, below, limit - len(found))
    while len(found) < limit and (rows := connection.execute(query).all()):
        found += rows
        above = c.parent_container_id.in_([row.id for row in rows])
        query = sa.select(*ABOUT).where(above, below).limit(limit - len(found))
    return found


def _read_by_index(connection: sa.Connection) -> None:
    """For the rest of the transaction. Else PostgreSQL may read the whole table and sort, for each parent anew.

    It did where most rows are children of one: the stop of 10,000 took minutes.
    """
    if connection.dialect.name == "postgresql":
        off = (sa.func.set_config(f"enable_{way}", "off", True) for way in ("seqscan", "sort"))
        connection.execute(sa.select(*off))


def _below_asked(
    connection: sa.Connection, stop_id: int, container_id: str, which: sa.ColumnElement[bool], limit: int
) -> sa.Select[Any]:
    """Children of what a stop asked, and of its target.

    A planner takes each parent to have as many children as one on average: where a single parent has most of them, it
    reads the whole table. It does not if it is to go in the order of their index, on PostgreSQL parent by parent, and
    may not sort.
    """
    target: sa.Select[Any] = sa.select(sa.literal(container_id))
    asked = sa.union(transitions.asked_by(stop_id), target)
    if connection.dialect.name != "postgresql":
        children = sa.select(*ABOUT).where(c.parent_container_id.in_(asked), which)
        return children.order_by(c.parent_container_id, c.player_id).limit(limit)
    above = asked.subquery("above")
    children = sa.select(*ABOUT).where(c.parent_container_id == above.c.container_id, which)
    children = children.order_by(c.parent_container_id, c.player_id).limit(limit)
    return sa.select(children.lateral("below")).select_from(above).limit(limit)

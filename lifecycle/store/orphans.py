"""Named queries of the sweep: what lost its parent, its node or its end (design, section 7; seed 000's clean-up SQL).

All start from partial indexes over what lives or is held: what has ended long ago costs them nothing.
"""

from typing import Any

import sqlalchemy as sa

from lifecycle.domain.status import TERMINAL, Status
from lifecycle.store.clock import now
from lifecycle.store.tables import assignments, containers, live

a, c = assignments.c, containers.c
parent = containers.alias("parent")
MISSING = "MISSING"
GONE = [*sorted(status.value for status in TERMINAL), MISSING]
ABOUT = (c.id, c.depth, c.parent_container_id, c.root_id, c.player_id, c.status)


def orphans(connection: sa.Connection, limit: int, *, lock: bool = False) -> list[Any]:
    """Attached live containers whose parent has ended or is missing, and that nobody stops yet.

    No root is one, and no child of an INTERRUPTED parent: that goes on. lock: those that are not locked by another,
    who stops them; who waits for no lock is in nobody's way.
    """
    # Looked up row by row: a join would read every ended row, if the planner so decides.
    found = sa.select(parent.c.status).where(parent.c.id == c.parent_container_id).scalar_subquery()
    lost = sa.and_(c.parent_container_id.is_not(None), c.detached == sa.false())
    query = sa.select(*ABOUT, sa.func.coalesce(found, MISSING).label("parent_status"))
    query = query.where(live(), lost, sa.func.coalesce(found, MISSING).in_(GONE), sa.not_(_is_stopped()))
    return _found(connection, query, limit, lock=lock)


def stopped_by_hand(connection: sa.Connection, limit: int, *, lock: bool = False) -> list[Any]:
    """STOPPING rows that no stop of ours has marked: a hand wrote the status, so nothing drives their end."""
    bare = sa.and_(c.status == Status.STOPPING.value, c.stop_deadline.is_(None))
    return _found(connection, sa.select(*ABOUT).where(live(), bare), limit, lock=lock)


def owed(connection: sa.Connection, limit: int) -> list[Any]:
    """Resources (`resource`, `container_id`) whose holder has ended without giving them back."""
    held = sa.select(a.id, a.resource, a.container_id).where(a.released_at.is_(None), _holder_ended())
    return list(connection.execute(held.order_by(a.id).limit(limit)).all())


def release_owed(connection: sa.Connection, limit: int) -> list[Any]:
    """Give back what `owed` names, in its order; asked again as it is done: a hand may have made the holder live."""
    ids = [row.id for row in owed(connection, limit)]
    if not ids:
        return []
    late = assignments.update().where(a.id.in_(ids), a.released_at.is_(None), _holder_ended())
    late = late.values(released_at=now(), released_why="holder had ended")
    given_back = connection.execute(late.returning(a.id, a.resource, a.container_id)).all()
    return sorted(given_back, key=lambda row: row.id)  # RETURNING has no order of its own


def _found(connection: sa.Connection, query: sa.Select[Any], limit: int, *, lock: bool) -> list[Any]:
    query = query.order_by(c.depth, c.id).limit(limit)
    if lock:
        query = query.with_for_update(key_share=True, skip_locked=True, of=containers)
    return list(connection.execute(query).all())


def _is_stopped() -> sa.ColumnElement[bool]:
    """A stop that was marked, which nodes drive to its end."""
    return sa.and_(c.status == Status.STOPPING.value, c.stop_deadline.is_not(None))


def _holder_ended() -> sa.ColumnElement[bool]:
    lives = sa.select(sa.literal(1)).where(c.id == a.container_id, live())
    return ~sa.exists(lives.correlate(assignments))

"""What a stop would end now: how many, and the first of them."""

from typing import Any

import sqlalchemy as sa

from lifecycle.store.marks import strays
from lifecycle.store.tables import containers, live

c = containers.c
COLUMNS = (c.id, c.container_type, c.status, c.depth, c.parent_container_id, c.created_at)


def going(connection: sa.Connection, container_id: str, most: int) -> tuple[list[Any], int]:
    """The live containers that a stop of this one ends: at most so many, the highest, oldest first; and how many."""
    begin = [container_id, *(each for found in strays(connection, container_id).values() for each in found)]
    tree = sa.select(c.id).where(c.id.in_(begin)).cte("tree", recursive=True)
    tree = tree.union(sa.select(c.id).where(c.parent_container_id == tree.c.id, c.detached == sa.false(), live()))
    count = sa.select(sa.func.count()).select_from(containers.join(tree, tree.c.id == c.id)).where(live())
    number = int(connection.execute(count).scalar_one())
    query = sa.select(*COLUMNS).join(tree, tree.c.id == c.id).where(live())
    highest = query.order_by(c.depth, c.created_at, c.id).limit(most)
    found = connection.execute(highest).all()
    return sorted(found, key=lambda row: (row.created_at, row.id)), number

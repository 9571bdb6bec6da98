"""Finding what lost its node or was left unsettled, and ending it."""

import logging

from lifecycle.domain.policy import INTERRUPTED_NODE_LOST, STOPPED_EXPIRED
from lifecycle.store import dispatches, endings, marks, nodes, runs
from lifecycle.store.engine import Database
from lifecycle.store.runs import Moved
from lifecycle.trees.end import lose, settle, settle_one

log = logging.getLogger("lifecycle.sweep")
BATCH = 100  # containers ended one by one in a pass


def sweep_nodes(database: Database) -> list[Moved]:
    """Declare nodes dead whose lease ran out, then take the rows of every dead node."""
    with database.begin() as connection:
        gone = nodes.declare_dead(connection)
    for node in gone:
        log.warning("node lost node=%s", node)
    with database.read() as connection:
        rows = nodes.rows_on_dead_nodes(connection)
    changed: list[Moved] = []
    for container_id, epoch, node in rows:
        changed += lose(database, container_id, epoch, node=node, why=INTERRUPTED_NODE_LOST)
    return changed


def sweep_unsettled(database: Database) -> list[Moved]:
    """Settle what a crash between an ending and its settling left."""
    with database.read() as connection:
        left = endings.unsettled(connection)
    changed: list[Moved] = []
    for container_id in left:
        settled = settle_one(database, container_id)
        if settled is not None:
            changed += [settled, *settle(database, settled)]
    return changed


def sweep_expired(database: Database) -> list[Moved]:
    """End what expired before it ran."""
    with database.read() as connection:
        late = dispatches.expired(connection, BATCH)
    changed: list[Moved] = []
    for container_id in late:
        moved = _expire(database, container_id)
        if moved is not None:
            changed += [moved, *settle(database, moved)]
    return changed


def _expire(database: Database, container_id: str) -> Moved | None:
    """Locked first, asked again then: a claim that was open at the first look has won."""
    why = STOPPED_EXPIRED
    with database.begin() as connection:
        runs.lock(connection, container_id)
        if not dispatches.has_expired(connection, container_id):
            return None
        marks.mark(connection, container_id, by="expires", reason=why, grace=None, message=why)
        return runs.look(connection, container_id)


def leave_node(database: Database, node: str, why: str) -> list[Moved]:
    """A node that goes in order: it is dead from now on, and the rows that still name it are taken from it."""
    with database.begin() as connection:
        nodes.retire(connection, node, why)
        rows = nodes.rows_on_node(connection, node)
    changed: list[Moved] = []
    for container_id, epoch in rows:
        changed += lose(database, container_id, epoch, node=node, why=why)
    return changed

"""Stopping trees that a revoke names: several nodes and its sender hear of the same one (design, section 6)."""

import logging
from collections.abc import Sequence

from lifecycle.domain.policy import STOPPED_BY_USER
from lifecycle.store import marks, stops
from lifecycle.store.engine import Database
from lifecycle.store.runs import Moved
from lifecycle.trees.end import settle

log = logging.getLogger("lifecycle.revoke")
BATCH = 1_000  # trees marked in one transaction


def revoke(database: Database, ids: Sequence[str], *, by: str, reason: str, grace: float | None = None) -> list[Moved]:
    """Mark the trees of those that are live and were not asked before to stop as soon; what that ended at once.

    grace: seconds until the kill, instead of each container's own. Waits for no tree to end.
    Raises StoreUnreachable, StoreBusy.
    """
    changed: list[Moved] = []
    for first in range(0, len(ids), BATCH):
        ended = _mark(database, ids[first : first + BATCH], by=by, reason=reason, grace=grace)
        changed += ended
        for moved in {each.parent: each for each in ended if each.parent is not None}.values():
            changed += settle(database, moved)
    return changed


def _mark(database: Database, ids: Sequence[str], *, by: str, reason: str, grace: float | None) -> list[Moved]:
    with database.begin(impatient=True) as connection:
        found = marks.to_ask(connection, ids, grace=grace)
        if not found:
            return []
        marked = marks.mark_all(connection, found, by=by, message=STOPPED_BY_USER, reason=reason, grace=grace)
        ended = stops.ended_by(connection, marked.stop_id)
    for row in found:
        log.info("revoked, its tree is stopped container=%s why=%s", row.id, reason)
    return ended

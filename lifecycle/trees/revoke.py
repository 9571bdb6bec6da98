"""Stopping trees that a revoke names: several nodes and its sender hear of the same one (design, section 6)."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lifecycle.domain.policy import STOPPED_BY_USER
from lifecycle.store import marks, stops
from lifecycle.store.engine import Database
from lifecycle.store.runs import Moved
from lifecycle.trees.end import settle

log = logging.getLogger("lifecycle.revoke")
BATCH = 1_000  # trees marked in one transaction
Tell = Callable[[Sequence[Moved]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which trees are to stop, who wants it and why; `grace` in seconds, None: each container's own."""

    ids: Sequence[str]
    by: str
    reason: str
    grace: float | None = None


def revoke(database: Database, request: Request, tell: Tell, *, patience: float | None = None) -> None:
    """Mark the trees of those that are live and were not asked before to stop as soon; waits for no tree to end.

    tell: is handed what that ended at once, after each commit. patience: seconds to wait for a lock on PostgreSQL.
    Raises StoreUnreachable, StoreBusy: then the same request once more does what is left.
    """
    for first in range(0, len(request.ids), BATCH):
        ended = _mark(database, request, request.ids[first : first + BATCH], patience)
        tell(ended)
        for moved in {each.parent: each for each in ended if each.parent is not None}.values():
            tell(settle(database, moved))


def _mark(database: Database, request: Request, ids: Sequence[str], patience: float | None) -> list[Moved]:
    by, reason, grace = request.by, request.reason, request.grace
    with database.begin(impatient=True, patience=patience) as connection:
        found = marks.to_ask(connection, ids, grace=grace)
        if not found:
            return []
        marked = marks.mark_all(connection, found, by=by, message=STOPPED_BY_USER, reason=reason, grace=grace)
        ended = stops.ended_by(connection, marked.stop_id)
    for row in found:
        log.info("revoked, its tree is stopped container=%s why=%s", row.id, reason)
    return ended

"""Giving a resource back by hand: from the container that holds it, and from quarantine."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lifecycle.domain.policy import Quarantine
from lifecycle.errors import InvalidArgument, ResourceHeld
from lifecycle.store import assignments, quarantines
from lifecycle.store.assignments import Assignment
from lifecycle.store.engine import Connection, Database
from lifecycle.store.quarantines import Quarantined

log = logging.getLogger("lifecycle.release")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be released, by whom; force: also from a live holder, which is not told."""

    resource: str
    by: str
    player_id: int | None = None
    force: bool = False


def release(database: Database, request: Request, quarantine: Quarantine) -> Assignment | Quarantined:
    """Take a resource from its holder, or else from quarantine, and forget its holders' failures; what it was.

    Raises ResourceHeld for a live holder, unless forced, and InvalidArgument if there is nothing to release, or for
    several players.
    """
    asked: dict[str, Any] = {"player_id": request.player_id, "resource": request.resource}
    with database.begin() as connection:
        held = assignments.held(connection, **asked)
        found = held or quarantines.listed(connection, quarantine, **asked)
        what = _only_one(found, request.resource, "held" if held else "quarantined")
        if isinstance(what, Assignment):
            _take_away(connection, what, request)
        quarantines.forget(connection, what.resource, what.player_id)
    _tell(what, request.by)
    return what


def _only_one(found: Sequence[Assignment | Quarantined], resource: str, state: str) -> Assignment | Quarantined:
    if not found:
        raise InvalidArgument(f"nobody holds {resource}, nor is it quarantined")
    if len(found) > 1:
        players = ", ".join(str(each.player_id) for each in found)
        raise InvalidArgument(f"{resource} is {state} for several players: {players}; give one as player_id")
    return found[0]


def _take_away(connection: Connection, held: Assignment, request: Request) -> None:
    if not assignments.take_away(connection, held, why=f"released by {request.by}", also_live=request.force):
        raise ResourceHeld(held.resource, held.container_id)


def _tell(what: Assignment | Quarantined, by: str) -> None:
    if isinstance(what, Assignment):
        log.warning("resource released resource=%s container=%s by=%s", what.resource, what.container_id, by)
    else:
        log.warning("resource released from quarantine resource=%s failures=%d by=%s", what.resource, what.failures, by)

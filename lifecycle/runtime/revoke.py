"""A revoke of Celery's, whoever sent it: of a container it is a stop of its tree (design, section 6)."""

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from signal import SIGKILL
from typing import Any

from celery.platforms import signals
from kombu.utils.functional import maybe_list

from lifecycle.errors import StoreBusy
from lifecycle.store import containers
from lifecycle.store.engine import Database
from lifecycle.store.runs import Moved
from lifecycle.trees.revoke import revoke

log = logging.getLogger("lifecycle.revoke")
BY = "Celery revoke"
COMMANDS = ("revoke", "terminate", "revoke_by_stamped_headers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """What is revoked: tasks by id, or by their stamped headers; why, and how patiently (`grace` in seconds)."""

    ids: tuple[str, ...] = ()
    stamps: Mapping[str, frozenset[str]] = field(default_factory=dict)
    reason: str
    grace: float | None = None

    def stop(self, database: Database) -> list[Moved]:
        """Mark the trees of the containers it names; what that ended at once. Raises StoreUnreachable, StoreBusy."""
        ids = list(self.ids)
        if self.stamps:
            with database.read() as connection:
                ids += [each for each, message in containers.stamped(connection) if self._has_stamp(message)]
        return revoke(database, ids, by=BY, reason=self.reason, grace=self.grace)

    def _has_stamp(self, message: Mapping[str, Any]) -> bool:
        there = stamps_of(message.get("options", {}))
        return any(values & there.get(name, frozenset()) for name, values in self.stamps.items())


class Revokes:
    """What a node has heard of revokes: its main loop hears them, its supervisor stops the trees."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heard: deque[Revoke] = deque()

    def hear(self, revoke: Revoke) -> None:
        """Note it; waits for nothing."""
        self._heard.append(revoke)

    def work(self) -> list[Moved]:
        """Stop the trees; what ended at once. What the database does not take now is kept for the next look."""
        changed: list[Moved] = []
        try:
            while self._heard:
                changed += self._heard[0].stop(self._database)
                self._heard.popleft()
        except StoreBusy as error:
            log.info("revoked, to be stopped at the next look reason=%s error=%s", self._heard[0].reason, error)
        return changed


def read_revoke(command: str, arguments: Mapping[str, Any], by: str = "") -> Revoke | None:
    """What a control command revokes, in its arguments' own words; None for any other command."""
    if command not in COMMANDS:
        return None
    signal = arguments.get("signal") if command == "terminate" or arguments.get("terminate") else None
    words = [command, f"with {signal}" if signal else "", f"by {by}" if by else ""]
    reason, grace = " ".join(word for word in words if word), 0.0 if _kills(signal) else None
    if command == "revoke_by_stamped_headers":
        return Revoke(stamps=_wanted(arguments.get("headers") or {}), reason=reason, grace=grace)
    ids = tuple(map(str, maybe_list(arguments.get("task_id")) or ()))
    return Revoke(ids=ids, reason=reason, grace=grace)


def _kills(name: Any) -> bool:
    """True for SIGKILL, in each of the ways that Celery takes a signal; it says itself what it cannot read."""
    with suppress(AttributeError, TypeError):
        return bool(name) and signals.signum(name) == SIGKILL
    return False


def stamps_of(options: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The stamps that publish options carry, in any of the forms that Celery takes."""
    found: dict[str, frozenset[str]] = {}
    for place in (options, options.get("headers") or {}):
        stamps = place.get("stamps") or {}
        for name in place.get("stamped_headers") or ():
            found[name] = found.get(name, frozenset()) | _texts(stamps.get(name, place.get(name)))
    return found


def _wanted(headers: Mapping[str, Any] | Iterable[str]) -> dict[str, frozenset[str]]:
    """Celery's command line gives `name=value`."""
    if not isinstance(headers, Mapping):
        headers = dict(each.split("=", 1) for each in headers if "=" in each)
    return {name: _texts(values) for name, values in headers.items()}


def _texts(value: Any) -> frozenset[str]:
    many = value if isinstance(value, list | tuple | set | frozenset) else maybe_list(value)
    return frozenset(map(str, many or ()))

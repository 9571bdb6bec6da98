"""A revoke of Celery's, whoever sent it: of a container it is a stop of its tree (design, section 6)."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from signal import SIGKILL
from typing import Any

from celery.platforms import signals
from kombu.utils.functional import maybe_list

from lifecycle.store import containers
from lifecycle.store.engine import Database
from lifecycle.trees.revoke import Request, Tell, revoke

BY = "Celery revoke"
COMMANDS = ("revoke", "terminate", "revoke_by_stamped_headers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """What is revoked: tasks by id, or by their stamped headers; why, and how patiently (`grace` in seconds)."""

    ids: tuple[str, ...] = ()
    stamps: Mapping[str, frozenset[str]] = field(default_factory=dict)
    reason: str
    grace: float | None = None

    def stop(self, database: Database, ids: Sequence[str], tell: Tell, *, patience: float | None = None) -> None:
        """Stop the trees of these containers, which are what it `names`, as `trees.revoke`."""
        revoke(database, Request(ids=ids, by=BY, reason=self.reason, grace=self.grace), tell, patience=patience)

    def names(self, database: Database) -> list[str]:
        """Ids of the containers it names; raises StoreUnreachable."""
        with database.read() as connection:
            ids = containers.known(connection, self.ids)
            if self.stamps:
                ids += [each for each, message in containers.stamped(connection) if self._has_stamp(message)]
        return ids

    def _has_stamp(self, message: Mapping[str, Any]) -> bool:
        there = stamps_of(message.get("options", {}))
        return any(values & there.get(name, frozenset()) for name, values in self.stamps.items())


def read_revoke(command: str, arguments: Mapping[str, Any], by: str = "") -> Revoke | None:
    """What a control command revokes, in its arguments' own words; None for any other command."""
    if command not in COMMANDS:
        return None
    signal = arguments.get("signal") if command == "terminate" or arguments.get("terminate") else None
    words = [command, f"with {signal}" if signal else "", f"by {by}" if by else ""]
    reason, grace = " ".join(word for word in words if word), 0.0 if _kills(signal) else None
    if command == "revoke_by_stamped_headers":
        return Revoke(stamps=_wanted(arguments.get("headers") or {}), reason=reason, grace=grace)
    ids = tuple(each for each in map(str, maybe_list(arguments.get("task_id")) or ()) if each.isprintable())
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

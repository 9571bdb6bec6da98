"""Whose fault a failure is: by what the engine says of the containers afterwards, and only then by its words.

Engines differ in their words, and `restart` of some answers 500 whatever the cause; what is there and what is not
they all tell alike.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lifecycle.domain.service import Share
from lifecycle.errors import (
    DaemonTrouble,
    DependencyDown,
    DependencyMissing,
    EngineRefused,
    ServiceGone,
    ServiceMisconfigured,
    ServiceRemoving,
    ServiceTrouble,
)
from lifecycle.services.inspected import shares

FORBIDDEN, NOT_FOUND, BAD_REQUEST = 403, 404, 400
LEAVING = ("removing", "dead")
NOT_OURS = ("address already in use",)
"""A 403 of the engine itself: somebody holds the fixed address."""
SURELY_OF_THE_DAEMON = ("containerd.sock", "no space left", "deadline exceeded", "shutting down")
"""Also in words that look like a container's fault: a runtime that finds the disk full."""
OF_THE_DAEMON = (
    *SURELY_OF_THE_DAEMON,
    "containerd",
    "ttrpc",
    "connection refused",
    "context canceled",
)
OF_THE_CONTAINER = (
    "port is already allocated",
    "address already in use",
    "bind source path does not exist",
    "no such file or directory",
    "executable file not found",
    "oci runtime",
    "no such image",
    "already in use by container",
    "invalid mount config",
    "conflicting options",
    "non-shareable ipc",
)

Look = Callable[[str], Mapping[str, Any] | None]
"""What the engine says of a container; None if it has none of this id or name."""


def refusal(status: int, text: str) -> EngineRefused | None:
    """What a proxy says that lets us look but not act; an engine says 403 only of addresses."""
    is_ours = status == FORBIDDEN and not any(words in text.lower() for words in NOT_OURS)
    return EngineRefused(text or "the engine refused") if is_ours else None


def trouble(service_id: str, status: int, text: str, look: Look, *, to_start: bool) -> ServiceTrouble:
    """Why the engine did not do as told with this container, from its answer and a new look at what there is.

    Only who was `to_start` can lack a parent.
    """
    if refused := refusal(status, text):
        return refused
    seen = look(service_id)
    if seen is None:
        return ServiceGone(text)
    state = seen.get("State") or {}
    if state.get("Dead") or state.get("Status") in LEAVING:
        return ServiceRemoving(text)
    lacking = missing(seen.get("HostConfig") or {}, look) if to_start else None
    return lacking or _by_words(status, text, state)


def trouble_of_create(status: int, text: str, host: Mapping[str, Any], look: Look) -> ServiceTrouble:
    """The same of a container that could not be made, from the HostConfig that it was to have."""
    return refusal(status, text) or missing(host, look) or _by_words(status, text, {})


def missing(host: Mapping[str, Any], look: Look) -> ServiceTrouble | None:
    """The first container whose namespace this one has, and that has none to give."""
    for share, reference in shares(host).items():
        parent = look(reference)
        if parent is None:
            return DependencyMissing(f"No such container: {reference}", reference)
        if not _gives(share, parent.get("State") or {}):
            name = parent["Name"].removeprefix("/")
            return DependencyDown(f"{name} does not run, and {share} is of it", reference)
    return None


def _gives(share: Share, state: Mapping[str, Any]) -> bool:
    """A container that is paused runs, too; one between two starts has no namespace."""
    return bool(state.get("Running")) and not state.get("Restarting")


def _by_words(status: int, text: str, state: Mapping[str, Any]) -> ServiceTrouble:
    said, of_its_start = text.lower(), "" if state.get("Running") else str(state.get("Error") or "").lower()
    if "marked for removal" in said or ("cannot be started" in said and "removal" in said):
        return ServiceRemoving(text)
    if _has(said, SURELY_OF_THE_DAEMON):
        return DaemonTrouble(text)
    if _has(said, OF_THE_CONTAINER):
        return ServiceMisconfigured(text)
    if status == NOT_FOUND and "network" in said:
        return ServiceMisconfigured(text)
    if of_its_start and of_its_start in said and not _has(said, OF_THE_DAEMON):
        return ServiceMisconfigured(text)
    return ServiceMisconfigured(text) if status == BAD_REQUEST else DaemonTrouble(text)


def _has(text: str, parts: tuple[str, ...]) -> bool:
    return any(part in text for part in parts)

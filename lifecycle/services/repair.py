"""Does one thing to one container, and sees that it was done."""

import logging

from lifecycle.domain.service import Action, Kind, Service, Snapshot
from lifecycle.errors import DaemonTrouble, NotVerified, ServiceMisconfigured
from lifecycle.services import inspected, replacement
from lifecycle.services.engine import Engine, Json
from lifecycle.services.stops import heed
from lifecycle.services.trouble import missing
from lifecycle.services.watched import found, watch

HEEDED = (NotVerified, ServiceMisconfigured, DaemonTrouble)
"""Failures that an operator's stop may have been the cause of, or may have come into."""
log = logging.getLogger("lifecycle.docker")


def perform(engine: Engine, action: Action, snapshot: Snapshot) -> str:
    """Returns the id of the container that has the place now: after RECREATE and TIDY it may be another one.

    What somebody else did to the container since the snapshot is left as it is. Raises the errors of `ServiceTrouble`.
    """
    if action.kind is Kind.TIDY:
        return replacement.tidy(engine, action.id)
    seen = found(engine, action.id)
    if _has_moved(seen, snapshot.services.get(action.id)):
        return action.id
    try:
        made_id = _do(engine, action, seen)
    except HEEDED as trouble:
        heed(engine, action, snapshot, trouble)
        raise
    heed(engine, action, snapshot, made_id)
    return made_id


def _has_moved(seen: Json, listed: Service | None) -> bool:
    if listed is None or listed.started_at is None:
        return False
    now = inspected.service(seen)
    has_moved = (now.state, now.started_at, now.name) != (listed.state, listed.started_at, listed.name)
    if has_moved:
        log.debug("%s %s was %s by somebody else meanwhile", now.name, now.short_id, now.state)
    return has_moved


def _do(engine: Engine, action: Action, seen: Json) -> str:
    if action.kind is Kind.RECREATE:
        return replacement.recreate(engine, seen, action.shares)
    if lacking := missing(seen["HostConfig"], engine.look):
        raise lacking  # it would only lose what it has: a restart that fails leaves it stopped, or deletes it
    service = inspected.service(seen)
    _restart(engine, service) if action.kind is Kind.RESTART else engine.start(service.id)
    watch(engine, service.id)
    return service.id


def _restart(engine: Engine, service: Service) -> None:
    """An engine that was given up on may have done it all the same."""
    try:
        engine.restart(service)
    except DaemonTrouble:
        now = inspected.service(found(engine, service.id))
        if not now.is_running or now.started_at == service.started_at:
            raise

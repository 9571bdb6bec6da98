"""Does one thing to one container, and sees that it was done."""

import logging

from lifecycle.domain.service import Action, Kind, Service, Snapshot
from lifecycle.errors import DaemonTrouble
from lifecycle.services import inspected, replacement
from lifecycle.services.engine import Engine
from lifecycle.services.trouble import missing
from lifecycle.services.watched import found, watch

log = logging.getLogger("lifecycle.docker")


def perform(engine: Engine, action: Action, snapshot: Snapshot) -> str:
    """Returns the id of the container that has the place now: after RECREATE and TIDY it may be another one.

    What somebody else did to the container since the snapshot is left as it is. Raises the errors of `ServiceTrouble`.
    """
    if action.kind is Kind.TIDY:
        return replacement.tidy(engine, action.id)
    seen = found(engine, action.id)
    service = inspected.service(seen)
    if _has_moved(service, snapshot.services.get(action.id)):
        log.debug("%s %s was %s by somebody else meanwhile", service.name, service.short_id, service.state)
        return action.id
    if action.kind is Kind.RECREATE:
        return replacement.recreate(engine, seen, action.shares)
    if lacking := missing(seen["HostConfig"], engine.look):
        raise lacking  # it would only lose what it has: a restart that fails leaves it stopped, or deletes it
    _restart(engine, service) if action.kind is Kind.RESTART else engine.start(service.id)
    watch(engine, service.id)
    return service.id


def _has_moved(now: Service, listed: Service | None) -> bool:
    if listed is None or listed.started_at is None:
        return False
    return (now.state, now.started_at, now.name) != (listed.state, listed.started_at, listed.name)


def _restart(engine: Engine, service: Service) -> None:
    """An engine that was given up on may have done it all the same."""
    try:
        engine.restart(service)
    except DaemonTrouble:
        now = inspected.service(found(engine, service.id))
        if not now.is_running or now.started_at == service.started_at:
            raise

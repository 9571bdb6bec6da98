"""Whether a container that was just started is up: it runs, goes on running, and has what it shares."""

import time
from typing import Any

from lifecycle.domain.service import Service
from lifecycle.errors import DependencyMissing, NotVerified, ServiceGone
from lifecycle.services import inspected
from lifecycle.services.engine import Engine
from lifecycle.services.trouble import missing


def found(engine: Engine, service_id: str) -> dict[str, Any]:
    """What the engine says of it. Raises ServiceGone."""
    seen = engine.look(service_id)
    if seen is None:
        raise ServiceGone(f"No such container: {service_id}")
    return seen


def watch(engine: Engine, service_id: str) -> None:
    """Return when it has run for a moment, in one piece. Raises NotVerified, or what its parents lack."""
    first = inspected.service(found(engine, service_id))
    if first.is_running:
        time.sleep(engine.watch)
    seen = found(engine, service_id)
    if lacking := missing(seen["HostConfig"], engine.look):
        raise lacking
    now = inspected.service(seen)
    if not now.is_running or now.started_at != first.started_at:
        raise NotVerified(f"{now.name} does not stay up: {now.state}, exit code {now.exit_code} {now.error}".rstrip())
    if is_stale(engine, now):
        raise NotVerified(f"{now.name} was left behind: what it shares was started again")


def is_stale(engine: Engine, service: Service) -> bool:
    """True if a container whose namespace it has was started after it. Raises DependencyMissing."""
    parents = [inspected.service(_parent(engine, reference)) for reference in service.shares.values()]
    return any(
        parent.started_at is not None and service.started_at is not None and parent.started_at > service.started_at
        for parent in parents
    )


def _parent(engine: Engine, reference: str) -> dict[str, Any]:
    """That it has just gone is not the fault of who shares with it."""
    seen = engine.look(reference)
    if seen is None:
        raise DependencyMissing(f"No such container: {reference}", reference)
    return seen

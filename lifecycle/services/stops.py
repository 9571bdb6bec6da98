"""An operator's stop that came while we were at a container: it holds, whatever we did to the container after it."""

import logging
from collections.abc import Iterable

from lifecycle.domain.service import SET_ASIDE, Action, Event, Kind, Snapshot
from lifecycle.errors import DaemonTrouble, NotVerified, ServiceStopped, ServiceTrouble
from lifecycle.services import inspected
from lifecycle.services.engine import Engine

log = logging.getLogger("lifecycle.docker")


def heed(engine: Engine, action: Action, snapshot: Snapshot, outcome: str | ServiceTrouble) -> None:
    """H4: ask the engine whether somebody else has stopped the service since the snapshot; if so, it is stopped again.

    `outcome` is the id of the container that has the place now, or why the action failed. Raises ServiceStopped.
    """
    name = action.name.removesuffix(SET_ASIDE)
    try:
        heard = [each for each in engine.past(snapshot.taken_at) if each.name.removesuffix(SET_ASIDE) == name]
        seen = engine.look(name) if lone_stops(heard) > _ours(action, snapshot, outcome) else None
    except DaemonTrouble as trouble:
        log.warning("not known whether it was stopped meanwhile name=%s error=%s", name, trouble)
        return
    if seen is None or seen["Id"] != (outcome if isinstance(outcome, str) else action.id):
        return  # an updater is at work
    engine.stop(inspected.service(seen))
    raise ServiceStopped(f"{name} was stopped by an operator meanwhile", seen["Id"])


def lone_stops(events: Iterable[Event]) -> int:
    """How many stops were no part of a restart: two at once are one end of the container, and each tells of itself."""
    actions = [each.action for each in events]
    return actions.count("stop") - actions.count("restart")


def _ours(action: Action, snapshot: Snapshot, outcome: str | ServiceTrouble) -> int:
    """A re-creation stops the old one; so may have a restart, if it failed before it told of itself."""
    if action.kind is Kind.RECREATE:
        return int(snapshot.services[action.id].is_running)
    return int(action.kind is Kind.RESTART and not isinstance(outcome, str | NotVerified))

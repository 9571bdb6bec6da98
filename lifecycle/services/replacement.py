"""A container is made again from its own configuration; its old self stands aside until the new one runs."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

from lifecycle.domain.service import SET_ASIDE, Service, Share
from lifecycle.errors import NotVerified, ServiceGone, ServiceMisconfigured, ServiceTrouble
from lifecycle.services import inspected, recipe
from lifecycle.services.engine import Engine, Json
from lifecycle.services.trouble import missing
from lifecycle.services.watched import found, watch

SHORT = timedelta(seconds=10)
"""A life that ended by itself sooner was no success."""
TOLD_TO_STOP = (0, 137, 143)
log = logging.getLogger("lifecycle.docker")


def recreate(engine: Engine, old: Json, parents: Mapping[Share, str]) -> str:
    """Returns the id of the new one. If that does not come up, the old one has its name back and runs if it can."""
    service = inspected.service(old)
    body = recipe.body(old, parents, _image(engine, old), lambda name: engine.look(name) is not None)
    if lacking := missing(body["HostConfig"], engine.look):
        raise lacking
    engine.rename(service.id, service.name + SET_ASIDE)
    try:
        new_id = _replace(engine, service, body, recipe.networks(old))
    except ServiceTrouble:
        _try(f"{service.name} is not back yet", lambda: _bring_back(engine, service))
        raise
    _try(f"the old {service.name} stays for now", lambda: engine.remove(service.id))
    return new_id


def tidy(engine: Engine, aside_id: str) -> str:
    """End a re-creation that was cut off: a successor that came up stays, else the old one comes back.

    Raises ServiceMisconfigured if the name is now that of a container that was not made here.
    """
    old = inspected.service(found(engine, aside_id))
    if not old.is_set_aside:
        return old.id
    seen = engine.look(old.name.removesuffix(SET_ASIDE))
    successor = inspected.service(seen) if seen else None
    if successor and successor.labels.get(recipe.RECREATED) != old.id:
        raise ServiceMisconfigured(f"{successor.name} is another container now: {old.name} is left as it is")
    if successor and _came_up(successor):
        engine.remove(old.id)
        return successor.id
    if successor:
        engine.remove(successor.id)
    _bring_back(engine, old)
    return old.id


def _replace(engine: Engine, old: Service, body: Json, networks: Mapping[str, Json]) -> str:
    """What was made in vain goes again. A create of which nobody knows whether it was done is left to `tidy`."""
    new_id = engine.create(old.name, body)
    try:
        for network, endpoint in list(networks.items())[1:]:
            engine.connect(new_id, network, endpoint)
        engine.stop(old)
        _bring_up(engine, new_id)
    except ServiceTrouble:
        _try(f"the new {old.name} is of no use and stays for now", lambda: engine.remove(new_id))
        raise
    return new_id


def _bring_up(engine: Engine, new_id: str) -> None:
    try:
        engine.start(new_id)
        watch(engine, new_id)
    except ServiceGone as gone:  # not the one that was to be repaired
        raise NotVerified(f"the new container is gone again: {gone}") from gone


def _bring_back(engine: Engine, old: Service) -> None:
    """Started before it has its name again: while it has not, somebody sees that there is work left."""
    now = inspected.service(found(engine, old.id))
    if not now.is_running and (old.is_running or old.is_set_aside):
        _try(f"the old {old.name} cannot run again", lambda: engine.start(old.id))
    engine.rename(old.id, old.name.removesuffix(SET_ASIDE))


def _came_up(successor: Service) -> bool:
    """True if it runs, or ran and was then stopped by somebody."""
    if successor.is_running or successor.started_at is None or successor.finished_at is None:
        return successor.is_running
    return successor.exit_code in TOLD_TO_STOP or successor.finished_at - successor.started_at >= SHORT


def _image(engine: Engine, old: Json) -> str:
    """The image that it was made from, by the name that it was given while that means the same one."""
    given, known = str(old["Config"]["Image"]), str(old["Image"])
    return given if engine.image(given) == known else known


def _try(otherwise: str, call: Callable[[], None]) -> None:
    try:
        call()
    except ServiceTrouble as error:
        log.warning("%s: %s", otherwise, error)

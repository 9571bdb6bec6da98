"""Prices: a coordinator that splits a system's markets over its probes, and a scout on each that flies them in turn."""

import logging
from typing import Any

from lifecycle import ContainerTask, ResourceHeld, ResourceQuarantined, checkpoint, later
from workers import app
from workers.fleet.hulls import PROBE
from workers.fleet.inquiry import ANYBODY
from workers.fleet.office import COORDINATOR, Office, open_office, patiently
from workers.fleet.pace import EVERY
from workers.fleet.tours import TourBook, fits, rotated, split
from workers.fleet.vessel import Vessel

log = logging.getLogger(__name__)


@app.task(
    base=ContainerTask,
    container_type="SCOUT_FLEET_COORDINATOR",
    holds=["scouts:{system}"],
    interval=EVERY,
    **COORDINATOR,
)
def look(system: str) -> Any:
    """Keep a scout on each probe of the system, and each market on the tour of one."""
    return patiently(lambda: _look(open_office(), system))


@app.task(base=ContainerTask, container_type="SCOUT", holds=["ship:{ship}"], interval=EVERY, **COORDINATOR)
def scout(ship: str) -> Any:
    """One tour: to each of its markets, and its prices into the books."""
    return patiently(lambda: _scout(open_office(), ship))


def _look(office: Office, system: str) -> int:
    hulls = {hull.symbol: hull for hull in office.hulls.all(EVERY / 2) if hull.role == PROBE and hull.system == system}
    manned = {child.tags.get("ship", "") for child in office.here.children(live=True)} & set(hulls)
    manned |= {symbol for symbol in sorted(set(hulls) - manned) if _man(symbol)}
    book, markets = TourBook(office.lifecycle.database, office.account), office.charts.markets(system)
    if manned and not fits(book.all(system), sorted(manned), markets):
        places = {symbol: hulls[symbol].waypoint for symbol in manned}
        book.replace(system, split(markets, places, office.charts.places(system)))
        log.info("%d markets for %d scouts", len(markets), len(manned))
    return len(manned)


def _man(symbol: str) -> bool:
    """A scout on this probe; False if others have it, or it is refused for a time."""
    try:
        scout.spawn([symbol], tags={"ship": symbol})
    except (ResourceHeld, ResourceQuarantined) as refusal:
        log.info("%s", refusal)
        return False
    return True


def _scout(office: Office, symbol: str) -> Any:
    vessel = Vessel.read(office, office.deeds(ANYBODY), symbol)
    if (wait := vessel.not_ready()) is not None:
        return wait
    tour = TourBook(office.lifecycle.database, office.account).of(symbol)
    left = [market for market in office.here.state.get("left", ()) if market in tour]
    return _fly(vessel, left or rotated(tour, vessel.waypoint, vessel.places)) if tour else later(EVERY)


def _fly(vessel: Vessel, left: list[str]) -> Any:
    """From market to market, a `later` each; the way that is left is kept, for whoever goes on."""
    while left:
        if flight := vessel.head(left[0], left=left):
            return flight
        vessel.scan()
        left = left[1:]
    checkpoint(left=[])
    return None

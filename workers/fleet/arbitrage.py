"""Buy where a good is cheap, sell where it is dear: a coordinator that looks, and a worker for each trip."""

import logging
from typing import Any

from lifecycle import ContainerTask, ResourceHeld, ResourceQuarantined, StoreUnreachable, current_container
from workers import app
from workers.fleet.errors import Unreachable
from workers.fleet.free import free
from workers.fleet.hulls import Hull, carriers
from workers.fleet.inquiry import ANYBODY
from workers.fleet.migrate import check
from workers.fleet.office import COORDINATOR, WORKER, Office, open_office, patiently
from workers.fleet.opportunities import Opportunity, assign, lane, rank, sendable
from workers.fleet.pace import EVERY, FRESH
from workers.fleet.tables import NOBODY
from workers.fleet.tidy import tidy
from workers.fleet.trip import REST, NothingGained, NotOurs, Trip
from workers.fleet.triplog import TripLog
from workers.fleet.vessel import NoSuchPlace, Vessel

log = logging.getLogger(__name__)


@app.task(
    base=ContainerTask,
    container_type="ARBITRAGE_COORDINATOR",
    holds=["arbitrage:{system}"],
    interval=EVERY,
    **COORDINATOR,
)
def look(
    system: str,
    min_margin: float = 10.0,
    max_workers: int = 10,
    min_balance: int | None = None,
    ship: str | list[str] | None = None,
) -> Any:
    """Send free ships on what is worth it. min_margin: percent. ship: only these. min_balance: from now on."""
    wishes = {"min_margin": min_margin, "max_workers": max_workers, "min_balance": min_balance, "only": _listed(ship)}
    return patiently(lambda: _look(open_office(), system, **wishes))


@app.task(
    base=ContainerTask,
    container_type="ARBITRAGE_WORKER",
    holds=["ship:{ship}"],
    forgive_on=[NothingGained, NotOurs, NoSuchPlace],
    **WORKER,
)
def carry(
    ship: str,
    *,
    good: str,
    buy_at: str,
    sell_at: str,
    min_margin: float = 10.0,
    seen: dict[str, Any] | None = None,
) -> Any:
    """One trip with one good; seen: the rest of the opportunity, as its coordinator saw it."""
    expected = {"buy_price": 0, "sell_price": 0, "units": 0, "distance": 0.0, "supply": None, "activity": None}
    opportunity = Opportunity(**{**expected, **(seen or {}), "good": good, "buy_at": buy_at, "sell_at": sell_at})
    return patiently(lambda: _carry(ship, opportunity, min_margin))


def _look(
    office: Office, system: str, *, min_margin: float, max_workers: int, min_balance: int | None, only: list[str]
) -> int:
    office.keep_at_least(min_balance)
    tidy(office)
    workers = office.here.children(live=True)
    places = office.charts.places(system)
    found = rank(office.prices.fresh(system, FRESH), places, min_margin)
    ships = free(office, carriers(office.hulls.all(EVERY / 2), only))
    payable, ships = sendable(found, ships, most=office.ledger.affordable(REST, 1), laden=set(office.ledger.cargo()))
    chosen = assign(payable, ships, places, {each.tags.get("lane", "") for each in workers})
    sent = sum(_send(hull, each, min_margin) for each, hull in chosen[: max(0, max_workers - len(workers))])
    log.info("%d opportunities, %d workers, %d more sent", len(found), len(workers), sent)
    return sent


def _send(hull: Hull, each: Opportunity, min_margin: float) -> bool:
    """False if the ship was taken meanwhile, or is refused for a time."""
    seen = {name: value for name, value in each.as_dict().items() if name not in {"good", "buy_at", "sell_at"}}
    what = {"good": each.good, "buy_at": each.buy_at, "sell_at": each.sell_at, "min_margin": min_margin, "seen": seen}
    tags = {"lane": lane(each.good, each.buy_at, each.sell_at)}
    try:
        carry.spawn((), {"ship": hull.symbol, **what}, tags=tags)
    except (ResourceHeld, ResourceQuarantined) as refusal:
        log.info("%s", refusal)
        return False
    return True


def _carry(symbol: str, opportunity: Opportunity, min_margin: float) -> Any:
    """A run that fails says so in its row as well, also one that never saw the books or its ship."""
    database, here, office = app.lifecycle.database, current_container(), None
    check(database)
    runs = TripLog(database, NOBODY if here.player_id is None else here.player_id)
    runs.begin(here.id, opportunity, symbol)
    try:
        office = open_office()
        vessel = Vessel.read(office, office.deeds(ANYBODY), symbol)
        return vessel.not_ready() or Trip(office, vessel, opportunity, min_margin).go_on()
    except (Unreachable, StoreUnreachable):
        raise
    except Exception as error:
        own = [] if office is None else office.ledger.of_lot(here.id)
        runs.close(here.id, own, f"{type(error).__name__}: {error}")
        raise


def _listed(ship: str | list[str] | None) -> list[str]:
    """From the command line one is a text, several are a list."""
    return [] if ship is None else [ship] if isinstance(ship, str) else list(ship)

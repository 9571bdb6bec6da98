"""What pipelines do at one place, on a real universe and real rows: a step of a trip, of an errand, of a coordinator."""

from itertools import count

import pytest

pytest.importorskip("httpx_retries", reason="the fleet needs the extra `fleet`")

from tests.integration.test_cli_verbs import make_app, url_of
from tests.universes import UniverseServer
from workers.fleet.account import found_or_made
from workers.fleet.inquiry import ANYBODY
from workers.fleet.migrate import migrate
from workers.fleet.office import Office
from workers.fleet.opportunities import Opportunity
from workers.fleet.prices import seen_in
from workers.fleet.trip import Trip
from workers.fleet.vessel import Vessel

NUMBERS = count(1)
PLAYER = 12
CREDITS = 175_000


@pytest.fixture(scope="module")
def universe(valkey):
    with UniverseServer(valkey.url, ships=2, probes=1, recovery=1e9, compression=10_000) as server:
        yield server


@pytest.fixture
def api(universe):
    api = universe.client(universe.register(f"STEPPER-{next(NUMBERS)}"))
    yield api
    api.close()


@pytest.fixture
def office(api, sqlite_grove):
    """That of one container which runs."""
    lifecycle = make_app(url_of(sqlite_grove.database)).lifecycle
    migrate(lifecycle.database)
    sqlite_grove.run("c-1", player_id=PLAYER)
    account = found_or_made(lifecycle.database, api.agent(), api.status()["resetDate"], PLAYER)
    yield Office(api, lifecycle, account, lifecycle.get("c-1"))
    lifecycle.database.dispose()


@pytest.fixture
def vessel(office, api):
    return Vessel.read(office, office.deeds(ANYBODY), api.ships()[1]["symbol"])


def trip(office, vessel, **known):
    """One that buys where the ship is what is dear there, and sells it where that is paid for."""
    here = max((price for price in vessel.scan() if price.buy * price.volume < CREDITS / 6), key=lambda each: each.buy)
    goals = [place for place in office.charts.markets(here.waypoint.rsplit("-", 1)[0]) if place != here.waypoint]
    numbers = {"buy_price": here.buy, "sell_price": 0, "units": 5, "distance": 1.0, "supply": None, "activity": None}
    told = {"good": here.good, "buy_at": here.waypoint, "sell_at": goals[0], **numbers, **known}
    return Trip(office, vessel, Opportunity(**told), -1_000.0)


def shown(api, waypoint):
    return {price.good: (price.buy, price.sell) for price in seen_in(api.market(waypoint))}


def known(office, waypoint):
    return {
        price.good: (price.buy, price.sell)
        for price in office.prices.fresh(waypoint.rsplit("-", 1)[0], 60)
        if price.waypoint == waypoint
    }


# Trips


def test_the_books_know_a_market_as_our_own_orders_have_left_it(office, vessel, api):
    here, before = vessel.waypoint, shown(api, vessel.waypoint)
    trip(office, vessel).go_on()
    assert known(office, here) == shown(api, here) != before


def test_the_books_know_a_market_as_our_own_sales_have_left_it(office, vessel, api):
    told = trip(office, vessel)
    vessel.dock()
    vessel.ship = vessel.deeds.buy(vessel.ship, told.expected.good, 20, told.expected.buy_price, newest=0)
    bought = shown(api, vessel.waypoint)
    told._sell_here(told.expected.good)
    assert not vessel.units(told.expected.good)
    assert known(office, vessel.waypoint) == shown(api, vessel.waypoint) != bought

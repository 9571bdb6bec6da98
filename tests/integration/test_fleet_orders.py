"""Orders of the fleet on real sockets: what the books make of late, lost and simultaneous ones."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from types import SimpleNamespace

import pytest

pytest.importorskip("httpx_retries", reason="the fleet needs the extra `fleet`")

from lifecycle.store.engine import Database
from tests.docker.waiting import eventually
from tests.universes import UniverseServer
from workers.fleet.account import found_or_made
from workers.fleet.client import Client
from workers.fleet.deeds import Deeds
from workers.fleet.errors import NotSent, Unreachable
from workers.fleet.inquiry import ANSWER, ANYBODY, GRACE, Inquiry
from workers.fleet.ledger import BUY, CORRECTION, Busy, Cargo, Counting, Entry, Ledger, set_aside
from workers.fleet.migrate import migrate
from workers.fleet.prices import of_good, seen_in
from workers.fleet.tables import agents, entries, now
from workers.fleet.tidy import correct_credits

NUMBERS = count(1)
CREDITS = 200_000


@pytest.fixture(scope="module")
def universe(valkey):
    with UniverseServer(valkey.url, ships=10, credits=CREDITS, recovery=1e9) as server:
        yield server


@pytest.fixture
def token(universe):
    return universe.register(f"TRADER-{next(NUMBERS)}")


@pytest.fixture
def api(universe, token):
    api = universe.client(token)
    yield api
    api.close()


@pytest.fixture
def books(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/books.db")
    migrate(database)
    yield database
    database.dispose()


@pytest.fixture
def ledger(api, books):
    return Ledger(books, found_or_made(books, api.agent(), api.status()["resetDate"], 12))


@pytest.fixture
def hasty(universe, token):
    """Does not wait for an answer."""
    api = universe.client(token, read_timeout=0.2)
    yield api
    api.close()


@pytest.fixture
def ship(api):
    return api.ships()[1]


@pytest.fixture
def offer(api, ship):
    """What costs most of what is sold where the ship is, and many can buy."""
    found = seen_in(api.market(ship["nav"]["waypointSymbol"]))
    return max((each for each in found if each.buy * each.volume < CREDITS / 20), key=lambda each: each.buy)


def buy(deeds, ship, price, units):
    newest = deeds.ledger.newest(price.waypoint, price.good)
    return deeds.buy(ship, price.good, units, price.buy, newest=newest)


def deeds(api, ledger, name):
    return Deeds(api, ledger, name, ANYBODY, name, lambda ship: None)


def ordered(universe, ship, order="purchase"):
    return universe.calls("POST", f"{ship['symbol']}/{order}")


def test_an_order_that_is_executed_late_is_not_given_up(universe, hasty, ledger, ship, offer):
    """It had waited for its turn, and the one who gave it is gone: its age says nothing of when it was sent."""
    universe.fault("POST", f"/my/ships/{ship['symbol']}/purchase", late=1.0)
    with pytest.raises(Unreachable):
        buy(deeds(hasty, ledger, "c-1"), ship, offer, 5)
    with ledger._database.begin() as connection:
        connection.execute(entries.update().values(created_at=now() - timedelta(minutes=1)))
    inquiry = Inquiry(hasty, ledger)
    assert 0 < inquiry.unclear(hasty.ship(ship["symbol"])) <= ANSWER + GRACE
    eventually(lambda: not inquiry.unclear(hasty.ship(ship["symbol"])))
    assert [(each.kind, each.units) for each in ledger.of_lot("c-1")] == [(BUY, 5)]
    assert len(ordered(universe, ship)) == 1
    assert [(each.good, each.units) for each in ledger.cargo()[ship["symbol"]]] == [(offer.good, 5)]


def test_an_order_that_was_not_sent_is_over_at_once(universe, token, ledger, ship, offer):
    """Nobody could be asked after it, and until then its credits were nobody's."""
    away = Client(replace(universe.settings(token), url="http://127.0.0.1:1/v2"))
    with pytest.raises(NotSent):
        buy(deeds(away, ledger, "c-1"), ship, offer, 1)
    assert ledger.left() == []


def test_ten_who_saw_one_price_pay_no_more_than_they_set_aside(api, ledger, offer):
    """Nine of them look again: the price has risen by a twentieth each time."""
    ships = [each for each in api.ships() if each["nav"]["waypointSymbol"] == offer.waypoint][:10]
    minimum = CREDITS - set_aside(offer.volume * len(ships), offer.buy)
    ledger.keep_at_least(minimum)
    gate = threading.Barrier(len(ships))

    def trade(ship):
        """As a worker does: one try after the other, until it has bought or may not."""
        for attempt in count():
            try:
                newest = ledger.newest(offer.waypoint, offer.good)
                here = of_good(seen_in(api.market(offer.waypoint)), offer.good)
                if attempt == 0:
                    gate.wait()
                units = min(here.volume, ledger.affordable(ship["symbol"], here.buy))
                if units < 1:
                    return
                deeds(api, ledger, ship["symbol"]).buy(ship, here.good, units, here.buy, newest=newest)
            except Busy:
                continue
            return

    with ThreadPoolExecutor(len(ships)) as hands:
        list(hands.map(trade, ships))
    bought = [entry for ship in ships for entry in ledger.of_lot(ship["symbol"])]
    assert len(bought) > len(ships) // 2
    assert all(-entry.amount <= entry.held for entry in bought)
    assert ledger.credits()[0] == api.agent()["credits"] >= minimum


def test_cargo_that_is_gone_is_missed_of_whom_it_was(api, ledger, ship, offer):
    """One good for two purposes: what is counted aboard is taken off the one, then the other."""
    ship = buy(deeds(api, ledger, "c-1"), ship, offer, 2)
    ship = buy(replace(deeds(api, ledger, "c-2"), purpose="contract:7"), ship, offer, 3)
    api.jettison(ship["symbol"], offer.good, 4)
    inquiry = Inquiry(api, ledger)
    inquiry.count(api.ship(ship["symbol"]), "c-3")
    assert ledger.cargo()[ship["symbol"]] == [Cargo(offer.good, "contract:7", 1)]
    api.purchase(ship["symbol"], offer.good, 2)
    inquiry.count(api.ship(ship["symbol"]), "c-3")
    assert ledger.cargo()[ship["symbol"]] == [Cargo(offer.good, "contract:7", 3)]


def test_credits_are_compared_in_a_fleet_that_always_has_an_order_under_way(api, ledger, ship, offer):
    """Each new order begins before the last one ends, until an audit is due: then they wait for it."""
    api.purchase(ship["symbol"], offer.good, 1)  # by hand
    office, over = SimpleNamespace(api=api, ledger=ledger, here=SimpleNamespace(id="c-9")), threading.Event()

    def trade():
        under_way = begun(ledger, "S-0")
        while not over.wait(0.01):
            with suppress(Counting):
                after, under_way = under_way, begun(ledger, "S-1")
                ledger.void(after, "refused")
                continue
            ledger.void(under_way, "refused")

    with ThreadPoolExecutor(1) as hand:
        trading = hand.submit(trade)
        try:
            eventually(ledger.left)
            correct_credits(office)
            assert not corrections(ledger), "it had an order under way"
            with ledger._database.begin() as connection:
                connection.execute(agents.update().values(counted_at=now() - timedelta(hours=2)))
            correct_credits(office)
            assert [entry.amount for entry in corrections(ledger)] == [api.agent()["credits"] - CREDITS]
            eventually(ledger.left)
        finally:
            over.set()
        trading.result()


def begun(ledger, ship):
    return ledger.reserve(Entry(kind=BUY, ship=ship, container_id=ship, purpose=ANYBODY, lot=ship))


def corrections(ledger):
    return [entry for entry in ledger.of_purpose("") if entry.kind == CORRECTION]

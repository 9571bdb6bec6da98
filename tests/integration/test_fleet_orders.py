"""Orders of the fleet on real sockets: what the books make of late, lost and simultaneous ones."""

import threading
from datetime import timedelta
from itertools import count

import pytest

pytest.importorskip("httpx_retries", reason="the fleet needs the extra `fleet`")

from lifecycle.store.engine import Database
from tests.docker.waiting import eventually
from tests.universes import UniverseServer
from workers.fleet.account import found_or_made
from workers.fleet.deeds import Deeds
from workers.fleet.errors import Unreachable
from workers.fleet.inquiry import ANYBODY, Inquiry
from workers.fleet.ledger import BUY, Ledger
from workers.fleet.migrate import migrate
from workers.fleet.prices import of_good, seen_in
from workers.fleet.tables import entries, now

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
def ship(api):
    return api.ships()[1]


@pytest.fixture
def good(api, ship):
    """What is sold where the ship is."""
    found = seen_in(api.market(ship["nav"]["waypointSymbol"]))
    return max((each for each in found if each.buy * each.volume < CREDITS / 10), key=lambda each: each.buy)


def deeds(api, ledger, name):
    return Deeds(api, ledger, name, ANYBODY, name)


def ordered(universe, ship, order="purchase"):
    return universe.calls("POST", f"{ship['symbol']}/{order}")


def statuses(books):
    with books.read() as connection:
        return list(connection.execute(entries.select().with_only_columns(entries.c.status)).scalars())


def test_an_order_that_is_executed_late_is_not_given_up(universe, token, books, ledger, ship, good):
    """It had waited for its turn, and the one who gave it is gone: its age says nothing of when it was sent."""
    hasty = universe.client(token, read_timeout=0.2)
    universe.fault("POST", f"/my/ships/{ship['symbol']}/purchase", late=1.0)
    with pytest.raises(Unreachable):
        deeds(hasty, ledger, "c-1").buy(ship, good.good, 5, good.buy)
    with books.begin() as connection:
        connection.execute(entries.update().values(created_at=now() - timedelta(minutes=1)))
    inquiry = Inquiry(hasty, ledger)
    assert not inquiry.is_clear(hasty.ship(ship["symbol"]))
    eventually(lambda: inquiry.is_clear(hasty.ship(ship["symbol"])))
    assert statuses(books) == ["SETTLED"]
    assert len(ordered(universe, ship)) == 1
    assert [(each.good, each.units) for each in ledger.cargo()[ship["symbol"]]] == [(good.good, 5)]
    hasty.close()

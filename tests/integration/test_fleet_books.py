"""The fleet's books, on both databases: guards, races, and what is kept of an answer."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

pytest.importorskip("httpx_retries", reason="the fleet needs the extra `fleet`")

from lifecycle.store.engine import Database
from tests.docker.waiting import eventually
from workers.fleet.account import DeadEra, WrongPlayer, found_or_made
from workers.fleet.errors import NotConfigured
from workers.fleet.ledger import BUY, FULFILL, REFUEL, SELL, Busy, Cargo, Counting, Entry, Ledger, Overspent
from workers.fleet.migrate import check, give, migrate
from workers.fleet.opportunities import Opportunity
from workers.fleet.prices import Prices
from workers.fleet.tables import NOBODY, agents, metadata, now
from workers.fleet.tours import TourBook
from workers.fleet.triplog import TripLog
from workers.fleet.workflows import FULFILLED, ContractTaken, Workflows

AGENT = {"symbol": "TORWINDO", "credits": 10_000, "headquarters": "X1-AA-1"}
ERA = "2026-11-01"
FIFTH = 2_000


@pytest.fixture
def books(database_url):
    """A database of its own: with the fleet's tables only."""
    database = Database(database_url)
    migrate(database)
    yield database
    database.dispose()


@pytest.fixture
def account(books):
    return found_or_made(books, AGENT, ERA, 12)


@pytest.fixture
def ledger(books, account):
    return Ledger(books, account)


def entry(kind=BUY, **values):
    whose = {"container_id": "c-1", "purpose": "arbitrage", "lot": "c-1", "ship": "S1", "waypoint": "X1-AA-1"}
    return Entry(kind=kind, **{**whose, "good": "IRON", **values})


def bought(ledger, units=10, price=100, **values):
    held = ledger.reserve(entry(units=units, aboard=units, held=units * price, price=price, **values))
    assert ledger.settle(held, -units * price, price=price, at=now())
    return held


# Tables


def test_they_are_made_once_however_many_make_them(books):
    with ThreadPoolExecutor(4) as hands:
        list(hands.map(lambda _: migrate(books), range(4)))
    with books.read() as connection:
        assert set(metadata.tables) <= set(sa.inspect(connection).get_table_names())
    check(books)


def test_without_them_it_says_what_to_run(database_url):
    database = Database(database_url)
    with pytest.raises(NotConfigured, match=r"run python -m workers\.fleet\.migrate"):
        check(database)
    migrate(database)
    metadata.tables["arbitrage_execution_logs"].drop(database.engine)
    with pytest.raises(NotConfigured, match=r"run python -m workers\.fleet\.migrate"):
        check(database)
    database.dispose()


def test_columns_of_a_later_version_are_added(books, account):
    table = metadata.tables["fleet_agents"]
    with books.begin() as connection:
        connection.execute(sa.DDL("ALTER TABLE fleet_agents DROP COLUMN shut_until"))
    with pytest.raises(NotConfigured, match=r"fleet_agents has no column shut_until.*workers\.fleet\.migrate"):
        check(books)
    migrate(books)
    check(books)
    with books.read() as connection:
        assert connection.execute(sa.select(table.c.shut_until)).scalar_one() is None


# Accounts


def test_one_agent_of_an_era_is_one_players(books, account):
    assert found_or_made(books, AGENT, ERA, 12) == account
    with pytest.raises(WrongPlayer, match="this container is of player 13"):
        found_or_made(books, AGENT, ERA, 13)
    with pytest.raises(WrongPlayer, match="have agent TORWINDO for player 12"):
        found_or_made(books, {**AGENT, "symbol": "OTHER"}, ERA, 12)
    other = found_or_made(books, {**AGENT, "symbol": "OTHER"}, ERA, NOBODY)
    assert other.id != account.id


def test_after_a_reset_the_books_begin_anew(books, account, ledger):
    bought(ledger)
    new = found_or_made(books, AGENT, "2026-11-29", 12)
    assert new.id != account.id
    assert Ledger(books, new).credits() == (10_000, 0)
    assert Ledger(books, new).cargo() == {}


def test_books_are_given_to_another_player(books, account):
    give(books, AGENT["symbol"], 13)
    assert found_or_made(books, AGENT, ERA, 13).id == account.id
    with pytest.raises(WrongPlayer, match=r"python -m workers\.fleet\.migrate --give TORWINDO PLAYER"):
        found_or_made(books, AGENT, ERA, 12)
    found_or_made(books, {**AGENT, "symbol": "OTHER"}, ERA, 14)
    with pytest.raises(NotConfigured, match="player 14 has the books of another agent"):
        give(books, AGENT["symbol"], 14)
    with pytest.raises(NotConfigured, match="there are no books of agent NOBODY"):
        give(books, "NOBODY", 15)


def test_a_container_of_an_era_that_is_over_does_not_go_on(books, account):
    account.check_era(None)
    account.check_era(ERA)
    new = found_or_made(books, AGENT, "2026-11-29", 12)
    with pytest.raises(DeadEra, match="the universe of 2026-11-01 is over, this one began 2026-11-29"):
        new.check_era(ERA)


def test_two_who_open_the_books_at_once_open_the_same(books):
    gate = threading.Barrier(4)

    def open_them(_):
        gate.wait()
        return found_or_made(books, AGENT, ERA, 12)

    with ThreadPoolExecutor(4) as hands:
        assert len(set(hands.map(open_them, range(4)))) == 1


# Guards


def test_a_purchase_takes_a_fifth_at_most_and_a_lot_counts_as_one(ledger):
    with pytest.raises(Overspent) as refused:
        ledger.reserve(entry(held=FIFTH + 1))
    assert refused.value.room == FIFTH
    bought(ledger, units=15)
    with pytest.raises(Overspent) as refused:
        ledger.reserve(entry(held=501))
    assert refused.value.room == 500, "what it has spent counts, and so does what was there before"
    assert ledger.reserve(entry(held=1_700, lot="c-2")), "another lot has a fifth of what is left"


def test_what_is_set_aside_is_not_there_for_others(ledger):
    ledger.keep_at_least(9_000)
    first = ledger.reserve(entry(held=700))
    with pytest.raises(Overspent) as refused:
        ledger.reserve(entry(held=400, lot="c-2"))
    assert refused.value.room == 300
    assert ledger.void(first, "not executed")
    assert ledger.reserve(entry(held=400, lot="c-2"))


def test_fuel_may_be_bought_below_the_minimum_but_not_on_credit(ledger):
    ledger.keep_at_least(10_000)
    assert ledger.affordable("c-1", 100) == 0
    assert ledger.reserve(entry(REFUEL, held=5_000))
    with pytest.raises(Overspent):
        ledger.reserve(entry(REFUEL, held=5_001))


def test_what_is_affordable_leaves_headroom(ledger):
    assert ledger.affordable("c-1", 100) == 18
    assert ledger.affordable("c-1", 10_000) == 0


def test_many_who_reserve_at_once_do_not_overspend_together(ledger):
    """Without the account's row being locked each would see the others' credits as free."""
    ledger.keep_at_least(5_000)
    gate = threading.Barrier(10)

    def reserve(number):
        gate.wait()
        try:
            return ledger.reserve(entry(held=1_000, lot=f"c-{number}", ship=f"S{number}")).held
        except Overspent:
            return 0

    with ThreadPoolExecutor(10) as hands:
        assert sum(hands.map(reserve, range(10))) == 5_000


def test_who_saw_a_price_before_another_bought_looks_again(ledger):
    """Each purchase raises the price: of two who saw the same one, the second would pay more than it has set aside."""
    seen = ledger.newest("X1-AA-1", "IRON")
    first = ledger.reserve(entry(held=100), newest=seen)
    with pytest.raises(Busy, match="IRON is being bought at X1-AA-1"):
        ledger.reserve(entry(held=100, lot="c-2"), newest=seen)
    with pytest.raises(Busy):
        ledger.newest("X1-AA-1", "IRON")
    assert ledger.reserve(entry(held=100, good="GOLD"), newest=ledger.newest("X1-AA-1", "GOLD"))
    ledger.settle(first, -100)
    with pytest.raises(Busy, match="IRON was bought at X1-AA-1 meanwhile"):
        ledger.reserve(entry(held=100, lot="c-2"), newest=seen)
    assert ledger.reserve(entry(held=100, lot="c-2"), newest=ledger.newest("X1-AA-1", "IRON"))


@pytest.mark.postgres
def test_the_second_waits_until_the_first_has_committed(postgres_url):
    """The order that a reading without a lock would get wrong, forced: the second begins while the first is open."""
    database = Database(postgres_url)
    migrate(database)
    ledger = Ledger(database, found_or_made(database, AGENT, ERA, 12))
    ledger.keep_at_least(9_000)
    waits = threading.Thread(target=lambda: outcome.append(refusal(ledger)))
    outcome = []
    with database.begin() as connection:
        ledger._lock(connection)
        waits.start()
        waits.join(0.5)
        assert not outcome, "it waits"
        ledger._insert(connection, entry(held=1_000), "RESERVED")
    waits.join(10)
    assert outcome == [0]
    database.dispose()


def refusal(ledger):
    try:
        ledger.reserve(entry(held=500, lot="c-2"))
    except Overspent as refused:
        return refused.room
    return None


# Entries


def test_an_entry_is_closed_once(ledger):
    held = ledger.reserve(entry(units=5, aboard=5, held=500))
    assert ledger.left("S1") == [held]
    assert ledger.left("S2") == []
    assert ledger.settle(held, -450)
    assert not ledger.settle(held, -450)
    assert not ledger.void(held, "late")
    assert ledger.credits()[0] == 9_550
    assert ledger.left() == []


def test_who_looks_after_an_order_waits_from_the_first_look(ledger):
    """However long it had waited to be sent: by its age it would be over at once."""
    held = ledger.reserve(entry(units=5, aboard=5, held=500))
    assert ledger.waited(held) == 0
    assert 0 < ledger.waited(held) < 10
    assert ledger.waited(held) > 0


def test_two_who_settle_the_same_pay_once(ledger):
    held = ledger.reserve(entry(units=5, aboard=5, held=500))
    gate = threading.Barrier(4)

    def settle(_):
        gate.wait()
        return ledger.settle(held, -450)

    with ThreadPoolExecutor(4) as hands:
        assert sum(hands.map(settle, range(4))) == 1
    assert ledger.credits()[0] == 9_550


def test_cargo_is_what_came_aboard_less_what_went_by_purpose(ledger):
    bought(ledger, units=10)
    bought(ledger, units=4, purpose="contract:7", lot="7:0")
    sold = ledger.reserve(entry(SELL, units=7, aboard=-7))
    ledger.settle(sold, 900, price=129)
    found = {(cargo.purpose, cargo.units) for cargo in ledger.cargo(["S1"])["S1"]}
    assert found == {("arbitrage", 3), ("contract:7", 4)}
    assert ledger.cargo(["S2"]) == {}
    assert ledger.credits()[0] == 10_000 - 1_400 + 900
    assert [each.kind for each in ledger.of_lot("c-1")] == [BUY, SELL]
    assert [each.units for each in ledger.of_purpose("contract:7")] == [4]


def test_what_was_written_twice_is_aboard_once(ledger):
    held = ledger.reserve(entry(units=5, aboard=5, held=500))
    for _ in range(2):
        ledger.settle(held, -500)
    assert ledger.cargo()["S1"] == [Cargo("IRON", "arbitrage", 5)]
    ledger.settle(ledger.reserve(entry(SELL, units=5, aboard=-5)), 500)
    assert ledger.cargo() == {}
    with ledger._database.read() as connection:
        assert not connection.execute(sa.select(metadata.tables["fleet_cargo"])).all(), "no row is left of it"


def test_credits_are_corrected_only_if_nothing_was_done_meanwhile(ledger):
    _, deeds = ledger.credits()
    bought(ledger)
    assert ledger.correct(9_500, deeds, "c-1") is None, "seen before the purchase"
    owned, deeds = ledger.credits()
    held = ledger.reserve(entry(FULFILL, held=0))
    assert ledger.correct(owned - 5, deeds + 1, "c-1") is None, "an order is under way"
    ledger.void(held, "not executed")
    owned, deeds = ledger.credits()
    assert ledger.correct(owned - 5, deeds, "c-1") == -5
    assert ledger.credits()[0] == owned - 5
    _, deeds = ledger.credits()
    assert ledger.correct(owned - 5, deeds, "c-1") == 0


def test_while_credits_are_to_be_compared_no_order_begins_and_those_under_way_end(ledger):
    assert not ledger.shut(60, every=3_600), "they were compared when the books were opened"
    under_way = ledger.reserve(entry(units=1, aboard=1, held=10))
    assert ledger.shut(60, every=0)
    with pytest.raises(Counting):
        ledger.reserve(entry(SELL, ship="S2"))
    assert ledger.settle(under_way, -10)
    ledger.reopen()
    ledger.void(ledger.reserve(entry(SELL, ship="S2")), "refused")


def test_orders_are_held_up_seldom_and_only_for_a_time(ledger):
    """An order that nobody can close in it is no reason to hold up all others for ever."""
    ledger.reserve(entry(units=1, aboard=1, held=10))
    with ledger._database.begin() as connection:
        connection.execute(agents.update().values(counted_at=now() - timedelta(hours=2)))
    assert ledger.shut(0.001, every=3_600)
    eventually(lambda: reserved(ledger))
    assert not ledger.shut(60, every=3_600), "six minutes between two hold-ups"
    with ledger._database.begin() as connection:
        connection.execute(agents.update().values(shut_until=now() - timedelta(minutes=7)))
    assert ledger.shut(60, every=3_600)


def reserved(ledger):
    try:
        return ledger.reserve(entry(SELL, ship="S2"))
    except Counting:
        return None


def test_the_last_transaction_of_a_ship(ledger):
    assert ledger.last_transaction("S1") is None
    at = now()
    ledger.settle(ledger.reserve(entry(units=1, aboard=1, held=10)), -10, at=at)
    assert abs(ledger.last_transaction("S1") - at) < timedelta(milliseconds=1)


# Prices, tours, contracts, runs


def market(symbol, price, volume=20):
    good = {"symbol": "IRON", "purchasePrice": price, "sellPrice": price - 10, "tradeVolume": volume, "supply": "HIGH"}
    return {"symbol": symbol, "tradeGoods": [good]}


def test_prices_are_overwritten_and_history_has_what_changed(books, account):
    prices = Prices(books, account)
    for price in (100, 100, 120):
        prices.write(market("X1-AA-1", price))
    (fresh,) = prices.fresh("X1-AA", 60)
    assert (fresh.buy, fresh.sell) == (120, 110)
    with books.read() as connection:
        kept = connection.execute(sa.select(metadata.tables["fleet_price_history"].c.buy)).scalars().all()
    assert kept == [100, 120]


def test_old_prices_are_not_traded_on(books, account):
    prices, table = Prices(books, account), metadata.tables["fleet_prices"]
    prices.write(market("X1-AA-1", 100))
    with books.begin() as connection:
        connection.execute(table.update().values(seen_at=now() - timedelta(seconds=61)))
    assert prices.fresh("X1-AA", 60) == []
    assert len(prices.fresh("X1-AA", 62)) == 1
    assert prices.fresh("X1-BB", 62) == []
    assert prices.last("X1-AA-1", "IRON").sell == 90, "but it is the last that is known"
    assert prices.last("X1-AA-1", "GOLD") is prices.last("X1-BB-1", "IRON") is None


def test_tours_are_replaced_as_a_whole(books, account):
    book = TourBook(books, account)
    book.replace("X1", {"P1": ["A", "B"], "P2": ["C"]})
    book.replace("X1", {"P2": ["C", "A", "B"]})
    assert book.all("X1") == {"P2": ["C", "A", "B"]}
    assert book.of("P1") == []


def test_tours_of_one_system_are_not_anothers(books, account):
    book = TourBook(books, account)
    book.replace("X1", {"P1": ["A"]})
    book.replace("X2", {"P2": ["B"]})
    assert (book.all("X1"), book.all("X2")) == ({"P1": ["A"]}, {"P2": ["B"]})
    assert (book.of("P1"), book.of("P2")) == (["A"], ["B"])


def test_one_contract_at_a_time_is_a_rule_of_the_database(books, account):
    flows = Workflows(books, account)
    with books.begin() as connection:
        flows.take(connection, None, "w-1")
    with pytest.raises(IntegrityError), books.begin() as connection:
        flows.take(connection, None, "w-2")
    flows.close(flows.open(), FULFILLED)
    with books.begin() as connection:
        flows.take(connection, None, "w-2")
    assert flows.open().container_id == "w-2"


def test_a_contract_is_taken_over_by_one(books, account):
    flows = Workflows(books, account)
    with books.begin() as connection:
        flows.take(connection, None, "w-1")
    found = flows.open()
    flows.name(found, "k-1")
    assert flows.purposes() == {"contract:k-1"}
    with books.begin() as connection:
        flows.take(connection, found, "w-2")
    with pytest.raises(ContractTaken), books.begin() as connection:
        flows.take(connection, found, "w-3")
    assert flows.of("w-2").contract == "k-1"
    flows.close(flows.open(), FULFILLED)
    assert flows.purposes() == set()


def test_a_run_is_no_success_until_it_is_closed(books, account, ledger):
    runs = TripLog(books, account.player_id)
    numbers = {"buy_price": 100, "sell_price": 120, "units": 10, "distance": 5.0, "supply": "HIGH", "activity": None}
    expected = Opportunity(good="IRON", buy_at="A", sell_at="B", **numbers)
    ship = {"cargo": {"capacity": 40, "units": 0}, "fuel": {"current": 1, "capacity": 2}}
    ship["nav"] = {"waypointSymbol": "A"}
    for _ in range(2):
        runs.begin("c-1", expected, "S1")
        runs.ready("c-1", ship)
    assert runs.under_way() == ["c-1"]
    bought(ledger)
    ledger.settle(ledger.reserve(entry(SELL, units=10, aboard=-10)), 1_250, price=125)
    came = runs.close("c-1", ledger.of_lot("c-1"))
    assert (came["actual_net_profit"], came["units_sold"], came["margin_accuracy"]) == (250, 10, 5.0)
    assert runs.under_way() == []
    runs.close("c-1", [], "ended before its trip was over")
    with books.read() as connection:
        (log,) = connection.execute(sa.select(metadata.tables["arbitrage_execution_logs"]))
    assert (log.success, log.error_message, log.actual_net_profit, log.current_location) == (True, None, 250, "A")


def test_a_row_of_one_account_is_not_anothers(books, account, ledger):
    bought(ledger)
    other = found_or_made(books, {**AGENT, "symbol": "OTHER"}, ERA, 13)
    assert Ledger(books, other).cargo() == {}
    assert Ledger(books, other).left() == []
    with books.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(agents)).scalar_one() == 2

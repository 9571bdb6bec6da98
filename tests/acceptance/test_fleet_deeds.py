"""Orders to the API under stops, kills and lost answers: no cargo without its row, nothing bought twice."""

import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from lifecycle import Status
from tests.acceptance.world import eventually, migrate

Refused = pytest.importorskip("workers.fleet.errors").Refused
Entry = pytest.importorskip("workers.fleet.ledger").Entry
Deeds = pytest.importorskip("workers.fleet.deeds").Deeds
seen_in = pytest.importorskip("workers.fleet.prices").seen_in

STOPS = 100
AT_ONCE = 20
# What a lost node ran goes on soon.
NERVOUS = {"heartbeat": 0.5, "lease": 3, "grace": 5, "restart_backoff": "0.2,0.2,0.2"}
KINDS = {"purchase": "BUY", "sell": "SELL", "refuel": "REFUEL"}
LEAST = 20  # units of fuel: no flight of any length

pytestmark = pytest.mark.acceptance


@pytest.mark.postgres
def test_a_hundred_stops_at_any_instant_leave_no_cargo_without_its_row(new_armada, postgres):
    url = postgres.create_database("stops")
    migrate(url)
    armada = new_armada(url, universe={"ships": AT_ONCE, "probes": 2, "credits": 1_000_000, "recovery": 50})
    armada.start(slots=4)
    armada.survey()
    trips = armada.best_trips(AT_ONCE)
    for order in ("purchase", "sell"):
        armada.universe.fault(method="POST", path=f"/v2/my/ships/*/{order}", times=10 * STOPS, delay=0.3)
    chance = random.Random(1)
    with ThreadPoolExecutor(AT_ONCE) as hands:
        for _ in range(STOPS // AT_ONCE):
            ships = armada.ships()
            started = armada.begin_all(
                "ARBITRAGE_WORKER", [{"ship": ship, **trip} for ship, trip in zip(ships, trips, strict=True)]
            )
            stopped = [hands.submit(stop_after, armada, each, chance.uniform(0.2, 3)) for each in started]
            assert all(each.result() for each in stopped)
    assert len(armada.of_type("ARBITRAGE_WORKER")) == STOPS
    assert armada.of_type("ARBITRAGE_WORKER", status="STOPPED"), "some were stopped before they were over"
    assert sum(was_open(armada, entry) for entry in armada.deeds("BUY", "SELL")) >= STOPS // 20, "stops met orders"
    assert armada.violations() == []


@pytest.mark.parametrize("order", KINDS)
def test_a_lost_answer_is_asked_after_and_nothing_is_done_twice(armada, order):
    (ship,) = armada.ships()
    if order == "refuel":
        drain(armada, ship)
    before, sent = len(armada.deeds(KINDS[order])), len(asked(armada, order))
    armada.universe.fault(method="POST", path=f"/v2/my/ships/*/{order}", lost=True)
    worker = armada.begin("ARBITRAGE_WORKER", ship=ship, **armada.best_trip())
    row = armada.ended(worker)
    assert row.status is Status.COMPLETED, row.exit_message
    log = armada.rows("arbitrage_execution_logs")[-1]
    assert log.units_purchased == log.units_sold > 0
    entries = armada.deeds(KINDS[order])[before:]
    assert armada.universe.faults() == [], "an answer was lost"
    assert len(asked(armada, order)) - sent == len(entries) > 0, "it was found, and no order was given twice"
    assert not any(entry.is_estimate for entry in entries), "the market remembers the price"
    assert armada.violations() == []


def test_an_order_that_was_refused_by_a_broken_server_is_given_again(armada):
    """503 says nothing of the order; the ship does: it was not executed."""
    armada.universe.fault(method="POST", path="/v2/my/ships/*/purchase", status=503)
    worker = armada.begin("ARBITRAGE_WORKER", ship=armada.ships()[0], **armada.best_trip())
    row = armada.ended(worker)
    assert row.status is Status.COMPLETED, row.exit_message
    (void,) = [entry for entry in armada.rows("fleet_entries") if entry.status == "VOID"]
    assert (void.kind, void.note) == ("BUY", "not executed")
    assert armada.violations() == []


def test_an_entry_of_a_ship_that_is_gone_stops_no_coordinator(armada):
    told = {"container_id": "gone-1", "purpose": "arbitrage", "lot": "gone-1", "good": "IRON", "units": 1, "aboard": 1}
    armada.ledger.reserve(Entry(kind="BUY", ship="TORWINDO-99", waypoint=armada.api.agent()["headquarters"], **told))
    coordinator = armada.begin("ARBITRAGE_COORDINATOR", system=armada.system, ship="NONE")
    eventually("two looks", lambda: armada.lifecycle.get(coordinator).current_iteration >= 2)
    assert [each.status for each in armada.rows("fleet_entries") if each.ship == "TORWINDO-99"] == ["VOID"]
    armada.stop_all()


def test_a_contract_survives_lost_answers(armada):
    for order in ("accept", "deliver", "fulfill"):
        armada.universe.fault(method="POST", path=f"/v2/my/contracts/*/{order}", lost=True)
    armada.begin("SCOUT_FLEET_COORDINATOR", system=armada.system)
    armada.begin("CONTRACT_FLEET_COORDINATOR")
    (fulfilled, *_) = eventually("a contract fulfilled", lambda: armada.deeds("FULFILL"), 90)
    armada.stop_all()
    armada.settle()
    assert armada.universe.faults() == [], "each answer was lost"
    for order in ("accept", "fulfill"):
        assert len(asked(armada, f"contracts/{fulfilled.contract}/{order}")) == 1
    delivered = [entry for entry in armada.deeds("DELIVER") if entry.contract == fulfilled.contract]
    assert len(asked(armada, f"contracts/{fulfilled.contract}/deliver")) == len(delivered)
    assert_bought_once(armada, fulfilled.contract)
    assert armada.violations() == []


def test_one_good_aboard_for_two_purposes_is_sold_for_each(armada):
    """Sold at once for the first, it left the second in the books, and the ship was of no more use."""
    ship = armada.api.ship(armada.ships()[0])
    armada.api.dock(ship["symbol"])
    seen = seen_in(armada.api.market(ship["nav"]["waypointSymbol"]))
    price = max(seen, key=lambda each: each.buy)
    before = len(armada.deeds("SELL"))
    for purpose in ("arbitrage", "contract:over"):
        deeds = Deeds(armada.api, armada.ledger, "hand", purpose, purpose, lambda symbol: None)
        newest = armada.ledger.newest(price.waypoint, price.good)
        ship = deeds.buy(ship, price.good, 6, price.buy, newest=newest)
    row = armada.ended(armada.begin("ARBITRAGE_WORKER", ship=ship["symbol"], **armada.best_trip()))
    assert row.status is Status.COMPLETED, row.exit_message
    sold = Counter()
    for entry in armada.deeds("SELL")[before:]:
        sold[entry.good, entry.purpose] += entry.units if entry.lot == "" else 0
    assert +sold == {(price.good, "arbitrage"): 6, (price.good, "contract:over"): 6}
    assert armada.violations() == []


@pytest.mark.postgres
def test_a_kill_with_cargo_aboard_buys_nothing_twice(new_armada, postgres):
    """The node dies, another goes on with the same container, and the contract has its goods once."""
    url = postgres.create_database("fleet_deeds")
    migrate(url)
    armada = new_armada(url, universe={"ships": 2, "probes": 2}, **NERVOUS)
    first = armada.start("first", slots=3)
    armada.begin("SCOUT_FLEET_COORDINATOR", system=armada.system)
    armada.begin("CONTRACT_FLEET_COORDINATOR")
    armada.universe.fault(method="POST", path="/v2/my/ships/*/purchase", delay=3)
    eventually("ordered", lambda: asked(armada, "purchase"), 90)
    first.signal_all(signal.SIGKILL)
    (bought,) = armada.ledger.left()
    assert armada.api.ship(bought.ship)["cargo"]["units"] == bought.units > 0
    armada.start("second", slots=3)
    eventually("that contract fulfilled", lambda: done(armada, bought), 120)
    assert armada.lifecycle.get(bought.container_id).restart_count >= 1
    armada.stop_all()
    armada.settle()
    assert_bought_once(armada, bought.purpose.removeprefix("contract:"))
    assert armada.violations() == []


def test_a_kill_between_an_order_and_its_answer_is_settled_by_what_is_aboard(new_armada):
    """The purchase is executed, its answer takes three seconds, and the whole node is gone before."""
    armada = new_armada(universe={"ships": 1, "probes": 2}, **NERVOUS)
    first = armada.start("first", slots=2)
    armada.survey()
    trip = armada.best_trip()
    armada.universe.fault(method="POST", path="/v2/my/ships/*/purchase", delay=3)
    worker = armada.begin("ARBITRAGE_WORKER", ship=armada.ships()[0], **trip)
    eventually("ordered", lambda: asked(armada, "purchase"), 60)
    first.signal_all(signal.SIGKILL)
    (left,) = armada.ledger.left()
    assert left.kind == "BUY"
    armada.start("second", slots=2)
    row = armada.ended(worker)
    assert row.status is Status.COMPLETED, row.exit_message
    (bought,) = armada.deeds("BUY")
    assert (bought.id, bought.units) == (left.id, left.units)
    assert len(asked(armada, "purchase")) == 1
    assert armada.violations() == []


def test_another_works_on_no_ship_with_cargo_of_an_open_contract(new_armada):
    armada = new_armada(universe={"ships": 2, "probes": 4, "floor": 3})
    armada.start(slots=3)
    armada.survey()
    root = armada.begin("CONTRACT_FLEET_COORDINATOR")
    bought = eventually("goods aboard", lambda: armada.deeds("BUY"), 90)[0]
    armada.lifecycle.stop(root)
    armada.settle()
    assert armada.ledger.cargo()[bought.ship], "it was stopped in its flight"
    trip = {"good": bought.good, "buy_at": bought.waypoint, "sell_at": armada.api.agent()["headquarters"]}
    worker = armada.begin("ARBITRAGE_WORKER", ship=bought.ship, **trip)
    assert armada.ended(worker).exit_message.startswith(f"NotOurs: {bought.ship} carries ")
    empty = next(ship for ship in armada.ships() if ship != bought.ship)
    again = armada.begin("CONTRACT_WORKFLOW", ship=empty)
    assert armada.ended(again).exit_message.startswith(f"ContractTaken: {bought.ship} carries the goods of contract ")
    armada.begin("SCOUT_FLEET_COORDINATOR", system=armada.system)
    armada.begin("CONTRACT_FLEET_COORDINATOR")
    eventually("that contract fulfilled", lambda: done(armada, bought), 120)
    armada.stop_all()
    armada.settle()
    assert_bought_once(armada, bought.purpose.removeprefix("contract:"))
    assert armada.violations() == []


def test_a_ship_that_was_taken_away_gets_no_more_orders(new_armada):
    """An operator's forced release: the container lives, and its ship may be another's by now."""
    armada = new_armada(universe={"ships": 1, "probes": 0})
    (ship,), home = armada.ships(), armada.api.agent()["headquarters"]
    good = armada.api.market(home)["exports"][0]["symbol"]
    armada.api.purchase(ship, good, 5)
    worker = armada.begin("ARBITRAGE_WORKER", ship=ship, good="IRON", buy_at=home, sell_at=home)
    armada.lifecycle.release(f"ship:{ship}", force=True)
    armada.start(slots=2)
    row = armada.ended(worker)
    assert row.exit_message == f"NotHeld: {worker} does not hold {ship} any more"
    assert not [entry for entry in armada.rows("fleet_entries") if entry.kind != "FOUND"]


def test_what_nobody_wrote_down_is_found(new_armada):
    """Cargo and credits that a hand has moved, and a run that was stopped where nobody could say so."""
    armada = new_armada(universe={"ships": 1, "probes": 0, "floor": 5})
    armada.start(slots=2)
    opened, (ship,) = armada.account, armada.ships()
    goods = [item for item in armada.api.market(opened.headquarters)["tradeGoods"] if item["type"] == "EXPORT"]
    bought = armada.api.purchase(ship, goods[0]["symbol"], 5)
    elsewhere = armada.api.waypoints(armada.system, "MARKETPLACE")[1]["symbol"]
    trip = {"good": "IRON", "buy_at": elsewhere, "sell_at": opened.headquarters}
    worker = armada.begin("ARBITRAGE_WORKER", ship=ship, **trip)
    eventually("in flight", lambda: armada.api.ship(ship)["nav"]["status"] == "IN_TRANSIT")
    assert armada.lifecycle.stop(worker).ok
    (log,) = armada.rows("arbitrage_execution_logs")
    assert (log.success, log.error_message) == (False, "under way")
    armada.begin("ARBITRAGE_COORDINATOR", system=armada.system)
    (off,) = eventually("credits corrected", lambda: armada.deeds("CORRECTION"))
    assert off.amount == -bought["transaction"]["totalPrice"]
    (log,) = armada.rows("arbitrage_execution_logs")
    assert (log.success, log.error_message) == (False, "ended before its trip was over")
    armada.stop_all()
    (found,), (thrown,) = armada.deeds("FOUND"), armada.deeds("JETTISON")
    assert (found.good, found.units, thrown.units) == (goods[0]["symbol"], 5, 5), "nobody knows who buys it"
    assert sorted(armada.violations()) == ["1 entries CORRECTION", "1 entries FOUND"]


def was_open(armada, entry):
    """Whether its container was asked to stop while the order was under way."""
    marked = [each.at for each in armada.lifecycle.history(entry.container_id) if each.to_status == "STOPPING"]
    return any(entry.created_at < at < entry.settled_at for at in marked)


def stop_after(armada, container_id, seconds):
    time.sleep(seconds)
    return armada.lifecycle.stop(container_id).ok


def drain(armada, ship):
    """Fly it to and fro until its next flight needs fuel."""
    one, other, *_ = [each["symbol"] for each in armada.api.waypoints(armada.system, "MARKETPLACE")]
    armada.api.orbit(ship)
    while (here := arrived(armada, ship))["fuel"]["current"] > LEAST:
        try:
            armada.api.navigate(ship, other if here["nav"]["waypointSymbol"] == one else one)
        except Refused:  # for so far there is none left
            return


def arrived(armada, ship):
    def seen():
        found = armada.api.ship(ship)
        return found["nav"]["status"] != "IN_TRANSIT" and found

    return eventually("arrived", seen)


def asked(armada, order):
    return [each for each in armada.universe.calls() if each["path"].endswith(f"/{order}")]


def done(armada, bought):
    purpose = bought.purpose.removeprefix("contract:")
    return [row for row in armada.rows("fleet_contracts") if row.contract == purpose and row.status == "FULFILLED"]


def assert_bought_once(armada, contract):
    terms = armada.api.contract(contract)["terms"]["deliver"][0]
    ours = [entry for entry in armada.deeds("BUY") if entry.purpose == f"contract:{contract}"]
    assert sum(entry.units for entry in ours) == terms["unitsRequired"] == terms["unitsFulfilled"]

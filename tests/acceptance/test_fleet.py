"""The fleet's pipelines, end to end: real nodes, a real universe, and books that agree with it."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from lifecycle import Status
from tests.acceptance.world import eventually, migrate

Hulls = pytest.importorskip("workers.fleet.hulls").Hulls
MARKETS = pytest.importorskip("tests.acceptance.armada").MARKETS

THREE = {"SCOUT_FLEET_COORDINATOR", "ARBITRAGE_COORDINATOR", "CONTRACT_FLEET_COORDINATOR"}
FAR = {"compression": 1, "floor": 600}  # a flight takes ten minutes
AT_ONCE = 3.0  # seconds: a stop of what flies has nobody to wait for
MARGIN = 5

pytestmark = pytest.mark.acceptance


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def fleet_url(request):
    if request.param == "sqlite":
        return None
    url = request.getfixturevalue("postgres").create_database("fleet")
    migrate(url)
    return url


def test_a_commander_has_a_fleet_trade_fulfil_and_scout_and_takes_it_all_down_in_order(new_armada, fleet_url):
    armada = new_armada(fleet_url)
    armada.start(slots=3)
    root = armada.begin("FLEET_COORDINATOR")
    eventually("a contract fulfilled", lambda: armada.deeds("FULFILL"))
    eventually("five trips", lambda: len(armada.of_type("ARBITRAGE_WORKER", status="COMPLETED")) >= 5)
    tree = {each.id: each for each in armada.lifecycle.tree(root)}
    assert {each.container_type for each in tree.values() if each.depth == 1} == THREE
    assert {each.depth for each in tree.values()} == {0, 1, 2}
    assert {tree[each.parent_container_id].container_type for each in tree.values() if each.depth == 2} == THREE

    report = armada.lifecycle.stop(root)
    assert report.ok
    places = {container_id: at for at, container_id in enumerate(report.order)}
    assert all(
        places[each] < places[tree[each].parent_container_id]
        for each in report.stopped
        if each in tree and tree[each].parent_container_id in places
    )
    assert not armada.lifecycle.assignments()
    armada.settle()
    assert armada.violations() == []
    runs = [log for log in armada.rows("arbitrage_execution_logs") if log.success]
    assert len(runs) >= 5
    assert all(log.actual_net_profit == log.sale_revenue - log.purchase_cost - log.fuel_cost for log in runs)
    assert sum(log.actual_net_profit for log in runs) > 0, "it earns"


def test_two_hundred_ships_fly_on_two_slots_and_a_stop_does_not_wait_for_one(new_armada):
    """A flight is a row with a time: no slot, no process, nobody to wait for."""
    armada = new_armada(universe={**FAR, "ships": 200, "probes": 0})
    armada.start(slots=2)
    home, goal = armada.api.agent()["headquarters"], far_market(armada)
    trip = {"good": "IRON", "buy_at": goal, "sell_at": home}
    armada.begin_all("ARBITRAGE_WORKER", [{"ship": ship, **trip} for ship in armada.ships()])
    eventually("200 in flight", lambda: len(flying(armada)) == 200, 120)
    workers = armada.live("ARBITRAGE_WORKER")
    assert len(workers) == 200
    assert all(each.node is None and each.wake_at is not None for each in workers)
    began = time.monotonic()
    report = armada.lifecycle.stop(workers[0].id)
    assert report.stopped == (workers[0].id,)
    assert time.monotonic() - began < AT_ONCE
    assert len(flying(armada)) == 200, "the ship flies on, the container is over"
    armada.stop_all()
    assert armada.violations() == []


def test_one_coordinator_a_system_and_player_whoever_starts_it(armada):
    first = armada.begin("ARBITRAGE_COORDINATOR", system=armada.system)
    again = armada.command("start", "ARBITRAGE_COORDINATOR", f"system={armada.system}", "--player-id", armada.player)
    assert again.returncode == 1
    assert f"arbitrage:{armada.system} is held by container {first}" in again.stderr
    armada.begin("ARBITRAGE_COORDINATOR", system="X1-OTHER")
    armada.stop_all()


@pytest.mark.postgres
def test_ten_workers_at_once_do_not_overspend_together(new_armada, postgres):
    """Each may take a fifth; together they must leave the minimum."""
    url = postgres.create_database("ten")
    migrate(url)
    armada = new_armada(url, universe={"ships": 10, "probes": 1, "credits": 20_000})
    armada.start(slots=6)
    armada.survey()
    minimum = armada.ledger.credits()[0] - 6_000
    armada.ledger.keep_at_least(minimum)
    trips = armada.best_trips(10)
    armada.universe.fault(method="POST", path="/v2/my/ships/*/purchase", times=100, delay=1.5)
    calls = [{"ship": ship, **trip} for ship, trip in zip(armada.ships(), trips, strict=True)]
    armada.begin_all("ARBITRAGE_WORKER", calls)
    eventually("all ten ended", lambda: ended(armada) == 10, 90)
    bought = armada.deeds("BUY")
    assert max(sum(each.created_at <= at.created_at < each.settled_at for each in bought) for at in bought) > 1
    low = armada.rows("fleet_agents")[0].opening
    for entry in sorted(armada.deeds("BUY", "SELL", "REFUEL"), key=lambda entry: entry.settled_at):
        if entry.kind == "BUY":
            assert -entry.amount <= low // 5 * 1.01
        low += entry.amount
        if entry.kind == "BUY":
            assert low >= minimum, f"{low} credits are left after {entry}"
    assert armada.violations() == []
    refused = [each.exit_message for each in armada.of_type("ARBITRAGE_WORKER", status="FAILED")]
    assert refused
    assert all("may be spent" in message for message in refused)


def test_a_worker_that_gains_nothing_is_failed_and_its_run_is_written_and_its_ship_is_not_to_blame(armada):
    ship, home = armada.ships()[0], armada.api.agent()["headquarters"]
    good = armada.api.market(home)["exports"][0]["symbol"]
    for _ in range(3):
        worker = armada.begin("ARBITRAGE_WORKER", ship=ship, good=good, buy_at=home, sell_at=home)
        row = armada.ended(worker)
    assert (row.status, row.exit_code) == ("FAILED", 1)
    assert row.exit_message.startswith("NothingGained: ")
    log = armada.rows("arbitrage_execution_logs")[-1]
    assert (log.container_id, log.success, log.error_message) == (worker, False, row.exit_message)
    assert log.units_purchased == 0
    assert not armada.lifecycle.assignments()
    assert not armada.lifecycle.quarantined()


def test_a_lost_scout_is_replaced_and_what_scouts_write_is_what_arbitrage_reads(new_armada):
    armada = new_armada()
    armada.start(slots=3)
    root = armada.begin("SCOUT_FLEET_COORDINATOR", system=armada.system)
    eventually("prices of all markets", lambda: armada.seen() == MARKETS, 90)
    first = {each.tags["ship"]: each.id for each in armada.live("SCOUT")}
    tours = {row.ship: row.markets for row in armada.rows("fleet_tours")}
    assert set(tours) == set(first) == set(armada.ships("SATELLITE"))
    assert sorted(market for tour in tours.values() for market in tour) == sorted(
        {row.waypoint for row in armada.rows("fleet_prices")}
    )
    lost = armada.ships("SATELLITE")[0]
    armada.lifecycle.stop(first[lost])
    again = eventually("another one on its probe", lambda: scout_of(armada, lost))
    assert again.id != first[lost]
    assert again.parent_container_id == root
    begun = datetime.now(UTC)
    tour = tours[lost]
    eventually(
        "its markets seen again",
        lambda: all(row.seen_at > begun for row in armada.rows("fleet_prices") if row.waypoint in tour),
        90,
    )
    assert armada.rows("fleet_price_history")
    armada.begin("ARBITRAGE_COORDINATOR", system=armada.system, min_margin=MARGIN)
    log = eventually("a worker's row", lambda: armada.rows("arbitrage_execution_logs"))[0]
    worker = armada.lifecycle.get(log.container_id)
    assert worker.tags["lane"] == f"{log.good_symbol} {log.buy_market} {log.sell_market}"
    assert log.profit_margin >= MARGIN
    armada.stop_all()


def test_no_more_workers_at_once_than_it_may_have(armada):
    ships = [*armada.ships(), *armada.ships("COMMAND")]
    done = len(armada.of_type("ARBITRAGE_WORKER", status="COMPLETED"))
    armada.begin("ARBITRAGE_COORDINATOR", system=armada.system, max_workers=1, ship=ships)

    def trips():
        assert len(armada.live("ARBITRAGE_WORKER")) <= 1
        return len(armada.of_type("ARBITRAGE_WORKER", status="COMPLETED")) >= done + 3

    eventually("three trips", trips, 60)
    armada.stop_all()
    armada.settle()
    assert armada.violations() == []


def test_all_containers_share_one_list_of_ships(armada):
    """However many ask at once: the API is asked by one of them."""
    hulls = Hulls(armada.api, armada.lifecycle, armada.account)
    hulls._forget()
    before = lists(armada)
    with ThreadPoolExecutor(10) as askers:
        found = set(askers.map(lambda _: len(hulls.all(60)), range(50)))
    assert lists(armada) == before + 1
    assert found == {len(armada.api.ships())}


def test_a_token_belongs_to_one_player(armada):
    (other,) = armada.begin_all("CONTRACT_FLEET_COORDINATOR", [{}], player=13)
    row = armada.ended(other)
    assert row.status is Status.FAILED
    assert row.exit_message.startswith("WrongPlayer: the token is that of agent TORWINDO")
    (worker,) = armada.begin_all("ARBITRAGE_WORKER", [unknown_trip()], player=13)
    assert armada.ended(worker).status is Status.FAILED
    assert run_of(armada, worker).error_message.startswith("WrongPlayer: ")


def test_a_run_without_a_ship_is_written_too(armada):
    worker = armada.begin("ARBITRAGE_WORKER", **unknown_trip())
    row = armada.ended(worker)
    log = run_of(armada, worker)
    assert (log.ship_symbol, log.success, log.error_message) == ("NONE-1", False, row.exit_message)
    assert (log.units_purchased, log.current_location) == (0, None)


def far_market(armada):
    markets = [each for each in armada.api.waypoints(armada.system, "MARKETPLACE") if each["type"] != "FUEL_STATION"]
    home = next(each for each in markets if each["symbol"] == armada.api.agent()["headquarters"])
    return max(markets, key=lambda each: abs(each["x"] - home["x"]) + abs(each["y"] - home["y"]))["symbol"]


def flying(armada):
    return [ship for ship in armada.api.ships() if ship["nav"]["status"] == "IN_TRANSIT"]


def ended(armada):
    return sum(each.is_ended for each in armada.of_type("ARBITRAGE_WORKER"))


def unknown_trip():
    return {"ship": "NONE-1", "good": "IRON", "buy_at": "X1-AA-1", "sell_at": "X1-AA-2"}


def run_of(armada, worker):
    (log,) = [each for each in armada.rows("arbitrage_execution_logs") if each.container_id == worker]
    return log


def lists(armada):
    """How often somebody has asked for all ships, a page each."""
    return sum(call["path"] == "/v2/my/ships" for call in armada.universe.calls())


def scout_of(armada, ship):
    return next((each for each in armada.live("SCOUT") if each.tags["ship"] == ship), None)

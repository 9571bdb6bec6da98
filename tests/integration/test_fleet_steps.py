"""What pipelines do at one place, on a real universe and real rows: steps of trips, errands and coordinators."""

from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

pytest.importorskip("httpx_retries", reason="the fleet needs the extra `fleet`")

from lifecycle import later
from tests.docker.waiting import eventually
from tests.integration.test_cli_verbs import make_app, url_of
from tests.universes import UniverseServer
from workers.fleet import arbitrage, contracts
from workers.fleet.account import found_or_made
from workers.fleet.contracts import _best
from workers.fleet.errand import Errand
from workers.fleet.errors import Refused, Unreachable
from workers.fleet.free import free
from workers.fleet.inquiry import ANYBODY
from workers.fleet.ledger import ACCEPT, BUY, REFUEL, SELL, Entry
from workers.fleet.migrate import migrate
from workers.fleet.office import Office
from workers.fleet.opportunities import Opportunity
from workers.fleet.prices import seen_in
from workers.fleet.tables import now, prices, ships
from workers.fleet.tidy import close_orders
from workers.fleet.trip import Trip
from workers.fleet.universe.error import Code
from workers.fleet.vessel import FUEL, NoSuchPlace, Vessel
from workers.fleet.workflows import ContractTaken, Workflows, purpose

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
    """That of one container, which runs and holds all ships."""
    lifecycle = make_app(url_of(sqlite_grove.database)).lifecycle
    migrate(lifecycle.database)
    sqlite_grove.run("c-1", player_id=PLAYER, resources=[f"ship:{ship['symbol']}" for ship in api.ships()])
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
    told = trip(office, vessel, sell_at=vessel.waypoint)
    told.log.begin("c-1", told.expected, vessel.symbol)
    told.go_on()
    assert [each.kind for each in office.ledger.of_lot("c-1")] == [BUY, SELL]
    assert known(office, vessel.waypoint) == shown(api, vessel.waypoint)


def test_a_flight_is_in_the_list_of_ships_without_a_new_list(office, vessel, api, universe):
    office.hulls.all(60)
    lists = len(universe.calls("GET", "/my/ships"))
    away = next(each for each in office.charts.markets(vessel.waypoint.rsplit("-", 1)[0]) if each != vessel.waypoint)
    vessel.head(away)
    (hull,) = [each for each in office.hulls.all(60) if each.symbol == vessel.symbol]
    assert (hull.waypoint, hull.status) == (away, "IN_TRANSIT")
    eventually(lambda: Vessel.read(office, vessel.deeds, vessel.symbol).arrival is None)
    (hull,) = [each for each in office.hulls.all(60) if each.symbol == vessel.symbol]
    assert hull.status == "IN_ORBIT"
    assert len(universe.calls("GET", "/my/ships")) == lists


def test_a_minimum_balance_is_written_as_its_coordinator_starts(office):
    wishes = {"min_margin": 10.0, "max_workers": 0, "min_balance": CREDITS, "only": []}
    system = office.account.headquarters.rsplit("-", 1)[0]
    arbitrage._look(office, system, **wishes)
    assert office.ledger.affordable("", 1) == 0
    office.ledger.keep_at_least(0)  # an operator's own
    arbitrage._look(replace(office, here=replace(office.here, current_iteration=1)), system, **wishes)
    assert office.ledger.affordable("", 1) > 0


def test_cargo_whose_price_was_seen_long_ago_is_not_thrown_away(office, vessel, api):
    fill(office, api, vessel.ship)
    laden = Vessel.read(office, vessel.deeds, vessel.symbol)
    (cargo,) = office.ledger.cargo([vessel.symbol])[vessel.symbol]
    buyer = next(each for each in office.charts.markets(system(vessel)) if each != vessel.waypoint)
    told = {"symbol": cargo.good, "purchasePrice": 9_001, "sellPrice": 9_000, "tradeVolume": 20}
    office.prices.write({"symbol": buyer, "tradeGoods": [told]})
    expected = trip(office, vessel).expected
    with office.lifecycle.database.begin() as connection:
        connection.execute(prices.update().values(seen_at=now() - timedelta(days=3)))
    assert isinstance(Trip(office, laden, expected, 0.0)._clear(cargo), type(later(0)))
    assert api.ship(vessel.symbol)["nav"]["route"]["destination"]["symbol"] == buyer
    assert office.ledger.cargo([vessel.symbol])[vessel.symbol] == [cargo]


def test_a_flight_to_nowhere_says_so(vessel):
    with pytest.raises(NoSuchPlace, match="its system has no waypoint X1-NONE-A1"):
        vessel.head("X1-NONE-A1")


@pytest.mark.parametrize(("spare", "mode"), [(0, "DRIFT"), (1, "CRUISE")])
def test_the_last_unit_of_fuel_is_kept_for_a_drift(office, vessel, api, spare, mode):
    """At a market that is known to sell none; and with none left a ship would never leave."""
    goal = next(each for each in office.charts.markets(system(vessel)) if each != vessel.waypoint)
    for market in (goal, vessel.waypoint):
        told = {"symbol": FUEL if market == goal else "IRON", "purchasePrice": 2, "sellPrice": 1, "tradeVolume": 20}
        office.prices.write({"symbol": market, "tradeGoods": [told]})
    vessel.ship = {**vessel.ship, "fuel": {"current": vessel._burns(goal) + spare, "capacity": 600}}
    assert vessel.head(goal) is not None
    assert api.ship(vessel.symbol)["nav"]["flightMode"] == mode
    assert not office.ledger.of_lot("c-1"), "nobody asked for fuel where none is sold"


@pytest.mark.parametrize(("sold", "orders"), [(True, 0), (False, 1)])
def test_where_no_fuel_is_sold_a_ship_flies_with_enough_to_come_back(office, vessel, api, sold, orders):
    away = next(each for each in office.charts.markets(system(vessel)) if each != vessel.waypoint)
    good = FUEL if sold else "IRON"
    told = {"symbol": good, "purchasePrice": 2, "sellPrice": 1, "tradeVolume": 20}
    office.prices.write({"symbol": away, "tradeGoods": [told]})
    vessel.ship = {**vessel.ship, "fuel": {"current": vessel._burns(away) + 1, "capacity": 600}}
    vessel.head(away)
    assert len([each for each in office.ledger.of_lot("c-1") if each.kind == REFUEL]) == orders


# What the API cannot say


def test_where_ships_cannot_be_listed_those_are_used_that_were_seen(office, api, universe):
    universe.fault("GET", "/my/ships", status=500)
    with pytest.raises(Unreachable):
        office.hulls.all(60)
    seen = office.hulls.all(60)
    universe.fault("GET", "/my/ships", status=500)
    assert office.hulls.all(0.000_001) == seen != []


def test_a_ship_that_cannot_be_read_stops_no_look(office, vessel, universe, sqlite_grove):
    for each in office.lifecycle.holdings("c-1"):
        office.lifecycle.release(each.resource, force=True)
    begun(office, vessel, "gone", BUY)
    universe.fault("GET", f"/my/ships/{vessel.symbol}", status=500)
    close_orders(office)
    assert len(office.ledger.left()) == 1


# Contracts


@pytest.fixture
def flow(office, api):
    """The agent's first contract, which this container works on."""
    flows = Workflows(office.lifecycle.database, office.account)
    with office.lifecycle.database.begin() as connection:
        flows.take(connection, None, "c-1")
    flows.name(flows.open(), api.contracts()[0]["id"])
    return flows.open()


def errand(office, vessel, flow):
    return Errand(office, Vessel.read(office, office.deeds(purpose(flow.contract)), vessel.symbol), flow)


def offered(office, api, buy, waypoint=None):
    """The books know a market that sells what the contract asks for."""
    good = api.contracts()[0]["terms"]["deliver"][0]["tradeSymbol"]
    listed = {"symbol": good, "purchasePrice": buy, "sellPrice": 1, "tradeVolume": 20, "supply": "HIGH"}
    office.prices.write({"symbol": waypoint or office.account.headquarters, "tradeGoods": [listed]})
    return good


@pytest.mark.parametrize(("price", "why"), [(None, "nobody has seen"), (CREDITS, "nothing may be spent on")])
def test_a_contract_that_cannot_be_worked_on_is_not_accepted_and_its_ship_is_free(office, vessel, flow, price, why):
    api = office.api
    if price is not None:
        offered(office, api, price)
    assert errand(office, vessel, flow).go_on().message.startswith(why)
    assert not api.contracts()[0]["accepted"]
    still = Workflows(office.lifecycle.database, office.account).open()
    assert still == flow, "it goes on when that has changed"
    assert chosen(office, flow) is None
    offered(office, api, 10)
    assert chosen(office, flow) is not None


def test_a_ship_of_another_system_is_not_sent(office, api, flow):
    offered(office, api, 10)
    office.hulls.all(60)
    with office.lifecycle.database.begin() as connection:
        far = {"waypoint": "X9-FAR-A1", "system": "X9-FAR", "status": "IN_ORBIT"}
        connection.execute(ships.update().values(far).where(ships.c.symbol.like("%-2")))
    assert chosen(office, flow).system == office.account.headquarters.rsplit("-", 1)[0]
    assert chosen(office, None) is not None
    with office.lifecycle.database.begin() as connection:
        connection.execute(ships.update().values(far))
    assert chosen(office, flow) is chosen(office, None) is None


def test_where_every_ship_has_something_aboard_one_is_cleared(office, vessel, flow, sqlite_grove):
    api = office.api
    sold_at = api.waypoints(system(vessel), "MARKETPLACE")[1]["symbol"]
    offered(office, api, 10, sold_at)
    for ship in api.ships()[:3]:
        fill(office, api, ship)
    assert {hull.symbol for hull in office.hulls.all(0.001)} >= set(office.ledger.cargo())
    hull = chosen(office, flow)
    assert hull.symbol in office.ledger.cargo()
    sqlite_grove.run("c-2", player_id=PLAYER, resources=[f"ship:{hull.symbol}"])
    office = replace(office, here=office.lifecycle.get("c-2"))
    laden = Vessel.read(office, vessel.deeds, hull.symbol)
    assert laden.room == 0
    errand(office, laden, flow).go_on()
    assert office.ledger.cargo([hull.symbol]) == {}
    assert Vessel.read(office, vessel.deeds, hull.symbol).waypoint == sold_at, "it went there to buy"


def test_a_contract_is_negotiated_at_the_headquarters(office, vessel, api, flow):
    assert vessel.waypoint == office.account.headquarters
    away = next(each for each in office.charts.markets(vessel.waypoint.rsplit("-", 1)[0]) if each != vessel.waypoint)
    vessel.head(away)
    there = eventually(lambda: (seen := Vessel.read(office, vessel.deeds, vessel.symbol)).arrival is None and seen)
    there.dock()
    with pytest.raises(Refused) as refused:
        api.negotiate(vessel.symbol)
    assert refused.value.code == Code.NO_FACTION
    flight = Errand(office, there, replace(flow, contract=None))._negotiate()
    assert isinstance(flight, type(later(0)))
    assert api.ship(vessel.symbol)["nav"]["route"]["destination"]["symbol"] == office.account.headquarters


@pytest.fixture
def another(office, sqlite_grove):
    """A container that takes over from one that was stopped."""
    sqlite_grove.end("c-1")
    sqlite_grove.run("c-2", player_id=PLAYER)
    return replace(office, here=office.lifecycle.get("c-2"))


def test_nobody_works_on_a_contract_while_an_order_for_it_is_not_answered(another, vessel, api, flow):
    """It may be executed yet: another ship would buy the same again."""
    offered(another, api, 10)
    mine = begun(another, vessel, "c-1", BUY, purpose=purpose(flow.contract))
    contracts._look(another)
    assert not another.lifecycle.find(type="CONTRACT_WORKFLOW")
    with pytest.raises(ContractTaken, match=f"an order of {vessel.symbol} for contract .* is not answered yet"):
        contracts._own(another, "STEPPER-9")
    assert vessel.symbol not in {hull.symbol for hull in free(another, another.hulls.all(60))}
    another.ledger.void(mine, "not executed")
    assert vessel.symbol in {hull.symbol for hull in free(another, another.hulls.all(60))}
    assert contracts._own(another, "STEPPER-9").id == flow.id


def test_a_contract_pays_once_whoever_accepts_it(office, vessel, api, flow):
    """The first order was never executed, the second was: the contract is accepted, but not by both."""
    contract = api.contract(flow.contract)
    first = begun(office, vessel, "c-0", ACCEPT, contract=flow.contract, price=5_000, units=0, aboard=0)
    office.deeds(purpose(flow.contract)).accept(vessel.ship, contract)
    office.inquiry.close(first)
    assert office.ledger.credits()[0] == api.agent()["credits"]


def test_a_ship_without_a_hold_accepts_no_contract(office, api, flow):
    probe = next(ship["symbol"] for ship in api.ships() if ship["registration"]["role"] == "SATELLITE")
    assert contracts._work(office, probe).message == f"{probe} carries no cargo"
    assert not api.contract(flow.contract)["accepted"]


def begun(office, vessel, container, kind, **told):
    """An order that nobody has answered."""
    whose = {"container_id": container, "purpose": ANYBODY, "lot": container, "ship": vessel.symbol}
    what = {"good": "IRON", "units": 1, "aboard": 1, "waypoint": vessel.waypoint, "kind": kind}
    return office.ledger.reserve(Entry(**{**whose, **what, **told}))


def system(vessel):
    return vessel.waypoint.rsplit("-", 1)[0]


def chosen(office, flow):
    """The ship that the coordinator takes, when nobody holds any."""
    for each in office.lifecycle.holdings(office.here.id):
        office.lifecycle.release(each.resource, force=True)
    return _best(office, flow)


def fill(office, api, ship):
    """A hold full of the cheapest good, as an earlier trip has left it."""
    vessel = Vessel.read(office, office.deeds(ANYBODY, ship["symbol"]), ship["symbol"])
    vessel.dock()
    while vessel.room:
        here = min((price for price in vessel.scan() if price.good != "FUEL"), key=lambda price: price.buy)
        newest = office.ledger.newest(here.waypoint, here.good)
        units = min(vessel.room, here.volume)
        vessel.ship = vessel.deeds.buy(vessel.ship, here.good, units, here.buy, newest=newest)

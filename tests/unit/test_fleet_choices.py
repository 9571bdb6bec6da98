"""What the fleet chooses: rules without a ship, a market or a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("httpx_retries", reason="the fleet needs the extra `fleet`")

from job import fleet
from job.stage import Refusal
from workers.fleet.deeds import aboard, after
from workers.fleet.hulls import Hull, carriers, paced
from workers.fleet.ledger import Overspent, set_aside
from workers.fleet.opportunities import Opportunity, assign, margin, rank, sendable
from workers.fleet.pace import EVERY, FRESH
from workers.fleet.prices import Price, cheapest, dearest, seen_in
from workers.fleet.route import distance, seconds
from workers.fleet.tours import fits, rotated, split
from workers.fleet.universe.clock import Clock
from workers.fleet.universe.ship import PROBE
from workers.fleet.universe.world import Plan, Universe
from workers.fleet.vessel import duration, until

PLACES = {
    name: {"symbol": name, "x": x, "y": 0, "is_market": True, "type": "PLANET"}
    for name, x in (("A", 0), ("B", 10), ("C", 20), ("D", 100))
}


def price(waypoint, good, buy, sell, **more):
    return Price(waypoint=waypoint, good=good, buy=buy, sell=sell, volume=20, **more)


def hull(symbol, waypoint, role="HAULER", capacity=40):
    return Hull(symbol, role, "X1", waypoint, "DOCKED", capacity)


def opportunity(good, buy_at, sell_at):
    numbers = {"buy_price": 10, "sell_price": 20, "units": 20, "distance": 1.0, "supply": None, "activity": None}
    return Opportunity(good=good, buy_at=buy_at, sell_at=sell_at, **numbers)


def test_a_margin_is_what_is_gained_of_what_is_paid():
    assert margin(100, 110) == pytest.approx(10)
    assert margin(100, 90) == pytest.approx(-10)
    assert margin(0, 10) == 0


def test_what_gains_too_little_is_no_opportunity():
    seen = [price("A", "IRON", 100, 95), price("B", "IRON", 130, 120), price("C", "IRON", 115, 109)]
    assert [(each.buy_at, each.sell_at) for each in rank(seen, PLACES, 10)] == [("A", "B")]
    assert [(each.buy_at, each.sell_at) for each in rank(seen, PLACES, 0)] == [("A", "B"), ("A", "C"), ("C", "B")]


def test_supply_activity_and_nearness_decide_between_equal_margins():
    seen = [
        price("A", "IRON", 100, 95, supply="SCARCE"),
        price("B", "COPPER", 100, 95, supply="ABUNDANT"),
        price("C", "IRON", 160, 150),
        price("C", "COPPER", 160, 150),
    ]
    assert [each.good for each in rank(seen, PLACES, 10)] == ["COPPER", "IRON"]
    near = [price("A", "IRON", 100, 95), price("B", "IRON", 200, 150), price("D", "IRON", 200, 150)]
    assert [each.sell_at for each in rank(near, PLACES, 10)] == ["B", "D"]


def test_a_trip_takes_no_more_at_once_than_both_markets_trade():
    (found,) = rank([price("A", "IRON", 100, 95), price("B", "IRON", 130, 120)], PLACES, 10)
    assert (found.units, found.profit, found.margin) == (20, 400, 20)


def test_each_opportunity_gets_the_closest_free_ship_and_a_lane_one():
    best, next_one = opportunity("IRON", "C", "A"), opportunity("COPPER", "A", "B")
    ships = [hull("S1", "A"), hull("S2", "B"), hull("S3", "D")]
    pairs = assign([best, best, next_one], ships, PLACES, set())
    assert [(each.good, ship.symbol) for each, ship in pairs] == [("IRON", "S2"), ("COPPER", "S1")]
    assert [ship.symbol for _, ship in assign([best, next_one], ships, PLACES, {best.lane})] == ["S1"]
    assert assign([best], [hull("S4", "X2-FAR")], PLACES, set()) == []


def test_nobody_is_sent_for_what_may_not_be_bought_but_to_sell_what_is_aboard():
    dear, cheap = replace(opportunity("GOLD", "A", "B"), buy_price=900), opportunity("IRON", "A", "B")
    ships = [hull("S1", "A"), hull("S2", "B")]
    assert sendable([dear, cheap], ships, most=899, laden={"S2"}) == ([cheap], ships)
    assert sendable([dear, cheap], ships, most=9, laden=set()) == ([dear, cheap], [])
    assert sendable([dear, cheap], ships, most=9, laden={"S2"}) == ([dear, cheap], ships[1:])


def test_haulers_carry_and_without_any_whoever_can():
    fleet = [hull("S1", "A", "COMMAND"), hull("S2", "A"), hull("S3", "A", "SATELLITE", 0)]
    assert [each.symbol for each in carriers(fleet, [])] == ["S2"]
    assert [each.symbol for each in carriers([fleet[0], fleet[2]], [])] == ["S1"]
    assert [each.symbol for each in carriers(fleet, ["S1", "S3"])] == ["S1"]


def test_a_large_fleet_is_listed_more_seldom():
    assert [paced(15, count) for count in (0, 20, 21, 80, 81, 200)] == [15, 15, 15, 15, 20, 45]
    assert paced(0.5, 20) == 0.5


def test_markets_are_split_so_that_each_is_on_one_tour():
    tours = split(["A", "B", "C", "D"], {"P1": "A", "P2": "D"}, PLACES)
    assert tours == {"P1": ["A", "B", "C"], "P2": ["D"]}
    assert fits(tours, ["P1", "P2"], ["A", "B", "C", "D"])
    assert not fits(tours, ["P1"], ["A", "B", "C", "D"])
    assert not fits(tours, ["P1", "P2"], ["A", "B", "C", "D", "E"])


def test_more_probes_than_markets_look_twice_and_none_at_nothing():
    assert split(["A"], {"P1": "A", "P2": "B"}, PLACES) == {"P1": ["A"], "P2": ["A"]}
    assert split([], {"P1": "A"}, PLACES) == {"P1": []}
    assert split(["A"], {}, PLACES) == {}


@pytest.mark.parametrize("seed", range(1, 9))
def test_what_a_scout_has_seen_is_fresh_until_it_comes_by_again_in_real_time(seed):
    universe = Universe(Plan(seed=seed), Clock(compression=1))
    places = {each.symbol: each.end() for each in universe.galaxy.waypoints.values()}
    home = universe.galaxy.headquarters.symbol
    tours = split(sorted(universe.galaxy.markets), {"P1": home, "P2": home}, places)
    for tour in tours.values():
        legs = zip(tour, [*tour[1:], tour[0]], strict=True)
        assert sum(seconds(distance(places[one], places[other]), PROBE.speed) for one, other in legs) + EVERY < FRESH


@pytest.mark.parametrize(("here", "first"), [("B", "B"), ("D", "C"), ("X9-FAR", "A")])
def test_a_tour_goes_on_where_the_ship_is(here, first):
    tour = rotated(["A", "B", "C"], here, PLACES)
    assert tour[0] == first
    assert sorted(tour) == ["A", "B", "C"]


def test_the_api_calls_purchase_what_we_pay():
    good = {"symbol": "IRON", "purchasePrice": 110, "sellPrice": 90, "tradeVolume": 20, "supply": "HIGH"}
    (seen,) = seen_in({"symbol": "A", "tradeGoods": [good]})
    assert (seen.buy, seen.sell, seen.activity) == (110, 90, None)
    assert seen.seen_at <= datetime.now(UTC)
    assert seen_in({"symbol": "A"}) == [], "nobody of ours is there"


def test_the_cheapest_and_the_dearest_market():
    seen = [price("A", "IRON", 100, 95), price("B", "IRON", 90, 80), price("C", "COPPER", 1, 999)]
    assert cheapest(seen, "IRON").waypoint == "B"
    assert dearest(seen, "IRON").waypoint == "A"
    assert cheapest(seen, "GOLD") is dearest(seen, "GOLD") is None


def test_more_is_set_aside_than_was_asked_and_never_less():
    assert set_aside(10, 100) == 1100
    assert set_aside(1, 1) == 2
    assert str(Overspent(5, 3)) == "5 credits are more than the 3 that may be spent now"


def test_a_flight_takes_as_long_as_the_api_says_by_whatever_clock():
    route = {"departureTime": "2020-01-01T00:00:00.000Z", "arrival": "2020-01-01T00:01:30.500Z"}
    assert duration({"nav": {"route": route}}) == 90.5


def test_a_ship_that_should_have_arrived_by_our_clock_is_asked_ever_more_seldom():
    arrival, asked = datetime(2026, 1, 1, tzinfo=UTC), []
    at = arrival - timedelta(seconds=20)
    while at < arrival + timedelta(seconds=60):
        asked.append(until(arrival, at))
        at += timedelta(seconds=asked[-1])
    assert asked == [20, 1, 1, 2, 4, 8, 16, 32]


def test_a_ship_after_an_answer_is_as_the_answer_says():
    ship = {"cargo": {"inventory": [{"symbol": "IRON", "units": 3}]}, "fuel": 1, "nav": 2}
    assert aboard(ship, "IRON") == 3
    assert aboard(ship, "GOLD") == 0
    assert after(ship, {"fuel": 9, "agent": 1}) == {**ship, "fuel": 9}


@pytest.mark.parametrize("name", ["FLEET_URL", "FLEET_TOKEN"])
def test_the_job_takes_a_universe_that_runs_with_its_address_and_a_token(monkeypatch, name):
    """With one of them it would fly in a universe of its own, and nobody would notice."""
    for each in ("FLEET_URL", "FLEET_TOKEN"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:1/v2")
    with pytest.raises(Refusal, match=f"only {name} is set"), fleet.universe(fleet.parse([])):
        pass

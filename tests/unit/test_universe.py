"""The mechanics of the fleet's universe, by a clock that is moved by hand."""

import json
import pickle
from datetime import datetime
from itertools import pairwise
from random import Random

import httpx
import pytest

from workers.fleet import route
from workers.fleet.client import ORDER, QUESTION, InTurn, answer_of, asked_wait
from workers.fleet.errors import NotConfigured, Refused, Unreachable
from workers.fleet.settings import Settings
from workers.fleet.universe import trade
from workers.fleet.universe.clock import Clock, stamp
from workers.fleet.universe.contract import offer
from workers.fleet.universe.error import Code, Refusal
from workers.fleet.universe.fault import Fault, Faults
from workers.fleet.universe.rate import Allowance
from workers.fleet.universe.world import Plan, Universe

START = 1_700_000_000.0
HOUR = 3600.0
SEEDS = range(1, 6)


class Hand:
    """A clock's source that stands still until it is moved."""

    def __init__(self):
        self.at = START

    def __call__(self):
        return self.at

    def move(self, seconds):
        self.at += seconds


class Game:
    """One agent in a universe, with short words for what it does."""

    def __init__(self, compression=1.0, floor=0.0, **plan):
        self.hand = Hand()
        self.universe = Universe(Plan(**plan), Clock(compression, floor, self.hand))
        self.galaxy = self.universe.galaxy
        self.agent = self.universe.register("TORWINDO")
        self.frigate, self.freighter, *_ = self.agent.ships.values()
        self.probe = list(self.agent.ships.values())[-1]

    def fly(self, ship, waypoint):
        """Arrived and docked; its tank is filled by hand, for not every market sells fuel."""
        ship.fuel = ship.model.tank
        if ship.waypoint.symbol != waypoint:
            ship.orbit()
            ship.navigate(self.galaxy.waypoint(waypoint))
            self.hand.move(ship.arrival - self.hand.at)
        ship.dock()

    def buy(self, ship, good, units):
        return trade.purchase(self.galaxy, self.agent, ship, good, units)

    def sell(self, ship, good, units):
        return trade.sell(self.galaxy, self.agent, ship, good, units)

    def spread(self):
        """The best one: a good, where it is made, where it is needed."""
        markets = self.galaxy.markets.values()
        pairs = [
            (there.prices(good)[1] / here.prices(good)[0], good, here.symbol, there.symbol)
            for here in markets
            for there in markets
            for good in here.listings.keys() & there.listings.keys()
            if here.listings[good].kind == "EXPORT" and there.listings[good].kind == "IMPORT"
        ]
        return max(pairs)[1:]

    def trip(self, good, here, there):
        """One trade volume bought and sold; what it brought."""
        units = min(self.galaxy.markets[place].listings[good].volume for place in (here, there))
        self.fly(self.freighter, here)
        cost = self.buy(self.freighter, good, units)["totalPrice"]
        self.fly(self.freighter, there)
        return self.sell(self.freighter, good, units)["totalPrice"] - cost

    def contents(self):
        """All that a client could read, but for the times."""
        markets = [market.as_json(seen=True) for market in self.galaxy.markets.values()]
        waypoints = [waypoint.as_json() for waypoint in self.galaxy.waypoints.values()]
        return json.dumps([markets, waypoints, [item.as_json() for item in self.agent.contracts.values()]])


@pytest.fixture
def game():
    return Game()


def refused(code, deed, *arguments):
    with pytest.raises(Refusal) as refusal:
        deed(*arguments)
    assert refusal.value.code == code
    return refusal.value


@pytest.mark.parametrize(
    ("length", "speed", "mode", "expected"),
    [
        (100, 30, "CRUISE", 98),
        (100, 30, "BURN", 57),
        (100, 30, "DRIFT", 848),
        (100, 30, "STEALTH", 115),
        (0, 25, "CRUISE", 16),  # a moon's way is one unit long
        (10.4, 3, "CRUISE", 98),
        (1, 10, "CRUISE", 18),  # 2.5: up, not to the even neighbour
    ],
)
def test_the_time_of_a_flight(length, speed, mode, expected):
    assert route.seconds(length, speed, mode) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [("2", 2.0), ("0.75", 0.75), ("", 0.0), ("-1", 0.0), ("nan", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)],
)
def test_how_long_the_api_asks_to_wait(header, expected):
    assert asked_wait(header) == expected


def test_where_the_api_is_overloaded_pauses_grow_until_it_answers():
    turn = InTurn(None, patience=5)
    answers = [503, 502, 429, 504, 503, 500, 429, 429, 429, 429, 429, 200, 429, 409]
    expected = [5, 10, 20, 0, 5, 0, 5, 10, 20, 40, 60, 0, 5, 0]
    assert [turn._wait(httpx.Response(status)) for status in answers] == expected
    assert turn._wait(httpx.Response(429, headers={"Retry-After": "7"})) == 7
    assert turn._wait(httpx.Response(429, headers={"Retry-After": "3600"})) == 60
    assert turn._wait(httpx.Response(503, headers={"Retry-After": "7"})) == 5


@pytest.mark.parametrize("retry", [QUESTION, ORDER])
def test_a_wait_that_the_api_asks_for_is_left_to_the_limit(retry, caplog):
    """The library knows no fraction, and would warn of it."""
    response = httpx.Response(429, headers={"Retry-After": "0.75"})
    assert retry._calculate_sleep(response.headers) == 0
    assert not caplog.records


@pytest.mark.parametrize(("mode", "expected"), [("CRUISE", 21), ("STEALTH", 21), ("BURN", 42), ("DRIFT", 1)])
def test_the_fuel_of_a_flight(mode, expected):
    assert route.fuel(20.5, mode) == expected
    assert route.fuel(0, mode) >= 1


def test_the_distance_is_that_of_the_crow():
    assert route.distance({"x": 1, "y": 2}, {"x": 4, "y": -2}) == 5


def test_the_system_of_a_waypoint():
    assert route.system_of("X1-UA42-B7") == "X1-UA42"


@pytest.mark.parametrize("seed", SEEDS)
def test_one_seed_makes_one_universe(seed):
    assert Game(seed=seed).contents() == Game(seed=seed).contents()
    assert Game(seed=seed).agent.token == Game(seed=seed).agent.token


def test_a_token_ends_with_its_universe():
    game, hand = Game(), Hand()
    hand.move(1)
    again = Universe(Plan(), Clock(1.0, 0.0, hand))
    again.register("TORWINDO")
    with pytest.raises(Refusal, match="not of this universe"):
        again.agent(f"Bearer {game.agent.token}")


def test_another_seed_makes_another_one():
    assert len({Game(seed=seed).contents() for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_one_market_makes_another_one_needs(seed):
    markets = Game(seed=seed).galaxy.markets.values()
    of = {
        kind: {good for market in markets for good, item in market.listings.items() if item.kind == kind}
        for kind in ("EXPORT", "IMPORT")
    }
    assert of["EXPORT"] == of["IMPORT"]


@pytest.mark.parametrize("seed", SEEDS)
def test_we_pay_more_than_we_receive_everywhere(seed):
    for market in Game(seed=seed).galaxy.markets.values():
        for good in market.listings:
            pay, receive = market.prices(good)
            assert pay > receive > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_spread_that_is_traded_twenty_times_closes(seed):
    game = Game(seed=seed)
    good, here, there = game.spread()
    profits = [game.trip(good, here, there) for _ in range(20)]
    assert profits[0] > 0
    assert profits[-1] < 0
    assert game.galaxy.markets[there].prices(good)[1] < game.galaxy.markets[here].prices(good)[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_who_does_not_look_at_margins_loses_money(seed):
    game = Game(seed=seed, credits=10_000_000)
    good, here, there = game.spread()
    for _ in range(60):
        game.trip(good, here, there)
    assert game.agent.credits < 10_000_000


def test_prices_recover(game):
    good, here, there = game.spread()
    fair = game.galaxy.markets[here].prices(good)
    for _ in range(5):
        game.trip(good, here, there)
    raised = game.galaxy.markets[here].prices(good)
    assert raised > fair
    game.hand.move(HOUR)
    assert fair < game.galaxy.markets[here].prices(good) < raised
    game.hand.move(200 * HOUR)
    assert game.galaxy.markets[here].prices(good) == fair


def test_what_is_bought_grows_scarce():
    game = Game(credits=10_000_000)
    good, here, _ = game.spread()
    game.fly(game.freighter, here)
    market, seen = game.galaxy.markets[here], []
    for _ in range(40):
        seen.append({item["symbol"]: item["supply"] for item in market.as_json(seen=True)["tradeGoods"]}[good])
        units = market.listings[good].volume
        game.buy(game.freighter, good, units)
        trade.jettison(game.freighter, good, units)
    assert list(dict.fromkeys(seen)) == ["HIGH", "MODERATE", "LIMITED", "SCARCE"]


def test_a_trade_is_no_larger_than_the_trade_volume(game):
    good, here, _ = game.spread()
    game.fly(game.freighter, here)
    volume = game.galaxy.markets[here].listings[good].volume
    refusal = refused(Code.TRADE_VOLUME, game.buy, game.freighter, good, volume + 1)
    assert refusal.data["tradeVolume"] == volume
    refused(Code.TRADE_VOLUME, game.sell, game.freighter, good, volume + 1)


def test_what_is_refused_changes_nothing(game):
    good, here, _ = game.spread()
    game.fly(game.freighter, here)
    game.agent.credits = 0
    before = game.contents()
    refused(Code.CREDITS, game.buy, game.freighter, good, 1)
    refused(Code.CARGO_MISSING, game.sell, game.freighter, good, 1)
    refused(Code.NOT_SOLD, game.buy, game.freighter, "ANTIMATTER", 1)
    refused(Code.NOT_BOUGHT, game.sell, game.freighter, "ANTIMATTER", 1)
    refused(Code.CARGO_EXCEEDS, game.buy, game.probe, "FUEL", 1)
    assert (game.contents(), game.agent.credits, game.freighter.cargo) == (before, 0, {})


def test_cargo_that_is_not_there_cannot_be_given_away(game):
    game.buy(game.freighter, "FUEL", 3)
    refused(Code.CARGO_UNITS, game.sell, game.freighter, "FUEL", 4)
    refused(Code.CARGO_UNITS, trade.jettison, game.freighter, "FUEL", 4)
    trade.jettison(game.freighter, "FUEL", 3)
    assert game.freighter.cargo_json() == {"capacity": 80, "units": 0, "inventory": []}


def test_trade_wants_a_dock(game):
    game.freighter.orbit()
    for deed in (game.buy, game.sell):
        refused(Code.NOT_DOCKED, deed, game.freighter, "FUEL", 1)
    refused(Code.NOT_DOCKED, trade.refuel, game.galaxy, game.agent, game.freighter, None)


def test_barren_places_sell_nothing(game):
    barren = next(place for place in game.galaxy.waypoints.values() if place.symbol not in game.galaxy.markets)
    game.freighter.waypoint = barren
    refused(Code.NO_MARKET, game.buy, game.freighter, "FUEL", 1)
    refused(Code.NO_FUEL_SOLD, trade.refuel, game.galaxy, game.agent, game.freighter, None)


def test_not_every_market_sells_fuel(game):
    dry = [symbol for symbol, market in game.galaxy.markets.items() if "FUEL" not in market.listings]
    assert len(dry) == 3
    assert game.galaxy.headquarters.symbol not in dry
    game.freighter.fuel, game.freighter.waypoint = 1, game.galaxy.waypoint(dry[0])
    assert refused(Code.NOT_SOLD, trade.refuel, game.galaxy, game.agent, game.freighter, None).code == 4601
    assert (game.freighter.fuel, game.agent.credits) == (1, 175_000)
    refused(Code.NOT_SOLD, game.buy, game.freighter, "FUEL", 1)
    assert refused(Code.NOT_BOUGHT, game.sell, game.freighter, "FUEL", 1).code == 4602


def test_a_fuel_station_sells_fuel_and_nothing_else(game):
    (station,) = [place for place in game.galaxy.waypoints.values() if place.type == "FUEL_STATION"]
    shown = game.galaxy.market(station.symbol).as_json(seen=False)
    assert (shown["exports"], shown["imports"]) == ([], [])
    assert [good["symbol"] for good in shown["exchange"]] == ["FUEL"]
    game.freighter.waypoint, game.freighter.fuel = station, 500
    assert trade.refuel(game.galaxy, game.agent, game.freighter, None)["units"] == 1
    assert not [place for place in Game(waypoints=12).galaxy.waypoints.values() if place.type == "FUEL_STATION"]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_contract_is_delivered_at_a_fuel_station(seed):
    galaxy, chance = Game(seed=seed).galaxy, Random(seed)
    destinations = {offer("A", number, chance, galaxy, Clock()).destination for number in range(300)}
    assert destinations == set(galaxy.towns)
    assert len(galaxy.towns) == len(galaxy.markets) - 1


def test_a_moon_is_where_its_planet_is(game):
    places = list(game.galaxy.waypoints.values())
    moons = [(each, moon) for each, moon in pairwise(places) if (each.x, each.y) == (moon.x, moon.y)]
    assert len(moons) == 3
    planet, moon = moons[0]
    game.freighter.waypoint = planet
    game.freighter.orbit()
    game.freighter.navigate(moon)
    assert game.freighter.arrival == START + 17  # by the API's formula: 15 and 25 / 15
    assert game.freighter.fuel == 599


def test_a_flight_takes_its_time_and_its_fuel(game):
    home, goal = list(game.galaxy.waypoints.values())[:2]
    length = route.distance(home.end(), goal.end())
    refused(Code.NOT_IN_ORBIT, game.freighter.navigate, goal)
    game.freighter.orbit()
    refused(Code.ALREADY_THERE, game.freighter.navigate, home)
    game.freighter.navigate(goal)
    assert game.freighter.nav_json()["waypointSymbol"] == goal.symbol
    assert game.freighter.fuel == 600 - route.fuel(length)
    assert game.freighter.arrival == START + route.seconds(length, 15)
    for deed in (game.freighter.dock, game.freighter.orbit):
        refused(Code.IN_TRANSIT, deed)
    refused(Code.IN_TRANSIT, game.freighter.navigate, home)
    refused(Code.IN_TRANSIT, game.buy, game.freighter, "FUEL", 1)
    game.hand.move(route.seconds(length, 15))
    assert game.freighter.status == "IN_ORBIT"


def test_time_is_compressed_down_to_a_floor():
    game = Game(compression=100.0, floor=0.5)
    home, goal = list(game.galaxy.waypoints.values())[:2]
    game.freighter.orbit()
    game.freighter.navigate(goal)
    expected = route.seconds(route.distance(home.end(), goal.end()), 15) / 100
    assert expected > 0.5
    assert game.freighter.arrival == START + expected
    assert game.universe.clock.after(15) == START + 0.5


def test_a_flight_without_enough_fuel_is_refused(game):
    goal = list(game.galaxy.waypoints.values())[1]
    game.freighter.orbit()
    game.freighter.fuel = 5
    refused(Code.FUEL, game.freighter.navigate, goal)
    game.freighter.set_mode("DRIFT")
    game.freighter.navigate(goal)
    assert game.freighter.fuel == 4


def test_a_probe_burns_nothing(game):
    game.probe.orbit()
    game.probe.navigate(list(game.galaxy.waypoints.values())[1])
    assert game.probe.fuel_json()["current"] == 0


@pytest.mark.parametrize(
    ("fuel", "units", "bought", "after"), [(350, None, 3, 600), (350, 120, 2, 470), (600, None, 0, 600)]
)
def test_a_market_unit_is_a_hundred_of_the_tank(game, fuel, units, bought, after):
    game.freighter.fuel = fuel
    transaction = trade.refuel(game.galaxy, game.agent, game.freighter, units)
    assert transaction["units"] == bought
    assert game.agent.credits == 175_000 - transaction["totalPrice"]
    assert game.freighter.fuel == after


def test_prices_are_seen_by_who_is_there(game):
    home, goal = list(game.galaxy.markets)[:2]
    assert game.agent.present(home)
    assert not game.agent.present(goal)
    game.probe.orbit()
    game.probe.navigate(game.galaxy.waypoint(goal))
    assert not game.agent.present(goal)
    game.hand.move(game.probe.arrival - START)
    assert game.agent.present(goal)
    assert "tradeGoods" not in game.galaxy.market(goal).as_json(seen=False)


def test_a_contract_from_offer_to_payment(game):
    (contract,) = game.agent.contracts.values()
    refused(Code.HAS_CONTRACT, game.agent.negotiate)
    refused(Code.NOT_ACCEPTED, contract.fulfill)
    assert contract.accept() == contract.advance
    refused(Code.ALREADY_ACCEPTED, contract.accept)
    ship = game.freighter
    ship.waypoint = game.galaxy.waypoint(contract.destination)
    ship.cargo = {contract.good: contract.units + 1, "FUEL": 1}
    refused(Code.NOT_IN_TERMS, trade.deliver, contract, ship, "FUEL", 1)
    refused(Code.DELIVERED, trade.deliver, contract, ship, contract.good, contract.units + 1)
    trade.deliver(contract, ship, contract.good, contract.units - 1)
    refused(Code.NOT_DELIVERED, contract.fulfill)
    trade.deliver(contract, ship, contract.good, 1)
    assert ship.cargo == {contract.good: 1, "FUEL": 1}
    assert contract.fulfill() == contract.reward
    refused(Code.ALREADY_FULFILLED, contract.fulfill)
    assert game.agent.negotiate().id != contract.id


def test_a_contract_is_delivered_where_it_says(game):
    (contract,) = game.agent.contracts.values()
    contract.accept()
    elsewhere = next(symbol for symbol in game.galaxy.markets if symbol != contract.destination)
    game.freighter.waypoint, game.freighter.cargo = game.galaxy.waypoint(elsewhere), {contract.good: 1}
    refused(Code.WRONG_DESTINATION, trade.deliver, contract, game.freighter, contract.good, 1)


def test_contracts_whose_time_is_over_are_in_nobodys_way(game):
    (first,) = game.agent.contracts.values()
    game.hand.move(25 * HOUR)
    refused(Code.DEADLINE, first.accept)
    second = game.agent.negotiate()
    second.accept()
    game.hand.move(6 * 24 * HOUR)
    refused(Code.HAS_CONTRACT, game.agent.negotiate)
    game.hand.move(24 * HOUR)
    refused(Code.DEADLINE, second.fulfill)
    game.agent.negotiate()


def test_when_a_contract_is_to_be_accepted_need_not_be_told_twice(game):
    first, second = (offer("A", number, Random(1), game.galaxy, game.universe.clock).as_json() for number in (1, 2))
    assert first["deadlineToAccept"] == first["expiration"] == second["expiration"]
    assert "deadlineToAccept" not in second


@pytest.mark.parametrize("seed", SEEDS)
def test_contracts_pay_more_than_their_goods_cost(seed):
    game = Game(seed=seed)
    (contract,) = game.agent.contracts.values()
    cheapest = min(
        market.prices(contract.good)[0] for market in game.galaxy.markets.values() if contract.good in market.listings
    )
    assert contract.advance + contract.reward > cheapest * contract.units


def test_who_has_no_token_is_told_so(game):
    refused(Code.TOKEN_MISSING, game.universe.agent, "")
    refused(Code.TOKEN_INVALID, game.universe.agent, "Bearer somebody")
    refused(Code.TOKEN_OUTDATED, game.universe.agent, f"Bearer {'0' * 64}")
    assert game.universe.agent(f"Bearer {game.agent.token}") is game.agent


def test_a_symbol_is_registered_once(game):
    refused(Code.SYMBOL_TAKEN, game.universe.register, "TORWINDO")
    refused(Code.INVALID, game.universe.register, "no")


def test_ships_are_numbered_as_the_api_does():
    assert list(Game(ships=10, probes=0).agent.ships)[-2:] == ["TORWINDO-A", "TORWINDO-B"]


def test_an_allowance_is_a_rate_and_a_spare():
    allowance = Allowance.full(rate=2.0, burst=3, now=0.0)
    for _ in range(5):
        allowance.take(0.0)
    assert refused(Code.BUSY, allowance.take, 0.0).data["retryAfter"] == 1
    allowance.take(0.5)
    refused(Code.BUSY, allowance.take, 0.5)
    for _ in range(2 + 3):
        allowance.take(61.0)
    refused(Code.BUSY, allowance.take, 61.0)


def test_faults_strike_as_often_as_told():
    faults = Faults()
    faults.add(Fault.told({"method": "POST", "path": "/v2/my/ships/*/sell", "times": 2, "status": 503}))
    faults.add(Fault.told({"method": "POST", "path": "*", "lost": True}))
    assert faults.take("GET", "/v2/my/ships/A-1/sell") is None
    assert [faults.take("POST", "/v2/my/ships/A-1/sell").status for _ in range(3)] == [503, 503, None]
    assert faults.take("POST", "/v2/my/ships/A-1/sell") is None
    refused(Code.INVALID, Fault.told, {"methods": "POST"})


GIVEN = {"FLEET_URL": "http://127.0.0.1:1/v2", "FLEET_TOKEN": "secret", "REDIS_URL": "redis://:hidden@127.0.0.1/0"}


def test_settings_come_from_the_environment():
    settings = Settings.from_environment({**GIVEN, "FLEET_RATE": "0.5", "FLEET_BURST": "7"})
    assert (settings.url, settings.rate, settings.burst) == (GIVEN["FLEET_URL"], 0.5, 7)
    assert settings.redis_url == GIVEN["REDIS_URL"]
    assert not any(secret in repr(settings) for secret in ("secret", "hidden"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"FLEET_URL": ""}, "Set FLEET_URL: the API"),
        ({"FLEET_TOKEN": ""}, "Set FLEET_TOKEN: the agent's token"),
        ({"FLEET_RATE": "fast"}, "FLEET_RATE is no number: 'fast'"),
        ({"FLEET_RATE": "0"}, "FLEET_RATE must be above 0"),
        ({"FLEET_PATIENCE": "-1"}, "FLEET_PATIENCE must be above 0"),
        ({"FLEET_URL": "api.spacetraders.io/v2"}, "FLEET_URL must begin with http:// or https://, not 'api"),
        ({"REDIS_URL": "amqp://127.0.0.1"}, "Set REDIS_URL to a Redis"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(given, message):
    with pytest.raises(NotConfigured, match=message):
        Settings.from_environment({**GIVEN, **given})


FASTIFY = {"message": "Route GET:/v2/x not found", "error": "Not Found", "statusCode": 404, "code": "FST_ERR"}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": {"message": "Short.", "code": 4600, "data": {"units": 2}}}, (4600, "Short.", {"units": 2})),
        (422, {"error": {"message": "Short.", "code": 422, "data": ["units"]}}, (422, "Short.", {})),
        (404, FASTIFY, (404, FASTIFY["message"], {})),
        (409, {"error": {"message": "Taken.", "code": 4111}}, (4111, "Taken.", {})),
        (404, ["no"], (404, "GET /x", {})),
        (404, "no", (404, "GET /x", {})),
        (404, {"error": None}, (404, "GET /x", {})),
    ],
)
def test_a_refusal_says_what_is_known_of_it(status, body, expected):
    with pytest.raises(Refused) as refusal:
        answer_of(httpx.Response(status, json=body), "GET /x")
    assert (refusal.value.code, refusal.value.message, refusal.value.data) == expected


def test_a_ship_that_another_request_has_locked_is_no_final_no():
    body = {"error": {"message": "Ship A is currently locked while processing another request.", "code": 409}}
    with pytest.raises(Unreachable, match="GET /x: Ship A is currently locked"):
        answer_of(httpx.Response(409, json=body), "GET /x")


def test_a_refusal_survives_a_pickle():
    error = pickle.loads(pickle.dumps(Refused(4214, "In flight.", {"arrival": "soon"})))
    assert (error.code, error.message, error.data, str(error)) == (
        4214,
        "In flight.",
        {"arrival": "soon"},
        "In flight. (4214)",
    )


@pytest.mark.parametrize("seconds", [0.1, 1 / 3, 12.3456, 86.4001])
def test_who_waits_until_the_time_that_was_told_is_not_too_early(seconds):
    arrival = Clock(compression=100_000, source=Hand()).after(seconds)
    assert datetime.fromisoformat(stamp(arrival)).timestamp() >= arrival

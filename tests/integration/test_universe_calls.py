"""The fleet's client and a universe in a process of its own, over real sockets."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from itertools import count

import httpx
import pytest

from job.servers import free_port
from tests.universes import UniverseServer
from workers.fleet import client as clients
from workers.fleet.client import Client
from workers.fleet.errors import NotConfigured, NotSent, Refused, Unreachable
from workers.fleet.limit import Limit

SHIP = "TORWINDO-2"
NUMBERS = count(1)
ANOTHER_PROCESS = """
import sys
from workers.fleet.client import client
for _ in range(int(sys.argv[1])):
    client().agent()
"""


@pytest.fixture(scope="module")
def universe(valkey):
    with UniverseServer(valkey.url, ships=30, credits=1_000_000, recovery=1e9) as server:
        yield server


@pytest.fixture(scope="module")
def strict(valkey):
    """Lets one call a second pass, of each account."""
    with UniverseServer(valkey.url_of(4), rate=1, burst=0) as server:
        yield server


@pytest.fixture
def token(universe):
    """An agent for each test: they share the universe, and no more."""
    return universe.register(f"AGENT-{next(NUMBERS)}")


@pytest.fixture
def api(universe, token):
    api = universe.client(token)
    yield api
    api.close()


@pytest.fixture
def ship(api):
    return api.ships()[1]["symbol"]


def markets(api, ship):
    """Where the ship is, and the next market."""
    here = api.ship(ship)["nav"]
    return here["waypointSymbol"], next(
        place["symbol"]
        for place in api.waypoints(here["systemSymbol"], "MARKETPLACE")
        if place["symbol"] != here["waypointSymbol"]
    )


def arrive(api, ship, waypoint):
    """Docked there, with a full tank if fuel is sold."""
    if api.ship(ship)["nav"]["waypointSymbol"] != waypoint:
        api.orbit(ship)
        arrival = depart(api, ship, waypoint)["nav"]["route"]["arrival"]
        time.sleep(max(0, datetime.fromisoformat(arrival).timestamp() - time.time()))
    api.dock(ship)
    if "FUEL" in [good["symbol"] for good in api.market(waypoint)["exchange"]]:
        api.refuel(ship)


def depart(api, ship, waypoint):
    """Drifting, where the fuel is too little for a cruise."""
    try:
        return api.navigate(ship, waypoint)
    except Refused:
        api.flight_mode(ship, "DRIFT")
        return api.navigate(ship, waypoint)


def purchases(universe, ship):
    return universe.calls("POST", f"/{ship}/purchase")


def refused(code, call, *arguments):
    with pytest.raises(Refused) as refusal:
        call(*arguments)
    assert refusal.value.code == code
    return refusal.value


def test_all_ships_are_listed_however_many_pages_they_fill(api):
    ships = api.ships()
    assert len({ship["symbol"] for ship in ships}) == len(ships) == api.agent()["shipCount"] == 33


def test_waypoints_are_found_by_their_trait(api):
    system = api.ships()[0]["nav"]["systemSymbol"]
    assert len(api.waypoints(system, "MARKETPLACE")) == 13
    assert len(api.waypoints(system)) == 16


def test_a_flight_ends_at_its_arrival(api, ship):
    _, goal = markets(api, ship)
    api.orbit(ship)
    answer = api.navigate(ship, goal)
    assert answer["nav"]["status"] == "IN_TRANSIT"
    assert answer["fuel"]["current"] < answer["fuel"]["capacity"]
    assert refused(4214, api.navigate, ship, goal).data["destinationSymbol"] == goal
    arrival = datetime.fromisoformat(answer["nav"]["route"]["arrival"]).timestamp()
    time.sleep(max(0, arrival - time.time()))
    assert api.ship(ship)["nav"]["status"] == "IN_ORBIT"


def test_a_flight_mode_is_kept(api, ship):
    assert api.flight_mode(ship, "DRIFT")["nav"]["flightMode"] == "DRIFT"
    assert api.ship(ship)["nav"]["flightMode"] == "DRIFT"
    refused(422, api.flight_mode, ship, "WARP")


def test_prices_are_invisible_without_a_ship_there(api, ship):
    home, goal = markets(api, ship)
    assert "tradeGoods" in api.market(home)
    assert "tradeGoods" not in api.market(goal)
    assert api.market(goal)["exports"]
    arrive(api, ship, goal)
    assert api.market(goal)["tradeGoods"]


def test_what_is_bought_is_paid_and_aboard(api, ship):
    home, _ = markets(api, ship)
    good = api.market(home)["tradeGoods"][0]
    answer = api.purchase(ship, good["symbol"], 5)
    assert answer["transaction"]["totalPrice"] == 5 * good["purchasePrice"]
    assert answer["agent"]["credits"] == 1_000_000 - 5 * good["purchasePrice"] == api.agent()["credits"]
    assert [(item["symbol"], item["units"]) for item in answer["cargo"]["inventory"]] == [(good["symbol"], 5)]
    answer = api.sell(ship, good["symbol"], 3)
    assert answer["cargo"]["units"] == 2
    assert answer["transaction"]["pricePerUnit"] < good["purchasePrice"]
    assert api.jettison(ship, good["symbol"], 2)["cargo"]["units"] == 0
    assert refused(4604, api.purchase, ship, good["symbol"], 81).data["tradeVolume"] == good["tradeVolume"]


def test_a_contract_is_worked_off(api, ship):
    (offer,) = api.contracts()
    assert refused(4511, api.negotiate, ship).data == {"contractId": offer["id"]}
    assert api.accept(offer["id"])["agent"]["credits"] == 1_000_000 + offer["terms"]["payment"]["onAccepted"]
    (wanted,) = offer["terms"]["deliver"]
    refused(4502, api.fulfill, offer["id"])
    system = api.ship(ship)["nav"]["systemSymbol"]
    maker = next(
        place["symbol"]
        for place in api.waypoints(system, "MARKETPLACE")
        if wanted["tradeSymbol"] in [good["symbol"] for good in api.market(place["symbol"])["exports"]]
    )
    left = wanted["unitsRequired"]
    while left:
        arrive(api, ship, maker)
        while units := min(left, 20, free(api, ship)):
            api.purchase(ship, wanted["tradeSymbol"], units)
            left -= units
        arrive(api, ship, wanted["destinationSymbol"])
        api.deliver(offer["id"], ship, wanted["tradeSymbol"], api.ship(ship)["cargo"]["units"])
    assert api.contract(offer["id"])["terms"]["deliver"][0]["unitsFulfilled"] == wanted["unitsRequired"]
    assert api.fulfill(offer["id"])["contract"]["fulfilled"]
    arrive(api, ship, api.agent()["headquarters"])
    assert api.negotiate(ship)["contract"]["id"] != offer["id"]
    assert len(api.contracts()) == 2


def free(api, ship):
    cargo = api.ship(ship)["cargo"]
    return cargo["capacity"] - cargo["units"]


def test_a_worker_that_is_blind_to_margins_loses_money(valkey):
    with UniverseServer(valkey.url, compression=100_000, recovery=1e9, credits=10_000_000) as universe:
        api = universe.client()
        profits = blind(api, SHIP, trips=25)
    assert profits[0] > 0
    assert profits[19] < 0
    assert sum(profits) < 0


def blind(api, ship, trips):
    """Trades one good from where it is made to where it is needed, whatever it costs. What each trip brought."""
    places = api.waypoints(api.ship(ship)["nav"]["systemSymbol"], "MARKETPLACE")
    known = {place["symbol"]: api.market(place["symbol"]) for place in places}
    good, maker, taker = next(
        (good["symbol"], here, there)
        for here, market in known.items()
        for good in market["exports"]
        for there, other in known.items()
        if good in other["imports"]
    )
    profits = []
    for _ in range(trips):
        arrive(api, ship, maker)
        cost = api.purchase(ship, good, 20)["transaction"]["totalPrice"]
        arrive(api, ship, taker)
        profits.append(api.sell(ship, good, 20)["transaction"]["totalPrice"] - cost)
    return profits


def test_one_seed_serves_one_universe(universe, api, valkey):
    with UniverseServer(valkey.url, ships=30, recovery=1e9) as twin:
        other = twin.client()
        system = api.ships()[0]["nav"]["systemSymbol"]
        assert other.waypoints(system) == api.waypoints(system)
        home = api.agent()["headquarters"]
        assert other.market(home)["exports"] == api.market(home)["exports"]


def test_a_universe_that_starts_again_is_another_era(valkey):
    with UniverseServer(valkey.url) as universe:
        before, port = universe.client().status()["resetDate"], universe.url
        assert universe.stop() == 0
        universe.start()
        assert universe.url == port
        api = universe.client()
        assert api.status()["resetDate"] > before


def test_two_processes_keep_one_limit(universe, token, valkey):
    calls, rate, burst = 12, 8, 2
    environment = {
        **os.environ,
        "FLEET_URL": universe.url,
        "FLEET_TOKEN": token,
        "FLEET_RATE": str(rate),
        "FLEET_BURST": str(burst),
        "REDIS_URL": valkey.url_of(3),
    }
    before = len(universe.calls("GET", "/my/agent"))
    words = [sys.executable, "-c", ANOTHER_PROCESS, str(calls)]
    processes = [subprocess.Popen(words, env=environment) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    times = [call["at"] for call in universe.calls("GET", "/my/agent")[before:]]
    assert len(times) == 2 * calls
    # What was on its way may come together, so one or two more than the limit arrive at once.
    for number, start in enumerate(times):
        for sent, end in enumerate(times[number:], start=1):
            assert sent <= burst + rate * (end - start) + 2


def test_what_the_api_says_to_one_client_holds_for_all(strict):
    token = strict.register("FIRST")
    api = strict.client(token)
    api.agent()
    other = threading.Thread(target=api.agent)
    other.start()
    while not (limited := [call for call in strict.calls("GET", "/my/agent") if call["status"] == 429]):
        time.sleep(0.01)
    strict.client(token).ship("FIRST-2")
    other.join()
    (first, *_) = strict.calls("GET", "/FIRST-2")
    assert first["at"] - limited[0]["at"] >= 0.9


def test_an_order_that_the_limit_refused_is_sent_again(strict):
    api = strict.client(strict.register("SECOND"))
    api.agent()
    api.purchase("SECOND-2", "FUEL", 1)
    assert [call["status"] for call in strict.calls("POST", "/SECOND-2/purchase")] == [429, 201]
    assert api.ship("SECOND-2")["cargo"]["units"] == 1


def test_a_429_says_when_to_come_again(strict):
    token = {"Authorization": f"Bearer {strict.register('THIRD')}"}
    answers = [httpx.get(f"{strict.url}/my/agent", headers=token) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert answers[-1].json()["error"]["code"] == 429
    assert answers[-1].json()["error"]["data"]["retryAfter"] == 1


def test_a_purchase_whose_answer_is_lost_is_not_repeated(universe, api, ship):
    universe.fault("POST", f"/my/ships/{ship}/purchase", lost=True)
    with pytest.raises(Unreachable, match="purchase"):
        api.purchase(ship, "FUEL", 2)
    assert len(purchases(universe, ship)) == 1
    assert api.ship(ship)["cargo"]["units"] == 2


def test_an_order_that_takes_too_long_is_not_repeated(universe, token, ship):
    api = universe.client(token, read_timeout=0.3)
    universe.fault("POST", f"/my/ships/{ship}/purchase", delay=1.0)
    with pytest.raises(Unreachable, match="ReadTimeout"):
        api.purchase(ship, "FUEL", 2)
    assert len(purchases(universe, ship)) == 1
    assert api.ship(ship)["cargo"]["units"] == 2


@pytest.mark.parametrize("status", [500, 503])
def test_an_order_that_meets_trouble_is_not_repeated(universe, api, ship, status):
    universe.fault("POST", f"/my/ships/{ship}/purchase", status=status)
    with pytest.raises(Unreachable, match=str(status)):
        api.purchase(ship, "FUEL", 2)
    assert [call["status"] for call in purchases(universe, ship)] == [status]
    assert api.ship(ship)["cargo"]["units"] == 0


@pytest.mark.parametrize("fault", [{"lost": True}, {"status": 503}])
def test_a_question_is_asked_again(universe, api, ship, fault):
    universe.fault("GET", f"/my/ships/{ship}", times=2, **fault)
    assert api.ship(ship)["symbol"] == ship


def test_where_the_api_is_overloaded_all_wait(universe, token, ship, valkey):
    told = {"redis_url": valkey.url_of(5), "patience": 1.0}
    api, another = universe.client(token, **told), universe.client(token, **told)
    universe.fault("POST", f"/my/ships/{ship}/purchase", status=503)
    with pytest.raises(Unreachable, match="503"):
        api.purchase(ship, "FUEL", 1)
    another.contracts()
    (overloaded,), (next_one, *_) = purchases(universe, ship), reversed(universe.calls("GET", "/my/contracts"))
    assert next_one["at"] - overloaded["at"] > 0.99


def test_an_order_that_the_limit_refused_each_time_was_not_executed(universe, api, ship):
    universe.fault("POST", f"/my/ships/{ship}/purchase", times=4, status=429)
    with pytest.raises(NotSent, match="429"):
        api.purchase(ship, "FUEL", 1)
    assert len(purchases(universe, ship)) == 4
    assert api.ship(ship)["cargo"]["units"] == 0


def test_a_ship_that_is_locked_is_asked_again_and_given_no_second_order(universe, api, ship):
    universe.fault("GET", f"/my/ships/{ship}", times=2, status=409)
    assert api.ship(ship)["symbol"] == ship
    universe.fault("POST", f"/my/ships/{ship}/purchase", status=409)
    with pytest.raises(Unreachable, match="409"):
        api.purchase(ship, "FUEL", 1)
    assert len(purchases(universe, ship)) == 1


def test_a_token_that_is_refused_is_named_to_its_operator(universe):
    for token, code in ((f"{'0' * 64}", 4113), ("nobody", 4104)):
        refusal = refused(code, universe.client(token).agent)
        assert str(refusal).startswith("FLEET_TOKEN is refused: The token is n")
        assert "register the agent anew and set its new token" in str(refusal)


def test_a_ship_may_be_sent_into_orbit_twice(universe, api, ship):
    universe.fault("POST", f"/my/ships/{ship}/orbit", lost=True)
    assert api.orbit(ship)["nav"]["status"] == "IN_ORBIT"
    assert len(universe.calls("POST", f"/{ship}/orbit")) == 2
    universe.fault("POST", f"/my/ships/{ship}/dock", status=503)
    assert api.dock(ship)["nav"]["status"] == "DOCKED"


def test_a_universe_that_is_not_there_is_unreachable(valkey):
    with UniverseServer(valkey.url) as universe:
        api = universe.client()
        universe.process.signal(signal.SIGINT)
        assert universe.process.wait(5)
        assert universe.process.exit_code == 0
        with pytest.raises(NotSent, match="ConnectError"):
            api.purchase(SHIP, "FUEL", 1)
        with pytest.raises(Unreachable, match="ConnectError") as error:
            api.agent()
        assert type(error.value) is Unreachable, "it may have been heard at an earlier try"


def test_nothing_is_sent_without_the_redis_that_keeps_the_limit(universe, token):
    api = Client(universe.settings(token, redis_url=f"redis://:hidden@127.0.0.1:{free_port()}/0"))
    before = len(universe.calls())
    with pytest.raises(Unreachable, match=r"nothing was sent\. REDIS_URL says") as error:
        api.agent()
    assert "hidden" not in str(error.value)
    with pytest.raises(NotSent):
        api.purchase(SHIP, "FUEL", 1)
    assert len(universe.calls()) == before


def test_what_was_sent_is_not_called_back_when_a_pause_cannot_be_kept():
    limit = Limit(f"redis://127.0.0.1:{free_port()}/0", "turn", rate=1, burst=1)
    limit.hold(1)
    with pytest.raises(NotSent):
        limit.take()


def test_a_turn_that_is_too_far_away_is_not_waited_for(universe, token, valkey):
    api = Client(universe.settings(token, redis_url=valkey.url_of(7), rate=0.01, burst=1))
    api.agent()
    with pytest.raises(Unreachable, match="used up for 100 s; nothing was sent"):
        api.agent()
    with pytest.raises(NotSent, match="used up for 100 s; nothing was sent"):
        api.purchase(SHIP, "FUEL", 1)


def test_each_process_has_one_client(universe, token, valkey, monkeypatch):
    for name, value in {"FLEET_URL": universe.url, "FLEET_TOKEN": token, "REDIS_URL": valkey.url}.items():
        monkeypatch.setenv(name, value)
    ours = clients.client()
    assert clients.client() is ours
    child = os.fork()
    if not child:
        os._exit(7 if clients.client() is not ours else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_without_settings_there_is_no_client(monkeypatch):
    monkeypatch.delenv("FLEET_URL", raising=False)
    with pytest.raises(NotConfigured, match="Set FLEET_URL"):
        clients.client()


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ("DELETE /my/agent", 405),
        ("GET /my/ships?limit=21", 422),
        ("GET /my/ships?page=x", 422),
        ("GET /my/ships/NOBODY-1", 404),
        ("GET /systems/X9/waypoints", 404),
        ("POST /register", 422),
    ],
)
def test_what_is_asked_wrongly_is_answered_in_the_apis_way(universe, token, call, status):
    method, path = call.split()
    answer = httpx.request(method, universe.url + path, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)


def test_a_path_that_is_none_is_answered_without_an_envelope(universe, api):
    answer = httpx.get(f"{universe.url}/my/nothing?page=1")
    assert answer.json() == {
        "message": "Route GET:/v2/my/nothing?page=1 not found",
        "error": "Not Found",
        "statusCode": 404,
    }
    assert refused(404, api._ask, "/my/nothing").message == "Route GET:/v2/my/nothing not found"


@pytest.mark.parametrize("units", [0, -1, 1.5, True, "2", None])
def test_units_are_whole_numbers_above_zero(universe, api, ship, units):
    refused(422, api.purchase, ship, "FUEL", units)


@pytest.mark.parametrize(("authorization", "code"), [("", 4103), ("Bearer nobody", 4104), (f"Bearer {'0' * 64}", 4113)])
def test_who_has_no_token_gets_nothing(universe, authorization, code):
    answer = httpx.get(f"{universe.url}/my/agent", headers={"Authorization": authorization})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)

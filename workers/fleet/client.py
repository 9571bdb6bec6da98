"""The API, as pipelines call it."""

import os
import re
from functools import cache
from typing import Any, cast

import httpx
from httpx_retries import Retry, RetryTransport

from workers.fleet.errors import Refused, Unreachable
from workers.fleet.limit import Limit
from workers.fleet.route import system_of
from workers.fleet.settings import Settings
from workers.fleet.shapes import Agent, Cargo, Contract, Market, Ship, Waypoint

PAGE = 20  # the most that the API gives at once
WAITS = {"total": 3, "backoff_factor": 0.25, "backoff_jitter": 0.5, "max_backoff_wait": 10.0}
BUSY = httpx.codes.TOO_MANY_REQUESTS
# A question, and a wish that may be granted twice, is repeated whatever came of it; an order only if nobody heard it.
QUESTION = Retry(**WAITS, allowed_methods=["GET", "PATCH", "POST"])  # type: ignore[arg-type]
ORDER = Retry(
    **WAITS,  # type: ignore[arg-type]
    allowed_methods=["POST"],
    status_forcelist=[BUSY],
    retry_on_exceptions=[httpx.ConnectError, httpx.ConnectTimeout],
)


def asked_wait(header: str) -> float:
    """Seconds of a Retry-After, which the API gives with a fraction; none of a date or of nonsense."""
    return float(header) if re.fullmatch(r"\d+(\.\d+)?", header) else 0.0


class InTurn(httpx.BaseTransport):
    """Sends each request, also a repeated one, when its turn has come."""

    def __init__(self, limit: Limit) -> None:
        self._limit, self._transport = limit, httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._limit.take()
        response = self._transport.handle_request(request)
        wait = asked_wait(response.headers.get("Retry-After", ""))
        if response.status_code == BUSY and wait:
            self._limit.hold(min(wait, WAITS["max_backoff_wait"]))
        return response

    def close(self) -> None:
        self._transport.close()


class Client:
    """Methods return the answer's `data`; they raise Refused if the API says no, Unreachable if it says nothing."""

    def __init__(self, settings: Settings) -> None:
        limit = Limit(settings.redis_url, f"fleet:turn:{settings.url.rstrip('/')}", settings.rate, settings.burst)
        self._http = httpx.Client(
            base_url=settings.url,
            headers={"Authorization": f"Bearer {settings.token}"},
            timeout=httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout),
            transport=RetryTransport(transport=InTurn(limit)),
        )

    def close(self) -> None:
        self._http.close()

    def status(self) -> dict[str, Any]:
        """The game itself; `resetDate` tells one era from the next."""
        return self._call("GET", "/")

    def agent(self) -> Agent:
        return self._ask("/my/agent")

    def ships(self) -> list[Ship]:
        return self._pages("/my/ships")

    def ship(self, symbol: str) -> Ship:
        return self._ask(f"/my/ships/{symbol}")

    def orbit(self, symbol: str) -> dict[str, Any]:
        return self._call("POST", f"/my/ships/{symbol}/orbit")["data"]

    def dock(self, symbol: str) -> dict[str, Any]:
        return self._call("POST", f"/my/ships/{symbol}/dock")["data"]

    def navigate(self, symbol: str, waypoint: str) -> dict[str, Any]:
        """`nav` and `fuel`; the arrival is nav.route.arrival."""
        return self._order(f"/my/ships/{symbol}/navigate", waypointSymbol=waypoint)

    def flight_mode(self, symbol: str, mode: str) -> dict[str, Any]:
        return self._call("PATCH", f"/my/ships/{symbol}/nav", json={"flightMode": mode})["data"]

    def refuel(self, symbol: str, units: int | None = None) -> dict[str, Any]:
        """Fills the tank, or adds so many of its units."""
        return self._order(f"/my/ships/{symbol}/refuel", **({} if units is None else {"units": units}))

    def purchase(self, symbol: str, good: str, units: int) -> dict[str, Any]:
        """`transaction`, `agent` and `cargo`."""
        return self._order(f"/my/ships/{symbol}/purchase", symbol=good, units=units)

    def sell(self, symbol: str, good: str, units: int) -> dict[str, Any]:
        """`transaction`, `agent` and `cargo`."""
        return self._order(f"/my/ships/{symbol}/sell", symbol=good, units=units)

    def jettison(self, symbol: str, good: str, units: int) -> dict[str, Cargo]:
        return self._order(f"/my/ships/{symbol}/jettison", symbol=good, units=units)

    def waypoints(self, system: str, trait: str | None = None) -> list[Waypoint]:
        return self._pages(f"/systems/{system}/waypoints", **({"traits": trait} if trait else {}))

    def market(self, waypoint: str) -> Market:
        """With prices only while a ship of ours is there."""
        return self._ask(f"/systems/{system_of(waypoint)}/waypoints/{waypoint}/market")

    def negotiate(self, symbol: str) -> dict[str, Contract]:
        return self._order(f"/my/ships/{symbol}/negotiate/contract")

    def contracts(self) -> list[Contract]:
        return self._pages("/my/contracts")

    def contract(self, contract: str) -> Contract:
        return self._ask(f"/my/contracts/{contract}")

    def accept(self, contract: str) -> dict[str, Any]:
        return self._order(f"/my/contracts/{contract}/accept")

    def deliver(self, contract: str, ship: str, good: str, units: int) -> dict[str, Any]:
        return self._order(f"/my/contracts/{contract}/deliver", shipSymbol=ship, tradeSymbol=good, units=units)

    def fulfill(self, contract: str) -> dict[str, Any]:
        return self._order(f"/my/contracts/{contract}/fulfill")

    def _ask(self, path: str) -> Any:
        return self._call("GET", path)["data"]

    def _order(self, path: str, **body: Any) -> Any:
        return self._call("POST", path, ORDER, json=body)["data"]

    def _pages(self, path: str, **filters: str) -> list[Any]:
        rows: list[Any] = []
        while True:
            page = len(rows) // PAGE + 1
            answer = self._call("GET", path, params={"page": page, "limit": PAGE, **filters})
            rows += answer["data"]
            if len(answer["data"]) < PAGE or len(rows) >= answer["meta"]["total"]:
                return rows

    def _call(self, method: str, path: str, retry: Retry = QUESTION, **options: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, extensions={"retry": retry}, **options)
        except httpx.TransportError as error:
            raise Unreachable(f"{method} {path}: {type(error).__name__}: {error}") from error
        return answer_of(response, f"{method} {path}")


def answer_of(response: httpx.Response, call: str) -> dict[str, Any]:
    """The envelope, or the error that it holds. A server's own trouble is no word of the API."""
    if response.status_code == BUSY or response.is_server_error:
        raise Unreachable(f"{call}: {response.status_code} {response.reason_phrase}")
    try:
        answer = response.json()
    except ValueError:
        raise Unreachable(f"{call}: {response.status_code}, and no JSON") from None
    if response.is_success:
        return cast("dict[str, Any]", answer)
    error = answer.get("error", {})
    raise Refused(error.get("code", response.status_code), error.get("message", call), error.get("data"))


@cache
def _client_of(process: int, settings: Settings) -> Client:
    return Client(settings)


def client() -> Client:
    """The one of this process, as its environment says; a forked child has its own."""
    return _client_of(os.getpid(), Settings.from_environment())


def register(url: str, symbol: str, faction: str = "COSMIC") -> dict[str, Any]:
    """A new agent of a universe of our own: `token`, `agent`, `ships`. The real API wants an account's token here."""
    try:
        response = httpx.post(f"{url}/register", json={"symbol": symbol, "faction": faction})
    except httpx.TransportError as error:
        raise Unreachable(f"POST /register: {error}") from error
    return cast("dict[str, Any]", answer_of(response, "POST /register")["data"])

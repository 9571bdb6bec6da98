"""The API, as pipelines call it."""

import os
import re
from functools import cache
from typing import Any, cast

import httpx
from httpx_retries import Retry, RetryTransport

from workers.fleet.errors import NotSent, Refused, Unreachable
from workers.fleet.limit import Limit
from workers.fleet.route import system_of
from workers.fleet.settings import Settings
from workers.fleet.shapes import Agent, Cargo, Contract, Market, Ship, Waypoint

PAGE = 20  # the most that the API gives at once
LONGEST = 60.0  # seconds, for which nobody calls
BUSY = httpx.codes.TOO_MANY_REQUESTS
OVERLOADED = (BUSY, httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE)
LOCKED = httpx.codes.CONFLICT  # also the error's code; others of this status are final
AWAY = [*OVERLOADED, httpx.codes.GATEWAY_TIMEOUT, LOCKED]
UNHEARD = (httpx.ConnectError, httpx.ConnectTimeout)
# A Retry-After is waited for by the limit that all share.
WAITS = {"total": 3, "backoff_factor": 0.25, "backoff_jitter": 0.5, "respect_retry_after_header": False}
# A question, and a wish that may be granted twice, is repeated whatever came of it; an order only if nobody heard it.
QUESTION = Retry(**WAITS, allowed_methods=["GET", "PATCH", "POST"], status_forcelist=AWAY)  # type: ignore[arg-type]
ORDER = Retry(
    **WAITS,  # type: ignore[arg-type]
    allowed_methods=["POST"],
    status_forcelist=[BUSY],
    retry_on_exceptions=UNHEARD,
)


def asked_wait(header: str) -> float:
    """Seconds of a Retry-After, which is whole at the API and may have a fraction; none of a date or of nonsense."""
    return float(header) if re.fullmatch(r"\d+(\.\d+)?", header) else 0.0


class InTurn(httpx.BaseTransport):
    """Sends each request, also a repeated one, when its turn has come; patience: seconds of the first pause."""

    def __init__(self, limit: Limit, patience: float) -> None:
        self._limit, self._patience, self._transport = limit, patience, httpx.HTTPTransport()
        self._pause = 0.0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._limit.take()
        response = self._transport.handle_request(request)
        if wait := self._wait(response):
            self._limit.hold(wait)
        return response

    def _wait(self, response: httpx.Response) -> float:
        """Seconds for which nobody is to call: as long as the API says, else twice as long each time."""
        asked = asked_wait(response.headers.get("Retry-After", "")) if response.status_code == BUSY else 0.0
        overloaded = response.status_code in OVERLOADED and not asked
        self._pause = min(2 * self._pause or self._patience, LONGEST) if overloaded else 0.0
        return self._pause or min(asked, LONGEST)

    def close(self) -> None:
        self._transport.close()


class Client:
    """Methods return the answer's `data`; they raise Refused if the API says no, Unreachable if it says nothing.

    Of an order NotSent, which is Unreachable too, says that it was not executed.
    """

    def __init__(self, settings: Settings) -> None:
        limit = Limit(settings.redis_url, f"fleet:turn:{settings.url.rstrip('/')}", settings.rate, settings.burst)
        self._http = httpx.Client(
            base_url=settings.url,
            headers={"Authorization": f"Bearer {settings.token}"},
            timeout=httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout),
            transport=RetryTransport(transport=InTurn(limit, settings.patience)),
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
        call = f"{method} {path}"
        response = self._send(method, path, retry, **options)
        if retry is ORDER and response.status_code == BUSY:
            raise NotSent(f"{call}: {response.status_code} {response.reason_phrase}")
        try:
            return answer_of(response, call)
        except Refused as refusal:
            if response.status_code != httpx.codes.UNAUTHORIZED:
                raise
            why = f"FLEET_TOKEN is refused: {refusal.message}; register the agent anew and set its new token"
            raise Refused(refusal.code, why, refusal.data) from None

    def _send(self, method: str, path: str, retry: Retry, **options: Any) -> httpx.Response:
        """A question that was not sent at its last try may have been heard before."""
        try:
            return self._http.request(method, path, extensions={"retry": retry}, **options)
        except (httpx.TransportError, NotSent) as error:
            unheard = retry is ORDER and isinstance(error, (*UNHEARD, NotSent))
            raise (NotSent if unheard else Unreachable)(f"{method} {path}: {type(error).__name__}: {error}") from error


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
    refusal = refusal_of(answer, response.status_code, call)
    if refusal.code == LOCKED:
        raise Unreachable(f"{call}: {refusal}")
    raise refusal


def refusal_of(answer: Any, status: int, call: str) -> Refused:
    """What the envelope says, or the server before it with none; else no more than that it was this call."""
    told = answer if isinstance(answer, dict) else {}
    error = told["error"] if isinstance(told.get("error"), dict) else told
    code, message, data = error.get("code"), error.get("message") or call, error.get("data")
    return Refused(code if isinstance(code, int) else status, message, data if isinstance(data, dict) else None)


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

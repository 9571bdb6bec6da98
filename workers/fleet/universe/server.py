"""The universe on HTTP, at /v2; what tests ask of it besides stands under /universe."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from tornado.web import Application, RequestHandler

from workers.fleet.universe.error import Code, Refusal
from workers.fleet.universe.fault import Fault, Faults
from workers.fleet.universe.rate import Allowance
from workers.fleet.universe.routes import ROUTES, Call, Route
from workers.fleet.universe.world import Universe

REMEMBERED = 10_000  # requests


class Gate:
    """What stands between the network and the universe: the limit, the faults and a record of all calls."""

    def __init__(self, universe: Universe, rate: float, burst: int) -> None:
        self.universe, self.faults = universe, Faults()
        self.record: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._rate, self._burst = rate, burst
        self._allowances: dict[str, Allowance] = {}

    def admit(self, account: str) -> None:
        now = time.monotonic()
        if account not in self._allowances:
            self._allowances[account] = Allowance.full(self._rate, self._burst, now)
        self._allowances[account].take(now)


class Desk(RequestHandler):
    """Answers JSON, errors too."""

    def initialize(self, gate: Gate, routes: Mapping[str, Route] | None = None) -> None:
        self.gate, self.routes = gate, routes or {}

    def asked(self) -> dict[str, Any]:
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Refusal(Code.INVALID, "The body must be a JSON object.")
        return body

    def reply(self, status: int, answer: dict[str, Any]) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(answer))

    def refuse(self, refusal: Refusal) -> None:
        if refusal.code == Code.BUSY:
            self.set_header("Retry-After", str(refusal.data["retryAfter"]))
        self.reply(refusal.status, refusal.as_json())

    def write_error(self, status_code: int, **_: Any) -> None:
        self.reply(status_code, {"error": {"message": self._reason, "code": status_code, "data": {}}})


class Endpoint(Desk):
    """One path of the API."""

    async def call(self, *path: str) -> None:
        """A deed is done between two awaits, so none sees another one half done."""
        route = self.routes.get(self.request.method or "")
        if route is None:
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)
            return
        try:
            self.gate.admit(self.account)
        except Refusal as refusal:
            self.note(refusal.status)
            self.refuse(refusal)
            return
        fault = self.gate.faults.take(route.method, self.request.path)
        if fault is not None:
            await asyncio.sleep(fault.late)
        status, answer = fault.answer() if fault and fault.status else self.answer(route, path)
        self.note(status)
        if fault is not None:
            await asyncio.sleep(fault.delay)
        if fault is not None and fault.lost:
            self.detach().close()
        else:
            self.reply(status, answer)

    get = post = patch = call

    @property
    def account(self) -> str:
        return self.request.headers.get("Authorization") or str(self.request.remote_ip)

    def answer(self, route: Route, path: tuple[str, ...]) -> tuple[int, dict[str, Any]]:
        try:
            universe = self.gate.universe
            agent = None if route.open else universe.agent(self.request.headers.get("Authorization", ""))
            query = {name: self.get_query_argument(name) for name in self.request.query_arguments}
            return route.status, route.answer(Call(universe, agent, path, self.asked(), query))
        except Refusal as refusal:
            return refusal.status, refusal.as_json()

    def note(self, status: int) -> None:
        called = {"method": self.request.method, "path": self.request.path}
        self.gate.record.append({"at": time.time(), **called, "status": status})


class FaultDesk(Desk):
    """POST a fault as JSON; GET those that have not struck yet."""

    def get(self) -> None:
        self.reply(HTTPStatus.OK, {"data": self.gate.faults.left()})

    def post(self) -> None:
        try:
            self.gate.faults.add(Fault.told(self.asked()))
        except Refusal as refusal:
            self.refuse(refusal)
        else:
            self.reply(HTTPStatus.CREATED, {})


class RecordDesk(Desk):
    """GET the calls so far, the oldest first: when, what, and how they were answered."""

    def get(self) -> None:
        self.reply(HTTPStatus.OK, {"data": list(self.gate.record)})


def application(universe: Universe, rate: float, burst: int) -> Application:
    gate = Gate(universe, rate, burst)
    paths: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = route
    endpoints = [(f"/v2{path}", Endpoint, {"gate": gate, "routes": routes}) for path, routes in paths.items()]
    ours = [("/universe/faults", FaultDesk, {"gate": gate}), ("/universe/calls", RecordDesk, {"gate": gate})]
    missing = {"default_handler_class": Missing, "default_handler_args": {"gate": gate}}
    return Application([*endpoints, *ours], log_function=lambda handler: None, **missing)


class Missing(Desk):
    """A path that is none: answered, as at the API, by the server before it, which knows no envelope."""

    def prepare(self) -> None:
        told = {"message": f"Route {self.request.method}:{self.request.uri} not found", "error": "Not Found"}
        self.reply(HTTPStatus.NOT_FOUND, {**told, "statusCode": HTTPStatus.NOT_FOUND})

"""The Docker engine: what it says of its containers, and what it is told to do with them."""

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from lifecycle.domain.service import Event, Service, Snapshot
from lifecycle.errors import DaemonTrouble, ServiceGone, ServiceRemoving
from lifecycle.services import inspected
from lifecycle.services.connection import Connection, Unwilling
from lifecycle.services.own import own_id
from lifecycle.services.trouble import FORBIDDEN, NOT_FOUND, refusal, trouble, trouble_of_create
from lifecycle.settings import Settings

STOP = 10  # seconds that an engine gives a container which does not say
LEFT = 2.0  # seconds past its end for which a stream may be silent
SOON = 1.0  # seconds: so near are the engine's clock and ours over the life of a stream
WATCH = 1.0  # seconds
ECHO = timedelta(seconds=0.3)  # the last event of a stop comes after its end
READ = 5.0  # seconds for one container of many: an engine may hang on one alone
AMBIGUOUS = "multiple ids found"
HEARD = ["create", "destroy", "die", "health_status", "kill", "oom", "pause", "rename", "start", "stop", "unpause"]

Json = dict[str, Any]


class Engine:
    """One engine. Its calls raise the errors of `ServiceTrouble`, which say whose fault it was."""

    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(settings.docker_url, settings.docker_timeout)
        self.guard: Callable[[], None] = lambda: None
        """Called before each step of an action, looks included: what it raises is raised instead."""
        self._name = settings.docker_engine
        self.watch = min(WATCH, settings.docker_settle)
        """Seconds for which what was started is watched before that is called a success."""

    def close(self) -> None:
        """Let its sockets go; the next call opens new ones."""
        self._connection.close()

    def snapshot(self) -> Snapshot:
        """All containers, one by one: what goes meanwhile is left out, what cannot be read is told in short."""
        taken_at, engine = self._clock()
        rows = self._ask("GET", "/containers/json", params={"all": "1"})
        here = [seen for row in rows if (seen := self._inspected(row)) is not None]
        services = {seen["Id"]: _service(seen) for seen in here}
        return Snapshot(services=services, taken_at=taken_at, engine=self._name or engine, own=own_id(here))

    def ping(self) -> None:
        """Return if it answers at all."""
        self._ask("GET", "/version")

    def look(self, reference: str) -> Json | None:
        """What it says of one container, by its id or its name; None if there is none.

        An engine takes the beginning of an id as well: `db` may be one.
        """
        self.guard()
        try:
            seen = dict(self._connection.ask("GET", f"/containers/{quote(reference)}/json"))
        except Unwilling as answer:
            if answer.status == NOT_FOUND or AMBIGUOUS in answer.text.lower():
                return None
            raise answer.trouble from answer
        return seen if reference in (seen["Id"], seen["Name"].removeprefix("/")) else None

    def image(self, reference: str) -> str | None:
        """The id of an image; None if there is none, or a proxy keeps it from us."""
        self.guard()
        try:
            return str(self._connection.ask("GET", f"/images/{quote(reference)}/json")["Id"])
        except Unwilling as answer:
            if answer.status in (NOT_FOUND, FORBIDDEN):
                return None
            raise answer.trouble from answer

    def restart(self, service: Service) -> None:
        """Stop it, in the time that it asks for itself, and start it."""
        self._tell(service.id, f"/containers/{service.id}/restart", to_start=True, timeout=self._patience(service))

    def stop(self, service: Service) -> None:
        """Stop it, in the time that it asks for itself; nothing if it does not run."""
        self._tell(service.id, f"/containers/{service.id}/stop", timeout=self._patience(service))

    def start(self, service_id: str) -> None:
        """Start it; nothing if it runs."""
        self._tell(service_id, f"/containers/{service_id}/start", to_start=True)

    def rename(self, service_id: str, name: str) -> None:
        """Give it another name, which must be free."""
        self._tell(service_id, f"/containers/{service_id}/rename", params={"name": name})

    def remove(self, service_id: str) -> None:
        """Remove it, running or not; its volumes stay. Nothing if it is gone, or going."""
        with suppress(ServiceGone, ServiceRemoving):
            self._tell(service_id, f"/containers/{service_id}", method="DELETE", params={"force": "1"})

    def connect(self, service_id: str, network: str, endpoint: Json) -> None:
        """Have it join one more network."""
        order = {"Container": service_id, "EndpointConfig": endpoint}
        self._tell(service_id, f"/networks/{quote(network)}/connect", json=order)

    def create(self, name: str, body: Json) -> str:
        """A new container, not started; returns its id."""
        self.guard()
        try:
            made = self._connection.ask("POST", "/containers/create", params={"name": name}, json=body)
        except Unwilling as answer:
            raise trouble_of_create(answer.status, answer.text, body["HostConfig"], self.look) from answer
        return str(made["Id"])

    def events(self, seconds: float) -> Iterator[Event]:
        """What happens to containers from now on, for so long; whatever follows this call is heard.

        Raises DaemonTrouble, here or later: the events ended before their time, or went on in silence after it.
        """
        end = time.monotonic() + seconds
        until = self._clock()[0].timestamp() + seconds
        asked = {"until": f"{until:.3f}", "filters": json.dumps({"type": ["container"], "event": HEARD})}
        limits = (self._connection.timeout, seconds + LEFT)
        try:
            response = self._connection.open("GET", "/events", params=asked, stream=True, timeout=limits)
        except Unwilling as answer:
            raise answer.trouble from answer
        return _events(response, end)

    def past(self, since: datetime, until: datetime | None = None) -> list[Event]:
        """What it still knows of how containers began and ended then, or until now and what comes right after.

        Nothing where a proxy keeps that from us.
        """
        self.guard()
        until = until or self._clock()[0] + ECHO
        asked = {
            "since": f"{since.timestamp():.3f}",
            "until": f"{until.timestamp():.3f}",
            "filters": json.dumps({"type": ["container"], "event": ["start", "kill", "die", "stop", "restart"]}),
        }
        try:
            response = self._connection.open("GET", "/events", params=asked)
        except Unwilling as answer:
            if answer.status in (NOT_FOUND, FORBIDDEN):
                return []
            raise answer.trouble from answer
        return [_event(json.loads(line)) for line in response.iter_lines() if line]

    def _clock(self) -> tuple[datetime, str]:
        """Its time and its id; where a proxy keeps them from us, the time is in every answer."""
        try:
            told = self._connection.ask("GET", "/info")
        except Unwilling as answer:
            if answer.status in (NOT_FOUND, FORBIDDEN):
                return self._date(), ""
            raise answer.trouble from answer  # not another engine, of which nothing is remembered
        return inspected.moment(told.get("SystemTime")) or datetime.now(UTC), str(told.get("ID") or "")

    def _date(self) -> datetime:
        try:
            said = parsedate_to_datetime(self._connection.open("GET", "/_ping").headers["Date"])
            return said.astimezone(UTC) + timedelta(seconds=1)  # it is cut: what has happened is not to come
        except (Unwilling, KeyError, ValueError):
            return datetime.now(UTC)

    def _inspected(self, row: Json) -> Json | None:
        """One container that is broken must not hide the others: the listing's word stands for it."""
        try:
            timeout = min(self._connection.timeout, READ)
            return dict(self._connection.ask("GET", f"/containers/{row['Id']}/json", timeout=timeout))
        except DaemonTrouble:
            self.ping()
            return row
        except Unwilling as answer:
            if answer.status == NOT_FOUND:
                return None
            if refused := refusal(answer.status, answer.text):
                raise refused from answer
            return row

    def _patience(self, service: Service) -> float:
        asked = STOP if service.stop_timeout is None else service.stop_timeout
        return self._connection.timeout + max(asked, 0)

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            return self._connection.ask(method, path, **options)
        except Unwilling as answer:
            raise answer.trouble from answer

    def _tell(
        self, service_id: str, path: str, method: str = "POST", *, to_start: bool = False, **options: Any
    ) -> None:
        self.guard()
        try:
            self._connection.ask(method, path, **options)
        except Unwilling as answer:
            raise trouble(service_id, answer.status, answer.text, self.look, to_start=to_start) from answer


def _events(response: Any, end: float) -> Generator[Event, None, None]:
    try:
        for line in response.iter_lines(chunk_size=None):
            yield _event(json.loads(line))
    except (OSError, ValueError) as error:
        raise DaemonTrouble(f"the engine's events broke off: {error}") from error
    finally:
        response.close()
    if time.monotonic() < end - SOON:
        raise DaemonTrouble("the engine ended its events")


def _event(said: Mapping[str, Any]) -> Event:
    actor = said.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    return Event(
        action=said.get("Action") or "",
        id=actor.get("ID") or "",
        name=attributes.get("name") or actor.get("ID") or "",
        at=(said.get("timeNano") or 0) / 1e9,
        attributes=attributes,
    )


def _service(seen: Mapping[str, Any]) -> Service:
    """An inspection has a State of many words, a line of the listing one word."""
    return inspected.service(seen) if isinstance(seen.get("State"), dict) else inspected.listed(seen)

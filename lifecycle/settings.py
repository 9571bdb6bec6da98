"""Every setting: its name, default, unit and meaning; read from the Celery app, then from the environment."""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lifecycle.domain.policy import Quarantine, Restarts
from lifecycle.errors import ImpossibleSettings

PREFIX = "lifecycle_"
POSITIVE = (
    "heartbeat",
    "lease",
    "signal_every",
    "supervise_every",
    "redispatch",
    "log_flush",
    "sweep_every",
    "recover_every",
    "prune_every",
    "retention",
    "metrics_every",
    "docker_every",
    "docker_timeout",
    "docker_lock",
    "docker_budget_within",
)
NATURAL = (
    "grace",
    "kill_after",
    "log_fold",
    "lease_margin",
    "healthy_after",
    "docker_debounce",
    "docker_settle",
    "docker_patience",
    "docker_healthy_after",
    "docker_probe_every",
    "docker_quiet",
    "docker_alert_after",
)
COUNTS = {"max_restarts": 0, "quarantine_after": 1, "docker_budget": 1}  # and the least of each
LAST_PORT = 65_535
LONGEST = 1e9  # seconds: about thirty years, more is a mistake
STEPS = ("restart_backoff", "quarantine_backoff", "docker_backoff")


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`app.conf.lifecycle_NAME`, else the environment's `LIFECYCLE_NAME`, else the default. Times are seconds.

    Raises ImpossibleSettings for values that cannot work together.
    """

    database_url: str | None = _setting(None, "where the rows are; there is no default database")
    database_schema: str | None = _setting(None, "PostgreSQL schema of the tables")
    heartbeat: float = _setting(5.0, "a node renews its lease this often")
    lease: float = _setting(30.0, "a node that has not renewed for so long runs nothing any more")
    margin: float | None = _setting(None, "after lease and margin others take a node's containers; default lease / 10")
    grace: float = _setting(30.0, "from the mark of a stop to the kill")
    kill_after: float = _setting(3.0, "after its deadline a parent is killed, or given up, whatever its children do")
    signal_every: float = _setting(0.2, "a stop is signalled again until the run ends")
    supervise_every: float = _setting(1.0, "a node compares rows and processes this often")
    max_restarts: int = _setting(3, "a container whose run was lost is started again so often, and then FAILED")
    restart_backoff: tuple[float, ...] = _setting((5.0, 30.0, 120.0), "before its first, second, … restart it waits")
    healthy_after: float = _setting(600.0, "after so long without a restart a container has all of them again")
    quarantine_after: int = _setting(3, "a resource whose holders fail so often with one error is refused for a time")
    quarantine_backoff: tuple[float, ...] = _setting(
        (900.0, 1800.0, 3600.0), "for so long the first, second, … time; then one probe is let through"
    )
    sweep_every: float = _setting(300.0, "orphans are looked for this often, by beat; by a node if that is overdue")
    recover_every: float = _setting(60.0, "as above, for INTERRUPTED containers; each node also looks by itself")
    prune_every: float = _setting(86_400.0, "as above, for old containers")
    retention: float = _setting(1_209_600.0, "ended containers are kept this long: 14 days")
    redispatch: float = _setting(60.0, "a message not claimed for so long may be lost: see the dispatcher")
    log_fold: float = _setting(60.0, "the same log message within this time is one line with a count")
    log_flush: float = _setting(1.0, "log lines are written this often")
    metrics_prefix: str = _setting("lifecycle_", "the names of metrics begin so")
    metrics_port: int | None = _setting(None, "a node serves `/metrics` on this port; see docs/metrics.md")
    metrics_host: str = _setting("127.0.0.1", "and on this address")
    metrics_every: float = _setting(5.0, "metrics are read from the database no more often, however many ask")
    docker: bool = _setting(
        default=False, text="beat has Docker services recovered, by nodes that consume `docker_queue`"
    )
    docker_url: str | None = _setting(None, "the Docker engine; else `DOCKER_HOST`, else its usual socket")
    docker_engine: str | None = _setting(
        None, "the name by which its services are remembered, the same for all who look; else the engine's own id"
    )
    docker_projects: tuple[str, ...] = _setting(
        (), "Compose projects whose services are recovered, `*` is all; see docs/docker.md"
    )
    docker_queue: str = _setting("lifecycle_docker", "the queue of the nodes that reach the engine")
    docker_every: float = _setting(60.0, "services are looked at this often, whatever the engine tells")
    docker_debounce: float = _setting(1.0, "what the engine tells within this time is looked at together")
    docker_timeout: float = _setting(60.0, "the engine has so long to answer")
    docker_lock: float = _setting(
        120.0,
        "an action of which a step takes longer, apart from a stop, has died with its node; twice the timeout, or more",
    )
    docker_settle: float = _setting(10.0, "a service without health check is well when it has run so long")
    docker_patience: float = _setting(30.0, "a service that was acted on has so long to become healthy")
    docker_backoff: tuple[float, ...] = _setting(
        (10.0, 20.0, 40.0, 80.0, 160.0, 300.0), "after its first, second, … recovery a service waits before the next"
    )
    docker_healthy_after: float = _setting(600.0, "after so long being well all recoveries are forgotten")
    docker_budget: int = _setting(
        5, "so many recoveries of one service open its circuit: it is given up, with one alert"
    )
    docker_budget_within: float = _setting(600.0, "if they were made within this time")
    docker_probe_every: float = _setting(900.0, "with an open circuit one is tried this often")
    docker_quiet: float = _setting(
        60.0, "a service that others create, rename or remove is left alone for so long after"
    )
    docker_alert_after: float = _setting(
        600.0, "a service with which something is wrong for so long is told of, whatever is decided about it"
    )
    docker_follow_all: bool = _setting(
        default=False, text="dependents are restarted after their parent without `restart: true` too"
    )
    docker_dry_run: bool = _setting(default=False, text="only tell what would be done")
    docker_webhook: str | None = _setting(None, "alerts are posted here as JSON")

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ImpossibleSettings(problem)

    @property
    def lease_margin(self) -> float:
        """`margin`, or its default."""
        return self.lease / 10 if self.margin is None else self.margin

    @property
    def restarts(self) -> Restarts:
        """How lost runs are started again."""
        return Restarts(self.restart_backoff, self.healthy_after)

    @property
    def quarantine(self) -> Quarantine:
        """When resources are refused."""
        return Quarantine(self.quarantine_after, self.quarantine_backoff)

    @property
    def expires_in(self) -> float:
        """Seconds after its last renewal until others may take a node's containers."""
        return self.lease + self.lease_margin

    def _problems(self) -> list[str]:
        given = {name: getattr(self, name) for name in (*POSITIVE, *NATURAL)}
        if endless := [name for name, value in given.items() if not math.isfinite(value)]:
            return [f"{PREFIX}{name} must be a finite number of seconds, not {given[name]}" for name in endless]
        wrong = [f"{PREFIX}{name} must be more than 0 s, not {given[name]}" for name in POSITIVE if given[name] <= 0]
        wrong += [f"{PREFIX}{name} cannot be negative: {given[name]}" for name in NATURAL if given[name] < 0]
        for name, least in COUNTS.items():
            if (count := getattr(self, name)) < least:
                wrong.append(f"{PREFIX}{name} must be a whole number from {least}, not {count}")
        for name in STEPS:
            steps = getattr(self, name)
            if not steps or not all(0 <= step <= LONGEST for step in steps):
                said = f"seconds from 0 to {LONGEST:,.0f}, as 5,30,120"
                wrong.append(f"{PREFIX}{name} must be {said}, not {_listed(steps)!r}")
        if 2 * self.heartbeat > self.lease - self.lease_margin:
            wrong.append(
                f"two heartbeats of {self.heartbeat} s do not fit in a lease of {self.lease} s less its margin of "
                f"{self.lease_margin} s: raise {PREFIX}lease or lower {PREFIX}heartbeat"
            )
        if not re.fullmatch(r"[A-Za-z_:][A-Za-z0-9_:]*", self.metrics_prefix):
            said = "letters, digits and underscores, and begin with no digit"
            wrong.append(f"{PREFIX}metrics_prefix must be {said}, not {self.metrics_prefix!r}")
        if self.metrics_port is not None and not 1 <= self.metrics_port <= LAST_PORT:
            wrong.append(f"{PREFIX}metrics_port must be from 1 to {LAST_PORT}, not {self.metrics_port}")
        if self.docker_lock < 2 * self.docker_timeout:  # to connect, and to answer
            wrong.append(
                f"{PREFIX}docker_lock of {self.docker_lock:g} s must be twice the {PREFIX}docker_timeout of "
                f"{self.docker_timeout:g} s, or more: else a service is taken out of a hand that is at work"
            )
        return wrong


def read_settings(conf: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read every setting; raises ImpossibleSettings that names the one at fault."""
    values: dict[str, Any] = {}
    for each in fields(Settings):
        name = PREFIX + each.name
        value = conf.get(name)
        if value is None:
            value = environment.get(name.upper()) or None
        if value is not None:
            values[each.name] = _as_type(name, value, each.type)
    return Settings(**values)


def _as_type(name: str, value: Any, wanted: Any) -> Any:
    kind = next(kind for kind in KINDS if kind in str(wanted))
    convert, said = KINDS[kind]
    try:
        return convert(value)
    except (TypeError, ValueError) as error:
        raise ImpossibleSettings(f"{name} must be {said}, not {value!r}") from error


def _as_count(value: Any) -> int:
    """A whole number; 2.5 is refused, not cut."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(value)
    return int(value)


def _as_flag(value: Any) -> bool:
    """What the environment may say: 1, true, yes, on; 0, false, no, off."""
    word = str(value).strip().lower()
    if word not in FLAGS:
        raise ValueError(value)
    return FLAGS[word]


def _as_names(value: Any) -> tuple[str, ...]:
    """Names, as a list or as text with commas."""
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(name for part in parts if (name := str(part).strip()))


def _as_steps(value: Any) -> tuple[float, ...]:
    """Seconds, as a list or as text with commas; one number is a list of one."""
    if isinstance(value, int | float):
        value = (value,)
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(float(part) for part in parts)


def _listed(steps: tuple[float, ...]) -> str:
    return ",".join(f"{step:g}" for step in steps)


FLAGS = {**dict.fromkeys(("1", "true", "yes", "on"), True), **dict.fromkeys(("0", "false", "no", "off"), False)}
KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bool": (_as_flag, "true or false"),
    "tuple[str": (_as_names, "names with commas between them"),
    "tuple": (_as_steps, "numbers of seconds with commas between them"),
    "float": (float, "a number"),
    "int": (_as_count, "a whole number"),
    "str": (str, "text"),
}

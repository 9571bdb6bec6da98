"""A service: one Docker container, as its engine told it; and what may be done to it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

SET_ASIDE = ".lifecycle-old"
"""A container that is being re-created has this after its name until the new one runs."""
ENGINE = "*"
MAKING = "* recreate"
EVENTS = "* events"
"""The keys of the engine itself, of its making containers and of what it tells; no container has such a name."""
SHORT = 12  # characters of an id that people are shown


def is_oneoff(labels: Mapping[str, str]) -> bool:
    """True for what `compose run` started."""
    return labels.get("com.docker.compose.oneoff", "").lower() == "true"


def key_of(name: str, labels: Mapping[str, str]) -> str:
    """What stays of a container when it is re-created: `project/service`, `project/service/2`; else its name.

    What `compose run` starts has the labels of the service that it is of, and is another one.
    """
    compose = [labels.get(f"com.docker.compose.{each}", "") for each in ("project", "service", "container-number")]
    if not all(compose) or is_oneoff(labels):
        return name.removesuffix(SET_ASIDE)
    return "/".join(compose[:2] if compose[2] == "1" else compose)


def is_meant(word: str, key: str, name: str) -> bool:
    """True if people may mean this one by a word: its key, its name, or the service that it is of."""
    return word != "" and (word in (key, name) or word == "/".join(key.split("/")[1:2]))


class State(StrEnum):
    """What the engine says of a container; these are its words."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class Health(StrEnum):
    """What its health check says; NONE: there is no check."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Policy(StrEnum):
    """When the engine itself starts a container again; these are its words."""

    NO = "no"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"
    ON_FAILURE = "on-failure"


class Recover(StrEnum):
    """The label `lifecycle.recover`: acted on, left alone, or only told of. UNSAID: as the settings say."""

    TRUE = "true"
    FALSE = "false"
    NOTIFY = "notify"
    UNSAID = ""


class Share(StrEnum):
    """A namespace that a container has from another one: without that one it cannot start."""

    NETNS = "netns"
    IPC = "ipc"
    PID = "pid"


@dataclass(frozen=True, slots=True)
class Dependency:
    """One `depends_on` of Compose, as the label has it; `restart` is None where an older Compose did not say."""

    service: str
    condition: str = "service_started"
    restart: bool | None = None

    @property
    def is_job(self) -> bool:
        """True if the other one has to be done, not to run."""
        return self.condition == "service_completed_successfully"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One container of an engine, as inspected; times are by the engine's clock."""

    id: str
    name: str
    project: str | None = None
    """The project and the service of Compose; None for a container that Compose did not make."""
    service: str | None = None
    state: State = State.RUNNING
    health: Health = Health.NONE
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    error: str = ""
    """Why its last start failed, in the engine's words."""
    oom_killed: bool = False
    policy: Policy = Policy.NO
    max_retries: int = 0
    """Of ON_FAILURE; 0 is no limit."""
    restart_count: int = 0
    stop_timeout: int | None = None
    """Seconds from SIGTERM to SIGKILL that it asks for; None is the engine's default."""
    auto_remove: bool = False
    oneoff: bool = False
    """True for what `compose run` started."""
    labels: Mapping[str, str] = field(default_factory=dict)
    shares: Mapping[Share, str] = field(default_factory=dict)
    """The container that each shared namespace is of: a full id, or a name if it did not exist at the create."""
    volumes_from: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    """Names of containers."""
    depends_on: tuple[Dependency, ...] = ()

    @property
    def key(self) -> str:
        """What stays when it is re-created; see `key_of`."""
        return key_of(self.name, self.labels)

    @property
    def short_id(self) -> str:
        """As `docker ps` shows it."""
        return self.id[:SHORT]

    @property
    def is_set_aside(self) -> bool:
        """True for what a re-creation has put out of its way and not yet removed."""
        return self.name.endswith(SET_ASIDE)

    @property
    def is_running(self) -> bool:
        """True while it runs, healthy or not."""
        return self.state is State.RUNNING

    @property
    def is_done(self) -> bool:
        """True if it ended by itself and well: a job that is never started again."""
        return self.state is State.EXITED and self.exit_code == 0 and not self.error

    @property
    def recover(self) -> Recover:
        """Its own word on whether it is recovered; one that cannot be read is taken as `false`."""
        said = self.labels.get("lifecycle.recover", "").strip().lower()
        return Recover(said) if said in set(Recover) else Recover.FALSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All containers of one engine, as they were between two moments."""

    services: Mapping[str, Service]
    """By full id; also what does not run."""
    taken_at: datetime
    """By the engine's clock, as near as it can be had."""
    engine: str = ""
    """Its name in the settings, else its own id; empty where it does not say, as behind a proxy."""
    own: str | None = None
    """The id of the container that we run in ourselves."""

    def __iter__(self) -> Iterator[Service]:
        """By key, name and id: the same order each time."""
        return iter(sorted(self.services.values(), key=lambda each: (each.key, each.name, each.id)))

    def named(self, reference: str) -> Service | None:
        """The container of this full id, else of this name."""
        return self.services.get(reference) or next((each for each in self if each.name == reference), None)


class Kind(StrEnum):
    """What can be done to a container."""

    RESTART = "restart"
    START = "start"
    RECREATE = "recreate"
    """A new container of the same configuration, in the namespaces of containers that live."""
    TIDY = "tidy"
    """Finish, or roll back, a re-creation that was cut off; its id is that of the container set aside."""


REFUSALS = {Kind.RESTART: ENGINE, Kind.START: ENGINE, Kind.RECREATE: MAKING, Kind.TIDY: MAKING}
"""The key under which is kept that the engine refuses such actions."""
OF_ENGINE = frozenset({*REFUSALS.values(), EVENTS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do to one container, and why."""

    kind: Kind
    key: str
    id: str
    name: str
    reason: str
    shares: Mapping[Share, str] = field(default_factory=dict)
    """RECREATE: each namespace that is shared, and the id of the running container to have it from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What an engine says as it happens."""

    action: str
    """`die`, `start`, `health_status: healthy`, …"""
    id: str
    name: str
    at: float
    """Seconds since 1970, by the engine's clock."""
    attributes: Mapping[str, str] = field(default_factory=dict)

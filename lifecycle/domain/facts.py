"""What `check` knows: what the database holds, what nodes say of themselves, what the app is."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A node that nobody has declared dead, as its row has it."""

    id: str
    pool: str
    queues: frozenset[str]
    types: frozenset[str]
    late: float
    """Seconds since its lease ran out; negative while it holds."""
    age: float = 0.0
    """Seconds since it started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """When a periodic pass last began, and when one last ended: in seconds before now."""

    begun: float
    ended: float | None
    error: str | None = None
    """Why the last to end failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A Docker engine, as its services are remembered; times are seconds before now."""

    name: str
    """Empty where it does not say who it is."""
    seen: float
    """Since a service of it was last noted, which is done every hour."""
    refusals: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()
    """Services whose circuit is open."""
    heard: float | None = None
    """Since a watch last heard its events through; None where none listens."""
    deaf: str | None = None
    """Why it does not hear them now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the database holds; without an id it could not be read."""

    id: str = ""
    ahead: float = 0.0
    """Seconds its clock is ahead of ours."""
    rows: tuple[Row, ...] = ()
    waiting: Mapping[str | None, int] = field(default_factory=dict)
    """How many containers wait to be run, by queue."""
    live_types: Mapping[str, int] = field(default_factory=dict)
    passes: Mapping[str, Pass] = field(default_factory=dict)
    """The periodic passes that ever began, by name."""
    engines: tuple[Engine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A node, as it says itself."""

    node: str
    database: str | None
    versions: Mapping[str, str]
    queues: frozenset[str]
    fetches: str | None
    """What it fetches that waits behind a run; None if nothing."""
    ahead: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Who answered on the broker; strangers are workers that do not know the question."""

    asked: bool = False
    answers: tuple[Answer, ...] = ()
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The app that asks."""

    versions: Mapping[str, str]
    default_queue: str
    types: frozenset[str] = frozenset()
    acks_late: tuple[str, ...] = ()
    """Names of container tasks that acknowledge late."""
    periods: Mapping[str, float] = field(default_factory=dict)
    """How often each periodic pass is to run, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known."""

    recorded: Recorded
    heard: Heard
    own: Own

    @property
    def living(self) -> tuple[Row, ...]:
        """The nodes whose lease holds."""
        return tuple(row for row in self.recorded.rows if row.late < 0)

    @property
    def said(self) -> dict[str, Answer]:
        """Answers by node."""
        return {answer.node: answer for answer in self.heard.answers}

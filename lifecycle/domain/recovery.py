"""What is remembered of services, and what is decided about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from lifecycle.domain.service import Action, Kind, Service, Share


class Fate(StrEnum):
    """How a container ended, as its engine told when it did."""

    CRASHED = "crashed"
    STOPPED = "stopped"
    KILLED = "killed"
    """By SIGKILL without a stop: `docker kill`."""


class Verdict(StrEnum):
    """What is decided about one container; the words are those of `docker status`."""

    WELL = "well"
    STARTING = "starting"
    DONE = "done"
    STOPPED = "stopped"
    ALONE = "left alone"
    PAUSED = "paused"
    HELD = "in hand"
    QUIET = "quiet"
    WAITS = "waits"
    OBSERVED = "only observed"
    TOLD = "only told"
    GIVEN_UP = "given up"
    OPEN = "circuit open"
    COOLS = "cools down"
    ACTS = "acts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What an event has told of one service, and a listing would not."""

    key: str
    id: str
    name: str
    fate: Fate | None = None
    is_quiet: bool = False
    """True if somebody else creates, renames, removes or ends it: they are not to be disturbed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What the database holds of one service; times are by the database's clock, but for `baseline`."""

    key: str
    name: str = ""
    ids: tuple[str, ...] = ()
    """The containers it was, the newest first."""
    made_id: str | None = None
    """The container that a recovery made."""
    baseline: datetime | None = None
    """When the container had started that was seen first, by the engine's clock."""
    attempts: int = 0
    """Recoveries in turn, without having been well for long."""
    recent: int = 0
    """Recoveries within the time of the budget."""
    acted_at: datetime | None = None
    next_at: datetime | None = None
    opened_at: datetime | None = None
    """Since when its circuit is open."""
    well_since: datetime | None = None
    since: datetime | None = None
    """Since when something is wrong with it, whatever is done about that; or it is starting."""
    forgiven_at: datetime | None = None
    """Recoveries before do not count."""
    fate: Fate | None = None
    fate_id: str | None = None
    heard_at: datetime | None = None
    """When an event last told of it."""
    quiet_until: datetime | None = None
    paused: bool = False
    told: str | None = None
    """The problem that the last alert told of."""
    verdict: str | None = None
    reason: str | None = None
    seen_at: datetime | None = None
    locked_by: str | None = None
    locked_until: datetime | None = None
    """Until when it is in one hand; without `locked_by` when it last was."""
    recoveries: int = 0
    failures: int = 0
    version: int = 0
    """Grows with each write: what was decided from an older one is not done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrestartable:
    """A container that no call is made for again."""

    id: str
    name: str
    reason: str
    reference: str | None = None
    """The container whose namespace it could not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the database holds of one engine."""

    services: Mapping[str, Remembered] = field(default_factory=dict)
    unrestartable: Mapping[str, Unrestartable] = field(default_factory=dict)

    def of(self, key: str) -> Remembered:
        """The row of a key, or that of one never seen."""
        return self.services.get(key) or Remembered(key=key)


@dataclass(frozen=True, slots=True)
class Need:
    """What is wrong with a container, and what would mend it."""

    kind: Kind
    reason: str
    shares: Mapping[Share, str] = field(default_factory=dict)
    is_cut_off: bool = False
    """True if it runs without what it shares: without a network, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is decided about one container, and why."""

    service: Service
    verdict: Verdict
    reason: str
    need: Need | None = None
    """What is wrong, also where nothing is done about it now."""
    action: Action | None = None
    again_in: float | None = None
    """Seconds until it may be decided otherwise, if nothing happens before."""


class Tone(StrEnum):
    """How an alert begins or ends something."""

    BROKEN = "broken"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that people have to know, told once."""

    tone: Tone
    key: str
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Decisions in the order in which they are to be done, parents first; and what is to be remembered."""

    decisions: tuple[Decision, ...]
    known: tuple[Decision, ...] = ()
    """Those of services that are recovered here, and of their parents."""
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of each key, columns and their new values."""
    alerts: tuple[Alert, ...] = ()
    """Each is told once the changes of its key are written."""
    cycles: tuple[tuple[str, ...], ...] = ()
    """Keys that depend on each other in a circle."""

    @property
    def actions(self) -> list[Action]:
        """What is to be done now, in order."""
        return [each.action for each in self.decisions if each.action is not None]

    @property
    def again_in(self) -> float | None:
        """Seconds until it is worth looking again, whatever happens."""
        return min((each.again_in for each in self.decisions if each.again_in is not None), default=None)

"""What metrics tell of the present."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Active:
    """How many live containers there are of a type, at a depth, with a status."""

    type: str
    depth: str
    status: str
    count: int


@dataclass(frozen=True, slots=True)
class PassRuns:
    """What a periodic pass has come to."""

    name: str
    ended_at: datetime | None
    runs: int
    found: int


@dataclass(frozen=True, slots=True)
class Gauges:
    """The present, as the database tells it."""

    active: tuple[Active, ...]
    due: int
    """How many containers wait for an execution: their time has come."""
    lag: float
    """For how many seconds the first of them has waited."""
    nodes: int
    passes: tuple[PassRuns, ...]

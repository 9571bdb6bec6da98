"""What metrics count, and by what."""

from enum import StrEnum
from typing import NamedTuple

DEPTHS = ("1", "2", "3", "4+")  # levels of a stopped tree, its target's included
ACTIVE_DEPTHS = ("0", "1", "2", "3+")  # of a container in its tree; a root's is 0
BOUNDS = ("0.1", "0.5", "1.0", "2.5", "5.0", "10.0", "20.0", "30.0", "35.0", "60.0", "120.0", "300.0")
"""Upper bounds of a stop's seconds; by default all is over 5 s after a grace of 30 s."""


class Counter(StrEnum):
    """What is counted; how it is kept with what was pruned."""

    ENDINGS = "endings"
    ORPHANS = "orphans"
    RECOVERIES = "recoveries"
    RESTARTS = "restarts"
    STOPS = "stops"
    STOP_BUCKET = "stop_bucket"
    STOP_FAILURES = "stop_failures"
    STOP_SECONDS = "stop_seconds"


class StopFailure(StrEnum):
    """Why a container was not stopped as it should be."""

    TIMEOUT = "timeout"
    """It still ran some seconds after its deadline, and could not be killed: it was given up."""
    ERROR = "error"
    """It ended FAILED while it was being stopped."""
    CONTEXT_CANCELED = "context_canceled"
    """Its execution was killed or lost while it was being stopped: its body was cut off wherever it stood."""


class Counted(NamedTuple):
    """One counter: of which containers, of what (a status, a depth, a reason), in which bucket, and how many."""

    name: Counter
    type: str
    label: str
    le: str
    value: float

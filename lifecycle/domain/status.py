"""The status machine of a container, written once, as data (design, section 3)."""

from collections.abc import Iterable
from enum import StrEnum

from lifecycle.errors import InvalidArgument


class Status(StrEnum):
    """Where a container stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    INTERRUPTED = "INTERRUPTED"
    STOPPING = "STOPPING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


TRANSITIONS: dict[Status, tuple[Status, ...]] = {
    Status.PENDING: (Status.RUNNING, Status.STOPPING),
    Status.RUNNING: (Status.COMPLETED, Status.FAILED, Status.STOPPING, Status.INTERRUPTED),
    Status.INTERRUPTED: (Status.PENDING, Status.STOPPING, Status.FAILED),
    Status.STOPPING: (Status.STOPPED, Status.COMPLETED, Status.FAILED),
    Status.COMPLETED: (),
    Status.FAILED: (),
    Status.STOPPED: (),
}

TERMINAL = frozenset(status for status, onward in TRANSITIONS.items() if not onward)
LIVE = frozenset(Status) - TERMINAL
ACTIVE = (Status.RUNNING, Status.INTERRUPTED)  # what `list` shows by default (seed 000, issue 2)


def parse_statuses(given: str | Iterable[str]) -> tuple[Status, ...]:
    """Read `"failed, STOPPED"` or several words, in any case; raises InvalidArgument that names the legal ones."""
    words = [word for word in given.split(",") if word.strip()] if isinstance(given, str) else list(given)
    names = [str(word).strip().upper() for word in words]
    unknown = [name or repr(name) for name in names if name not in Status.__members__]
    if unknown or (isinstance(given, str) and not names):
        wrong = ", ".join(unknown) or repr(given)
        raise InvalidArgument(f"unknown status {wrong}; choose from {', '.join(Status)}")
    return tuple(Status(name) for name in dict.fromkeys(names))

"""The status machine of a container, written once, as data (design, section 3)."""

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


def parse_statuses(text: str) -> tuple[Status, ...]:
    """Read `"failed, STOPPED"` in any case; raises InvalidArgument that names the legal words."""
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in Status.__members__]
    if unknown or not names:
        wrong = ", ".join(unknown) or repr(text)
        raise InvalidArgument(f"unknown status {wrong}; choose from {', '.join(Status)}")
    return tuple(Status(name) for name in dict.fromkeys(names))

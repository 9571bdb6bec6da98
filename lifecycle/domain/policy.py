"""Exit codes and messages: how an ending is told (design, section 3); and which times can be meant."""

from collections.abc import Sequence
from dataclasses import dataclass

from lifecycle.errors import InvalidArgument

EXIT_COMPLETED = 0
EXIT_FAILED = 1
EXIT_STOPPED = 143  # 128 + SIGTERM, as the seed has it

STOPPED_BY_USER = "Stopped by user"
STOPPED_BY_ITSELF = "Stopped by itself"
STOPPED_BY_CASCADE = "Stopped via cascade (parent container stopped)"
STOPPED_NOT_RUNNING = "Stopped (not running on any node)"
STOPPED_EXPIRED = "Expired before it ran"
STOPPED_SUPERSEDED = "Superseded - parent restarted"
STOPPED_ORPHAN = "Orphaned worker - parent stopped"
INTERRUPTED_NODE_DOWN = "node shut down"
INTERRUPTED_NODE_LOST = "node lost"
INTERRUPTED_PROCESS_LOST = "process lost"

MAX_SECONDS = 1e9  # about thirty years: more is a mistake

INFINITE = -1  # `iterations=-1`: runs until it is stopped or finishes itself
MIN_INFINITE_INTERVAL = 1.0  # seconds between iterations of an infinite container


def check_seconds(name: str, value: object) -> float:
    """`value` as a number of seconds from 0 that can be waited for; raises InvalidArgument for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
        raise InvalidArgument(f"{name} is a number of seconds from 0 to {MAX_SECONDS:,.0f}, not {value!r}")
    return float(value)


@dataclass(frozen=True, slots=True)
class Restarts:
    """How a container that lost its run is started again: one budget, refilled after `healthy_after` seconds."""

    backoff: tuple[float, ...] = (5.0, 30.0, 120.0)
    healthy_after: float = 600.0

    def used(self, count: int, healthy_for: float) -> int:
        """How many of its restarts a container has used up, that ran `healthy_for` seconds since the last one."""
        return 0 if healthy_for >= self.healthy_after else count

    def wait(self, used: int) -> float:
        """Seconds before the next restart."""
        return nth(self.backoff, used)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """For how long a resource is refused whose holders failed `after` times with one error, and then once more."""

    after: int = 3
    backoff: tuple[float, ...] = (900.0, 1800.0, 3600.0)

    def seconds(self, failures: int) -> float | None:
        """How long after the last of so many failures; None: not at all."""
        return nth(self.backoff, failures - self.after) if failures >= self.after else None


def nth(steps: Sequence[float], index: int) -> float:
    """The step of this index; beyond the last, the last."""
    return steps[min(index, len(steps) - 1)]

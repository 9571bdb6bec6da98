"""Exit codes and messages: how an ending is told (design, section 3); and which times can be meant."""

from lifecycle.errors import InvalidArgument

EXIT_COMPLETED = 0
EXIT_FAILED = 1
EXIT_STOPPED = 143  # 128 + SIGTERM, as the seed has it

STOPPED_BY_USER = "Stopped by user"
STOPPED_BY_ITSELF = "Stopped by itself"
STOPPED_BY_CASCADE = "Stopped via cascade (parent container stopped)"
STOPPED_NOT_RUNNING = "Stopped (not running on any node)"
STOPPED_EXPIRED = "Expired before it ran"
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

"""Exit codes and messages: how an ending is told (design, section 3)."""

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

INFINITE = -1  # `iterations=-1`: runs until it is stopped or finishes itself
MIN_INFINITE_INTERVAL = 1.0  # seconds between iterations of an infinite container

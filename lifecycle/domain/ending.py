"""How an execution ended, before the database says what that makes of its container."""

from dataclasses import dataclass
from typing import Any

from lifecycle.domain.policy import EXIT_COMPLETED, EXIT_FAILED, EXIT_STOPPED, STOPPED_BY_USER
from lifecycle.domain.status import Status
from lifecycle.domain.text import as_result, clean

MAX_MESSAGE = 2_000  # characters of an error kept on the row; the logs have it whole


@dataclass(frozen=True, slots=True)
class Ending:
    """One of completed, failed, stopped: what the body came to."""

    outcome: Status
    exit_code: int
    exit_message: str | None
    result: Any = None


def completed(result: Any = None, message: str | None = None) -> Ending:
    """The body returned; what JSON cannot hold is kept as text."""
    return Ending(Status.COMPLETED, EXIT_COMPLETED, message, as_result(result))


def failed(error: BaseException | str) -> Ending:
    """The body raised `error`."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return Ending(Status.FAILED, EXIT_FAILED, clean(text)[:MAX_MESSAGE])


def stopped() -> Ending:
    """A stop was raised in the body; the row knows the message that goes with it."""
    return Ending(Status.STOPPED, EXIT_STOPPED, STOPPED_BY_USER)

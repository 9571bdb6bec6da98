"""How an execution ended, before the database says what that makes of its container."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lifecycle.domain.policy import EXIT_COMPLETED, EXIT_FAILED, EXIT_STOPPED, STOPPED_BY_USER, check_seconds
from lifecycle.domain.status import Status
from lifecycle.domain.text import as_result, clean
from lifecycle.errors import InvalidArgument

FIRST_YEAR, LAST_YEAR = 1, 9999  # beyond them a time has no UTC
MAX_MESSAGE = 2_000  # characters of an error kept on the row; the logs have it whole


@dataclass(frozen=True, slots=True)
class Ending:
    """One of completed, failed, stopped: what the body came to."""

    outcome: Status
    exit_code: int
    exit_message: str | None
    result: Any = None
    forgiven: bool = False
    """True for a failure that says nothing against what the container holds."""


def completed(result: Any = None, message: str | None = None) -> Ending:
    """The body returned; what JSON cannot hold is kept as text."""
    return Ending(Status.COMPLETED, EXIT_COMPLETED, message, as_result(result))


def failed(error: BaseException | str, *, forgiven: bool = False) -> Ending:
    """The body raised `error`."""
    return Ending(Status.FAILED, EXIT_FAILED, describe(error), forgiven=forgiven)


def describe(error: BaseException | str) -> str:
    """An error as rows keep it."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return clean(text)[:MAX_MESSAGE]


def stopped() -> Ending:
    """A stop was raised in the body; the row knows the message that goes with it."""
    return Ending(Status.STOPPED, EXIT_STOPPED, STOPPED_BY_USER)


@dataclass(frozen=True, slots=True)
class Later:
    """What a body returns that is to run again: until then it holds no slot, and no iteration is counted."""

    until: float | datetime
    """Seconds from now, or the time itself."""
    state: dict[str, Any] = field(default_factory=dict)
    """What is added to the container's state."""


@dataclass(frozen=True, slots=True)
class Finish:
    """What a body returns that is done, however many iterations were left."""

    message: str | None = None
    result: Any = None


def later(when: float | timedelta | datetime, /, **state: Any) -> Later:
    """What a body returns to be run again: in seconds, after a timedelta, or at an aware time.

    Its slot is given back until then and no iteration is counted; a past time is now. `state` is added to what
    `current_container().state` holds then. Raises InvalidArgument.
    """
    return Later(_moment(when), as_state(state))


def finish(message: str | None = None, *, result: Any = None) -> Finish:
    """What a body returns that is done: its container is COMPLETED, also with iterations left or without an end.

    message: kept as its exit message. result: what its result is, for Celery too.
    """
    if message is not None and not isinstance(message, str):
        raise InvalidArgument(f"a message is text, not {message!r}")
    return Finish(None if message is None else clean(message)[:MAX_MESSAGE], result)


def as_state(values: dict[str, Any]) -> dict[str, Any]:
    """State as every database can keep it; raises InvalidArgument for what JSON cannot hold."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(values, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"a container's state must be JSON: {error}") from error
    return plain


def _moment(when: object) -> float | datetime:
    if isinstance(when, timedelta):
        when = max(when.total_seconds(), 0.0)
    if not isinstance(when, datetime):
        return check_seconds("when", when)
    if when.tzinfo is None:
        raise InvalidArgument(f"a time must be timezone-aware, as datetime.now(UTC) is: {when}")
    if not FIRST_YEAR < when.year < LAST_YEAR:
        raise InvalidArgument(f"no container wakes at {when}")
    return when

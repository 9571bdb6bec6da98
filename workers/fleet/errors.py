"""What may come of a call to the API other than its answer."""

from collections.abc import Mapping
from typing import Any


class FleetError(Exception):
    """Base of what the fleet's client raises."""


class NotConfigured(FleetError):
    """A setting is missing or impossible; the message says which and what to set."""


class Refused(FleetError):
    """The API has heard the call and said no: nothing was done, nor will be until something changes."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code, self.message, self.data = code, message, dict(data or {})

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors go through Celery's results: with their own arguments, not those of Exception."""
        return type(self), (self.code, self.message, self.data)


class Unreachable(FleetError):
    """No answer in time. An order may have been executed: ask the API how things are before repeating it."""


class NotSent(Unreachable):
    """The API has not taken the order, at no try: it was not executed."""

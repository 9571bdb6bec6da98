"""The universe's time: as many of its seconds pass in one of ours as the compression says."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Instants are ours, in seconds since 1970, so that arrivals can be waited for; only durations are compressed."""

    def __init__(self, compression: float = 1.0, floor: float = 0.0, source: Callable[[], float] = time.time) -> None:
        self._compression, self._floor, self.now = compression, floor, source
        self.start = source()

    def after(self, seconds: float) -> float:
        """When so many seconds of the universe are over; the floor is the least, in seconds of ours."""
        over = self.now() + max(seconds / self._compression, self._floor)
        return math.ceil(over * 1000) / 1000  # as it is told: nobody who has waited for it comes too early

    def age(self) -> float:
        """Of the universe, in its own seconds."""
        return (self.now() - self.start) * self._compression


def stamp(instant: float) -> str:
    """2026-11-23T01:46:51.250Z"""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

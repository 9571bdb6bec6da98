"""How many requests an account may make: so many a second, and some more now and then."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from workers.fleet.universe.error import Code, Refusal

WINDOW = 60.0  # seconds, in which the burst may be used once


@dataclass
class Allowance:
    """Of one account. `now` is any clock that does not go back."""

    rate: float
    burst: int
    left: float
    at: float
    spare: int
    renewed: float

    @classmethod
    def full(cls, rate: float, burst: int, now: float) -> "Allowance":
        return cls(rate, burst, left=max(rate, 1.0), at=now, spare=burst, renewed=now)

    def take(self, now: float) -> None:
        """One request, or the refusal that says when the next may come."""
        self.left = min(max(self.rate, 1.0), self.left + (now - self.at) * self.rate)
        self.at = now
        if now - self.renewed >= WINDOW:
            self.spare, self.renewed = self.burst, now
        if self.left >= 1:
            self.left -= 1
        elif self.spare:
            self.spare -= 1
        else:
            raise self._refusal((1 - self.left) / self.rate)

    def _refusal(self, wait: float) -> Refusal:
        return Refusal(
            Code.BUSY,
            "You have reached your API limit.",
            type="Account",
            retryAfter=math.ceil(wait),
            limitBurst=self.burst,
            limitPerSecond=self.rate,
            remaining=0,
            reset=(datetime.now(UTC) + timedelta(seconds=wait)).isoformat(),
        )

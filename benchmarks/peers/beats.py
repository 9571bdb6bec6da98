"""A side file in which bodies say that they live. The systems know nothing of it; one clock of the machine reads it.

Standard library only: each peer's processes import it.
"""

import asyncio
import mmap
import time
from functools import lru_cache
from pathlib import Path

ROW = 3  # began, last tick, ended: seconds of the monotonic clock, 0 for not yet
PARENT = 0
TICK = 0.05
FASTEST = 2_000  # ticks a second of all together: more would be work of its own


class Beats:
    """A row a body; the parent's is the first. The first number of all is the seconds between two ticks."""

    def __init__(self, path):
        with Path(path).open("r+b") as file:
            self._rows = memoryview(mmap.mmap(file.fileno(), 0)).cast("d")

    @classmethod
    def create(cls, path, children, running=0):
        Path(path).write_bytes(bytes(8 * (1 + ROW * (children + 1))))
        beats = cls(path)
        beats._rows[0] = max(TICK, running / FASTEST)
        return beats

    def say(self, number, field):
        self._rows[1 + ROW * number + field] = time.monotonic()

    @property
    def pause(self):
        return self._rows[0]

    def column(self, field):
        """Of the children; none of the parent."""
        return self._rows[1 + ROW + field :: ROW].tolist()

    @property
    def has_spawned(self):
        """Whether the parent has."""
        return self._rows[1 + 2] > 0

    @property
    def running(self):
        """Children that began and did not end as far as they say: who was killed does not say it."""
        pairs = zip(self.column(0), self.column(2), strict=True)
        return sum(began > 0 and not ended for began, ended in pairs)

    @property
    def has_ended(self):
        return all(self.column(2))

    @property
    def last(self):
        """When anything of it was last seen to run."""
        return max(map(max, (self.column(1), self.column(2))))

    def begun_after(self, moment):
        return sum(began > moment for began in self.column(0))


@lru_cache(maxsize=4)
def opened(path):
    return Beats(path)


def spawned(path):
    """The parent's word that all its children are handed over."""
    opened(path).say(PARENT, 2)


def noop(path, number):
    beats = opened(path)
    beats.say(number, 0)
    beats.say(number, 2)


def linger(path, number):
    """Work until it is stopped, however its system does that."""
    beats = opened(path)
    beats.say(number, 0)
    try:
        while True:
            beats.say(number, 1)
            time.sleep(beats.pause)
    finally:
        beats.say(number, 2)


async def linger_async(path, number):
    beats = opened(path)
    beats.say(number, 0)
    try:
        while True:
            beats.say(number, 1)
            await asyncio.sleep(beats.pause)
    finally:
        beats.say(number, 2)

"""Work that waits for a database or a broker, off Flower's event loop."""

import asyncio
import math
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lifecycle.web.refusal import Refused

READERS = 4  # threads; a Flower serves people, not fleets
ACTORS = 4
FRESH = 1.0  # seconds: what many tabs ask at once is asked of the database once
PATIENCE = 15.0  # seconds; a statement gives up before
LONGEST = 60.0  # seconds: to mark a hundred thousand
MOST = 128  # answers kept


class Answer:
    """One that is under way, or until when it is fresh."""

    def __init__(self, future: "asyncio.Future[Any]", begun: float) -> None:
        self.future, self.until, self._begun = future, math.inf, begun
        future.add_done_callback(self._done)

    def _done(self, future: "asyncio.Future[Any]") -> None:
        _look(future)
        now = time.monotonic()
        self.until = now + max(FRESH, 2 * (now - self._begun))


class Desk:
    """A few threads, and the latest answers."""

    def __init__(self) -> None:
        self._readers = ThreadPoolExecutor(READERS, "containers-read")
        self._actors = ThreadPoolExecutor(ACTORS, "containers-act")
        self._answers: dict[Hashable, Answer] = {}

    async def read(self, key: Hashable, work: Callable[[], Any]) -> Any:
        """What `work` gives; an answer, or error, that is under way or fresh is shared.

        Fresh is a second, or twice the time it took: what is hard to find is not sought all the time.
        """
        begun = time.monotonic()
        self._drop(begun)
        if key not in self._answers:
            future = asyncio.get_running_loop().run_in_executor(self._readers, work)
            self._answers[key] = Answer(future, begun)
        return await _patiently(self._answers[key].future)

    async def ask(self, work: Callable[[], Any]) -> Any:
        """What `work` gives now, whatever was read before."""
        return await _patiently(asyncio.get_running_loop().run_in_executor(self._readers, work))

    async def act(self, work: Callable[[], Any]) -> Any:
        """Do something, and forget all answers."""
        try:
            return await _patiently(asyncio.get_running_loop().run_in_executor(self._actors, work), LONGEST)
        finally:
            self._answers.clear()

    async def briefly(self, work: Callable[[], Any], seconds: float, otherwise: Any) -> Any:
        """Do something, and wait no longer than this for what it gives; it is done all the same."""
        future = asyncio.get_running_loop().run_in_executor(self._actors, work)
        future.add_done_callback(_look)
        try:
            return await asyncio.wait_for(asyncio.shield(future), seconds)
        except TimeoutError:
            return otherwise

    def _drop(self, now: float) -> None:
        old = [key for key, answer in self._answers.items() if answer.until < now]
        for key in old or list(self._answers)[: max(0, len(self._answers) - MOST)]:
            del self._answers[key]


async def _patiently(future: "asyncio.Future[Any]", seconds: float = PATIENCE) -> Any:
    try:
        return await asyncio.wait_for(asyncio.shield(future), seconds)
    except TimeoutError as error:
        raise Refused(503, "the database is busy: try again later", code="database_unreachable") from error


def _look(future: "asyncio.Future[Any]") -> None:
    """An error that nobody waits for any more is none to tell of."""
    if not future.cancelled():
        future.exception()

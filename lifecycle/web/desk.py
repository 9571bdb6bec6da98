"""Work that waits for a database or a broker, off Flower's event loop."""

import asyncio
import math
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from lifecycle.web.pool import Full, Pool
from lifecycle.web.refusal import Refused
from lifecycle.web.tally import Tally

READERS = 4  # threads; a Flower serves people, not fleets
ACTORS = 4
CALLERS = 8
WATCHERS = 2
WAITING = 128  # works that wait for one of them
FRESH = 1.0  # seconds: what many tabs ask at once is asked of the database once
PATIENCE = 15.0  # seconds; a statement gives up before
LONGEST = 60.0  # seconds: to mark a hundred thousand
MOST = 128  # answers kept
BUSY = "the database is busy: try again later"
NOT_BEGUN = "Too much is being done already; this was not begun: try again later."
UNANSWERED = "This has begun, and nothing is known of it yet: look what came of it before you try again."


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
    """A few threads, and the latest answers. A broker that hangs keeps neither readers nor marks of a stop waiting."""

    def __init__(self) -> None:
        self._readers = Pool("containers-read", READERS, WAITING)
        self._actors = Pool("containers-act", ACTORS, WAITING)
        self._callers = Pool("containers-call", CALLERS, WAITING)
        self._watchers = Pool("containers-watch", WATCHERS, WAITING)
        self.tally = Tally()
        self._answers: dict[Hashable, Answer] = {}

    async def read(self, key: Hashable, work: Callable[[], Any]) -> Any:
        """What `work` gives; an answer, or error, that is under way or fresh is shared.

        Fresh is a second, or twice the time it took: what is hard to find is not sought all the time.
        """
        begun = time.monotonic()
        self._drop(begun)
        if key not in self._answers:
            self._answers[key] = Answer(asyncio.wrap_future(_begin(self._readers, work)), begun)
        try:
            return await _within(PATIENCE, self._answers[key].future)
        except TimeoutError as error:
            raise Refused(503, BUSY, code="database_unreachable") from error

    async def ask(self, work: Callable[[], Any]) -> Any:
        """What `work` gives now, whatever was read before."""
        future = _begin(self._readers, work)
        try:
            return await _within(PATIENCE, asyncio.wrap_future(future))
        except TimeoutError as error:
            future.cancel()
            raise Refused(503, BUSY, code="database_unreachable") from error

    async def act(self, work: Callable[[], Any]) -> Any:
        """Do something to the database, and forget all answers."""
        return await self._do(self._actors, work)

    async def call(self, work: Callable[[], Any]) -> Any:
        """Do something that needs the broker too, which may hang; forget all answers."""
        return await self._do(self._callers, work)

    async def call_briefly(self, work: Callable[[], Any], seconds: float, otherwise: Any) -> Any:
        """Do something that needs the broker, and wait no longer than this; it may be done all the same."""
        try:
            return await _within(seconds, asyncio.wrap_future(self._callers.submit(work)))
        except (Full, TimeoutError):
            return otherwise

    async def _do(self, pool: Pool, work: Callable[[], Any]) -> Any:
        """Raises Refused for what nobody can tell of in time, and says whether it may have been done."""
        future = _begin(pool, work)
        try:
            return await _within(LONGEST, asyncio.wrap_future(future))
        except TimeoutError as error:
            if future.cancel():
                raise Refused(503, NOT_BEGUN, code="busy") from error
            raise Refused(503, UNANSWERED, code="unanswered") from error
        finally:
            self._answers.clear()

    def watch(self, work: Callable[[], Any]) -> None:
        """Have something seen to its end that mostly comes to it by itself; one may leave it undone."""
        with suppress(Full):
            self._watchers.submit(work)

    def _drop(self, now: float) -> None:
        old = [key for key, answer in self._answers.items() if answer.until < now]
        for key in old or list(self._answers)[: max(0, len(self._answers) - MOST)]:
            del self._answers[key]


def _begin(pool: Pool, work: Callable[[], Any]) -> "Future[Any]":
    try:
        return pool.submit(work)
    except Full as error:
        raise Refused(503, NOT_BEGUN, code="busy") from error


async def _within(seconds: float, future: "asyncio.Future[Any]") -> Any:
    """What it gives; raises TimeoutError, and lets it go on."""
    future.add_done_callback(_look)
    return await asyncio.wait_for(asyncio.shield(future), seconds)


def _look(future: "asyncio.Future[Any]") -> None:
    """An error that nobody waits for any more is none to tell of."""
    if not future.cancelled():
        future.exception()

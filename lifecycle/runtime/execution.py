"""One execution of a container in this process: what its body may ask, and how a stop reaches it."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from billiard.exceptions import SoftTimeLimitExceeded

from lifecycle.domain.container import Container
from lifecycle.domain.ending import Ending
from lifecycle.errors import ContainerInterrupted, ContainerStopped, CutShort, InvalidArgument
from lifecycle.runtime.page import Page
from lifecycle.store.engine import Connection, is_open

SHORT = 0.2  # seconds
STOP_SIGNAL = signal.SIGUSR2  # the one signal that Celery's prefork pool leaves alone


class Execution:
    """From the claim until Celery has stored the result."""

    def __init__(self, container: Container, page: Page | None = None, slot: int | None = None) -> None:
        self.container = container
        self.armed = False
        """True while the body runs: only then a stop is raised."""
        self.raised = False
        """True once a stop was raised: the container ends STOPPED whatever the body does."""
        self.interrupted = False
        """True once an interrupt was raised: a body that only returns then has not done its work."""
        self.over = False
        """True once the body has returned or raised."""
        self.ended = False
        """True once its ending is written, or it is to write none."""
        self.failure: Ending | None = None
        """What a body that raised came to; it is written once Celery has called errbacks, as its siblings."""
        self.message: str | None = None
        """What `finish(message)` said."""
        self.retry: tuple[dict[str, Any], float] | None = None
        """What `self.retry()` asked for: the message, and seconds until it."""
        self.lent: list[Connection] = []
        """The caller's own connections that spawned here: an open transaction of one holds a lock on our row."""
        self._thread = threading.get_ident()
        self._shields = 0
        self._asked = threading.Event()
        self._stop = self._cut = False
        self._overtime = False
        self._page = page
        self._slot = slot

    def body(self, call: Callable[[], Any]) -> Any:
        """Run the body; a stop can be raised in it from here until it has returned or raised."""
        self.over = False
        try:
            self.armed = True
            self.meet_limit()
            return call()
        finally:
            self.armed = False
            self.over = True

    @property
    def has_begun(self) -> bool:
        """True once the body was called, also after it: links, errbacks and chords are Celery's last steps of a run."""
        return self.armed or self.over

    def ask_stop(self) -> None:
        """From the supervisor's thread: the next `checkpoint()` or `sleep()` raises."""
        self._stop = True
        self._asked.set()

    def ask_cut(self) -> None:
        """As `ask_stop`, since the node shuts down."""
        self._cut = True
        self._asked.set()

    @property
    def key(self) -> tuple[str, int]:
        """Which execution of which container: two epochs of one can overlap here."""
        return self.container.id, self.container.epoch

    @property
    def stop_asked(self) -> bool:
        """True if this execution is to be stopped."""
        if self._page is None or self._slot is None:
            return self._stop
        return self._page.is_asked(self._slot, *self.key)

    @property
    def cut_asked(self) -> bool:
        """True if this execution is to be interrupted."""
        if self._page is None or self._slot is None:
            return self._cut
        return self._page.is_cut(self._slot, *self.key)

    @property
    def can_be_cut_short(self) -> bool:
        """True if a signal raises its stop, wherever it is; elsewhere a body comes to it, between two calls."""
        return self._page is not None

    @property
    def _can_meet_a_stop(self) -> bool:
        """`armed` alone does not say it: a stop raised as the body returned left it true."""
        return self.armed and not (self.over or self.ended or self._shields)

    def meet_stop(self) -> None:
        """Raise ContainerStopped or ContainerInterrupted if asked to; each once only where it is cleaned up after.

        Not while shielded, nor once the body is over. Stop beats interrupt, and reaches a clean-up after one.
        """
        if not self._can_meet_a_stop:
            return
        handled = _handled()
        if self.stop_asked and not isinstance(handled, ContainerStopped):
            self.raised = True
            raise ContainerStopped(self.container.id)
        if self.cut_asked and handled is None:
            self.interrupted = True
            raise ContainerInterrupted(self.container.id)

    def meet_limit(self) -> None:
        """Raise Celery's soft time limit once, where a stop would be raised; the clean-up after a stop has its kill."""
        if self._overtime and self._can_meet_a_stop and not self.raised and _handled() is None:
            self._overtime = False
            raise SoftTimeLimitExceeded

    def run_over(self) -> None:
        """Its soft time limit is over: raise that in the body, now or as a shield ends."""
        self._overtime = True
        self.meet_limit()

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """No stop is raised inside; one that came meanwhile is raised at the end.

        In the body's own thread: signals are raised nowhere else.
        """
        if threading.get_ident() != self._thread:
            yield
            return
        self._shield(+1)
        try:
            yield
        finally:
            self._shield(-1)
            self.meet_limit()  # it is signalled once, so it may not get lost behind an error
        self.meet_stop()

    def keep(self, state: dict[str, Any]) -> None:
        """Add to the container's state, on its row and here."""
        if any(map(is_open, self.lent)):
            raise InvalidArgument("commit the transaction that spawned here first: it holds this container's row")
        known = {**self.container.state, **state}
        with self.shielded():
            self.container = self.container.keep_state(known)

    def take_back(self) -> bool:
        """After the body: roll back what it left open, or its own ending would wait for it; True if there was any."""
        left = [connection for connection in self.lent if is_open(connection)]
        for connection in left:
            connection.rollback()
        return bool(left)

    def _shield(self, step: int) -> None:
        self._shields += step
        if self._page is not None and self._slot is not None:
            self._page.shield(self._slot, self._shields > 0)

    def sleep(self, seconds: float) -> None:
        """Wait, keeping the slot; a stop ends it."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.meet_stop()
            if self._asked.is_set():  # shielded, or cleaning up: a stop may still come
                time.sleep(min(left, SHORT))
            else:
                self._asked.wait(left)
        self.meet_stop()


def _handled() -> CutShort | None:
    """What an `except` or `finally` at hand cleans up after: raising the same there would cut its clean-up short."""
    error, found = sys.exception(), None
    while error is not None:
        if isinstance(error, ContainerStopped):
            return error
        if isinstance(error, CutShort):
            found = error
        error = error.__context__
    return found


class Holder(Protocol):
    """Where a process or a thread keeps its current execution."""

    execution: Execution | None


class _Process:
    """One execution a process (prefork, solo): threads that a body starts see it too."""

    execution: Execution | None = None


_holder: Holder = _Process()
running: dict[tuple[str, int], Execution] = {}
"""Every execution of this process, by container id and epoch: what a supervisor in the same process looks at."""
claiming: dict[int, str] = {}
"""What each thread is about to claim: its row may name this process already."""


def hold_by_thread() -> None:
    """From now on each thread has a current execution of its own; each greenlet too, where gevent has patched."""
    global _holder  # noqa: PLW0603 - chosen once, when the pool is known

    class Thread(threading.local):  # not before: gevent may patch after we were imported
        execution: Execution | None = None

    _holder = Thread()


def current_execution() -> Execution | None:
    """The execution at hand, or None outside of a container."""
    return _holder.execution


def begin(container_id: str) -> None:
    """Say that the calling thread is about to claim a container."""
    claiming[threading.get_ident()] = container_id


def give_way() -> None:
    """Say that the calling thread claims nothing any more."""
    claiming.pop(threading.get_ident(), None)


def enter(execution: Execution) -> None:
    """Make it the current one."""
    _holder.execution = execution
    running[execution.key] = execution
    give_way()


def leave() -> None:
    """No container runs here any more."""
    if _holder.execution is not None:
        running.pop(_holder.execution.key, None)
    _holder.execution = None

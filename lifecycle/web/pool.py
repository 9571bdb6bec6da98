"""Daemon threads for what may hang: a process ends without them, as `ThreadPoolExecutor` would not let it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from lifecycle.runtime.native import start_thread

Work = Callable[[], Any]


class Full(Exception):
    """Every thread is busy, and as many works wait as may."""


class Pool:
    """At most so many works at once, each in a thread, and so many that wait for one."""

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._name, self._most, self._room = name, threads, threads + waiting
        self._works = SimpleQueue[tuple[Future[Any], Work]]()
        self._lock = threading.Lock()
        self._here = self._threads = 0

    def submit(self, work: Work) -> Future[Any]:
        """Have it done; raises Full. What has not begun can be cancelled."""
        with self._lock:
            if self._here >= self._room:
                raise Full
            self._here += 1
            is_wanted = self._threads < min(self._here, self._most)
            self._threads += is_wanted
        future: Future[Any] = Future()
        self._works.put((future, work))
        if is_wanted:
            start_thread(self._serve, self._name)
        return future

    def _serve(self) -> None:
        while True:
            _do(*self._works.get())
            with self._lock:
                self._here -= 1


def _do(future: Future[Any], work: Work) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised where the result was wanted
        future.set_exception(error)

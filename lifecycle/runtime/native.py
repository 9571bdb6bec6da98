"""Threads of the kernel, also where gevent put greenlets in their place: a lease cannot wait for a body to yield."""

import sys
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

LONG = 3600.0  # seconds


def native(module: str, name: str) -> Any:
    """A name of the standard library as it was before gevent patched it."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)


def start_thread(work: Callable[[], None], name: str) -> Callable[[float], object]:
    """Run `work` in a daemon thread; returns how to wait for its end, at most so many seconds.

    `threading.Thread` is no help under gevent: also the original one starts a greenlet.
    """
    start = native("_thread", "start_new_thread")
    if start is threading._start_new_thread:  # type: ignore[attr-defined]  # noqa: SLF001 - what Thread would call
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread.join
    _keep_loop()
    over = native("_thread", "allocate_lock")()
    over.acquire()
    start(_until_over, (work, over))
    return lambda seconds: over.acquire(timeout=seconds)


def _until_over(work: Callable[[], None], over: threading.Lock) -> None:
    try:
        work()
    finally:
        over.release()


@cache
def _keep_loop() -> Any:
    """Let the main thread wait for another one in whatever lock, as in that of a module both import; once.

    gevent waits in a loop, and if nothing is in that of the main thread it raises "this would block forever": it does
    not count on other threads there. A node that met an import of a thread of ours at its start did not come up.
    """
    timer = sys.modules["gevent"].get_hub().loop.timer(LONG, LONG)
    timer.start(_nothing)
    return timer


def _nothing() -> None:
    """What the timer calls."""

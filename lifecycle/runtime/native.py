"""Threads of the kernel, also where gevent put greenlets in their place: a lease cannot wait for a body to yield."""

import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any


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
    over = native("_thread", "allocate_lock")()
    over.acquire()
    start(_until_over, (work, over))
    return lambda seconds: over.acquire(timeout=seconds)


def _until_over(work: Callable[[], None], over: threading.Lock) -> None:
    try:
        work()
    finally:
        over.release()

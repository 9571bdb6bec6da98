"""Threads of the kernel, also where gevent put greenlets in their place: a lease cannot wait for a body to yield."""

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

LONG = 3600.0  # seconds
SHORT = 0.01
T = TypeVar("T")


def is_green() -> bool:
    """True if gevent has put greenlets in the place of threads."""
    return native("_thread", "start_new_thread") is not import_module("_thread").start_new_thread


def native(module: str, name: str) -> Any:
    """A name of the standard library as it was before gevent patched it."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)


def start_thread(work: Callable[[], None], name: str) -> Callable[[float], object]:
    """Run `work` in a daemon thread; returns how to wait for its end, at most so many seconds.

    `threading.Thread` is no help under gevent: also the original one starts a greenlet.
    """
    if not is_green():
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread.join
    _keep_loop()
    over = native("_thread", "allocate_lock")()
    over.acquire()
    native("_thread", "start_new_thread")(_until_over, (work, over))
    return lambda seconds: _wait(over, seconds)


def within(seconds: float, call: Callable[[], T]) -> T:
    """Make a call that may hang, in a thread of its own; raises what it raises, and TimeoutError."""
    came: list[tuple[Any, Exception | None]] = []

    def make() -> None:
        try:
            came.append((call(), None))
        except Exception as error:  # noqa: BLE001 - raised where the call was wanted
            came.append((None, error))

    start_thread(make, "lifecycle-call")(seconds)
    if not came:
        raise TimeoutError(f"no answer within {seconds:g} s")
    value, error = came[0]
    if error is not None:
        raise error
    made: T = value
    return made


def in_main_thread(call: Callable[[], T]) -> T:
    """Make a call in the main thread of a process on gevent, whose greenlets go on meanwhile; raises what it raises.

    A socket of gevent's can be used in no other thread than that which opened it, and Celery's pools keep them for all.
    """
    if native("_thread", "get_native_id")() == os.getpid():
        return call()
    done, came = native("_thread", "allocate_lock")(), list[tuple[Any, BaseException | None]]()
    done.acquire()

    def make() -> None:
        try:
            came.append((call(), None))
        except BaseException as error:  # noqa: BLE001 - raised where the call was wanted
            came.append((None, error))
        finally:
            done.release()

    _keep_loop().loop.run_callback_threadsafe(sys.modules["gevent"].spawn_raw, make)
    done.acquire()
    value, error = came[0]
    if error is not None:
        raise error
    made: T = value
    return made


def _wait(over: threading.Lock, seconds: float) -> bool:
    """Let greenlets go on: the thread that is waited for may need one."""
    end = time.monotonic() + seconds
    while not (is_over := over.acquire(blocking=False)) and time.monotonic() < end:
        time.sleep(SHORT)
    return is_over


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

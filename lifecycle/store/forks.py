"""A fork waits until no transaction of this process is open, and closes its connections first: a child inherits none.

SQLite keeps its locks in the memory of the process: a child forked while another thread held the write lock would
believe that it held it itself, and find the database locked for ever. So with every lock that another thread holds in
a library, as that of a module being imported: in the child nobody ever gives it back.
"""

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PATIENCE = 10.0  # seconds a fork waits for other threads' blocks, where these do not say less
TICK = 0.001  # seconds between two looks while one waits for the other
_one_fork = threading.RLock()
_forking: int | None = None  # the thread that forks
_open: dict[object, tuple[int, float | None]] = {}  # a token for each open block: its thread and its patience


class Inheritable(Protocol):
    """What must not reach a child."""

    def dispose(self) -> None:
        """Close this process's connections."""
        ...


_all: weakref.WeakSet[Inheritable] = weakref.WeakSet()


def close_at_fork(database: Inheritable) -> None:
    """From now on no child inherits its connections."""
    _all.add(database)


@contextmanager
def no_fork(patience: float | None = None) -> Iterator[None]:
    """Other threads that fork wait for the end of this block, but no longer than `patience` seconds, by default 10.

    Without a lock, and left in one step: a signal handler may raise anywhere in here, and a lock would stay taken.
    """
    token = object()
    try:
        _enter(token, threading.get_ident(), patience)
        yield
    finally:
        _open.pop(token, None)


def _enter(token: object, me: int, patience: float | None) -> None:
    """Say so first, then look for a fork, which says so first and then looks for us: one of the two gives way."""
    is_inner = me in [thread for thread, _ in list(_open.values())]  # the fork waits for the outer block already
    _open[token] = (me, patience)
    while _forking not in (None, me) and not is_inner:
        _open.pop(token, None)
        time.sleep(TICK)
        _open[token] = (me, patience)


def _others(waited: float = 0.0) -> list[object]:
    """The blocks of other threads that a fork still waits for after so long; copied, for they may be left meanwhile."""
    me = threading.get_ident()
    there = [(token, patience) for token, (thread, patience) in list(_open.items()) if thread != me]
    return [token for token, patience in there if waited <= (PATIENCE if patience is None else patience)]


def _before() -> None:
    global _forking  # noqa: PLW0603 - one fork at a time
    _one_fork.acquire()
    _forking = threading.get_ident()
    began = time.monotonic()
    while _others(time.monotonic() - began):
        time.sleep(TICK)
    if not _open:
        for database in list(_all):
            database.dispose()


def _after() -> None:
    global _forking  # noqa: PLW0603 - see above
    _forking = None
    _one_fork.release()


def _in_child() -> None:
    """Of all threads only the forking one is here: what was open in the others never ends."""
    for token in _others():
        del _open[token]
    _after()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)

"""A fork waits until no transaction of this process is open, and closes its connections first: a child inherits none.

SQLite keeps its locks in the memory of the process: a child forked while another thread held the write lock would
believe that it held it itself, and find the database locked for ever. Forked while another thread read, it would hold
no lock in truth: once all others had closed the file, it would go on, reading and writing, in a log that is deleted.
So a fork waits for SQLite as long as it takes; for a server, which may hang, only for a time.

So with every lock that another thread holds in a library, as that of a module being imported: in the child nobody gives
it back. Threads of ours that may hold one say so, and a fork waits for them too, but not for long.
"""

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PATIENCE = 10.0  # seconds in which a fork lets other threads' transactions begin; then it insists, or gives up
TURN = 0.2  # seconds for which a fork holds others up, and for which it lets them go on, while it waits
TICK = 0.001  # seconds between two looks while one waits for the other
_one_fork = threading.RLock()
_forking: int | None = None  # the thread that forks
_open: dict[object, int] = {}  # a token for each open block: the thread it is open in
_files: set[object] = set()  # the tokens of those that no child can live with
_waiting: int | None = None  # the thread that is about to fork
_inside: dict[int, float] = {}  # threads inside a library, and for how many seconds a fork waits for each


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
def no_fork(*, of_file: bool = False) -> Iterator[None]:
    """Other threads that fork wait for the end of this block; if it is of a database in a file, however long it takes.

    Without a lock, and left in one step: a signal handler may raise anywhere in here, and a lock would stay taken.
    """
    token = object()
    try:
        if of_file:
            _files.add(token)
        _enter(token, threading.get_ident())
        yield
    finally:
        _open.pop(token, None)
        _files.discard(token)


@contextmanager
def inside_a_library(patience: float) -> Iterator[None]:
    """Other threads that fork wait for the end of this block, but no longer than `patience` seconds.

    Nobody else waits meanwhile: a lease is renewed, whatever a broker does. Not for use in a block of its own kind.
    """
    me = threading.get_ident()
    try:
        _inside[me] = patience
        while _waiting not in (None, me):  # as below: one of the two gives way
            _inside.pop(me)
            time.sleep(TICK)
            _inside[me] = patience
        yield
    finally:
        _inside.pop(me, None)


def _enter(token: object, me: int) -> None:
    """Say so first, then look for a fork, which says so first and then looks for us: one of the two gives way."""
    is_inner = me in list(_open.values())  # the fork waits for the outer block already
    _open[token] = me
    while _forking not in (None, me) and not is_inner:
        _open.pop(token, None)
        time.sleep(TICK)
        _open[token] = me


def _others() -> list[object]:
    """The blocks open in other threads, copied: they may be left meanwhile."""
    return [token for token, thread in list(_open.items()) if thread != threading.get_ident()]


def _wait_for_libraries() -> None:
    """Before transactions are held up."""
    global _waiting  # noqa: PLW0603 - one fork at a time
    _waiting = me = threading.get_ident()
    began = time.monotonic()
    while any(thread != me and time.monotonic() - began < patience for thread, patience in list(_inside.items())):
        time.sleep(TICK)


def _is_quiet() -> bool:
    """Hold others up for a turn; True if none is in a transaction any more."""
    global _forking  # noqa: PLW0603 - see above
    _forking = threading.get_ident()
    end = time.monotonic() + TURN
    while (others := _others()) and time.monotonic() < end:
        time.sleep(TICK)
    return not others


def _before() -> None:
    global _forking  # noqa: PLW0603 - see above
    _one_fork.acquire()
    _wait_for_libraries()
    patient_until = time.monotonic() + PATIENCE
    while not _is_quiet():
        if time.monotonic() < patient_until:
            _forking = None  # one long transaction must not hold up all others: a lease has to be renewed
            time.sleep(TURN)
        elif not _files.intersection(_others()):
            break
    if not _open:
        for database in list(_all):
            database.dispose()


def _after() -> None:
    global _forking, _waiting  # noqa: PLW0603 - see above
    _forking = _waiting = None
    _one_fork.release()


def _in_child() -> None:
    """Of all threads only the forking one is here: what was open in the others never ends."""
    for token in _others():
        del _open[token]
        _files.discard(token)
    for thread in set(_inside) - {threading.get_ident()}:
        del _inside[thread]
    _after()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)

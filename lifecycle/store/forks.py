"""A fork waits until no transaction of this process is open, and closes its connections first: a child inherits none.

SQLite keeps its locks in the memory of the process: a child forked while another thread held the write lock would
believe that it held it itself, and find the database locked for ever.
"""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PATIENCE = 10.0  # seconds a fork waits for other threads' transactions
_free = threading.Condition()
_open = 0
_own = threading.local()


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
def no_fork() -> Iterator[None]:
    """Other threads that fork wait for the end of this block."""
    _step(+1)
    try:
        yield
    finally:
        _step(-1)


def _step(by: int) -> None:
    global _open  # noqa: PLW0603 - one count a process, as there is one fork
    with _free:
        _open += by
        _own.open = getattr(_own, "open", 0) + by
        _free.notify_all()


def _before() -> None:
    _free.acquire()
    _free.wait_for(lambda: _open <= getattr(_own, "open", 0), PATIENCE)
    if not _open:
        for database in list(_all):
            database.dispose()


os.register_at_fork(before=_before, after_in_parent=_free.release, after_in_child=_free.release)

"""Django's side: spawns that wait for its commit, and no transaction that outlives its body.

Django is imported only where it is used: most apps have none.
"""

import logging
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

log = logging.getLogger("lifecycle.django")


class OnCommit:
    """What a container task has besides in a Django project; the first two are Celery's, by their names.

    Outside of a transaction each acts at once. A rollback leaves nothing. What is raised on commit is raised out of the
    outermost `atomic` block, with the transaction committed; a process that dies between the two starts nothing.
    """

    spawn: Any
    delay: Any
    apply_async: Any

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """`delay` once the transaction of Django's default database is committed."""
        _on_commit(partial(self.delay, *args, **kwargs))

    def apply_async_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """`apply_async` once the transaction of Django's default database is committed."""
        _on_commit(partial(self.apply_async, *args, **kwargs))

    def spawn_on_commit(
        self,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        using: str | None = None,
        **wishes: Any,
    ) -> None:
        """`spawn` once the transaction of the database `using` is committed, by default Django's default one.

        wishes: as `spawn` has them. With a container_id= of your own you can store it in that very transaction.
        """
        _on_commit(partial(self.spawn, args, kwargs, **wishes), using)


def _on_commit(call: Any, using: str | None = None) -> None:
    import_module("django.db.transaction").on_commit(call, using=using)


def drop_open_transactions(container_id: str) -> None:
    """After a body: nothing that runs in this thread later gets a connection that is still in a transaction of it.

    A stop can be raised inside of `atomic` itself, which then is never left. Celery closes such a connection, but
    its state stays, and Django refuses to open it again: every later task of this process would fail.
    """
    db, conf = sys.modules.get("django.db"), sys.modules.get("django.conf")
    if db is None or conf is None or not conf.settings.configured:
        return
    for connection in _made(db.connections):
        if connection.in_atomic_block:
            log.warning("transaction left open container=%s database=%s", container_id, connection.alias)
            _drop(db.connections, connection)


def _made(connections: Any) -> Iterable[Any]:
    """Connections of this thread; before Django 4.1 all of them, of which those never used are only objects."""
    try:
        made: Iterable[Any] = connections.all(initialized_only=True)
    except TypeError:
        made = connections.all()
    return made


def _drop(connections: Any, connection: Any) -> None:
    """Whatever its driver says as it closes: how the run came out is known by now."""
    try:
        connection.close()
    except Exception as error:  # noqa: BLE001 - Django's, its driver's: it is dropped all the same
        log.warning("connection not closed database=%s error=%s", connection.alias, error)
    finally:
        del connections[connection.alias]

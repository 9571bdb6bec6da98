"""What a node has heard of revokes: its main loop hears them, and its supervisor stops the trees."""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from celery.worker import state

from lifecycle.errors import LifecycleError, StoreBusy, StoreUnreachable
from lifecycle.runtime.native import within
from lifecycle.runtime.revoke import Revoke
from lifecycle.store import containers
from lifecycle.store.engine import Database
from lifecycle.trees.revoke import Tell

log = logging.getLogger("lifecycle.revoke")
SOON = 2.0  # seconds that the main loop waits for the database: it has messages to take and to acknowledge
PATIENCE = 0.2  # seconds that the supervisor waits for a lock: there is a next look


class Revokes:
    """Kept until done: a database that is away, or a row that another holds, loses none."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heard: deque[Revoke] = deque()
        self._is_asking = False

    def hear(self, revoke: Revoke) -> None:
        """Note it; waits for nothing."""
        self._heard.append(revoke)

    def known(self, ids: Sequence[str]) -> set[str]:
        """Which of the ids are containers; none if the database does not say soon, at once if it owes an answer."""
        if self._is_asking:
            return set()
        self._is_asking = True
        try:
            return within(SOON, lambda: self._known(ids))
        except (LifecycleError, TimeoutError) as error:
            log.warning("revoked ids not looked up error=%s", error)
            return set()

    def work(self, tell: Tell) -> None:
        """Stop the trees; what ended at once is told."""
        todo, again = deque(self._take()), list[Revoke]()
        while todo:
            revoke = todo.popleft()
            try:
                again += self._stop(revoke, tell)
            except StoreBusy as error:
                log.info("revoked, to be stopped at the next look reason=%s error=%s", revoke.reason, error)
                again.append(revoke)
            except StoreUnreachable:  # the supervisor says so
                again += [revoke, *todo]
                break
            except Exception:  # one that nobody can read is not to hold up all others
                log.exception("revoke not understood reason=%s ids=%s", revoke.reason, revoke.ids)
        self._heard.extend(again)

    def _known(self, ids: Sequence[str]) -> set[str]:
        try:
            with self._database.read() as connection:
                return set(containers.known(connection, ids))
        finally:
            self._is_asking = False

    def _take(self) -> list[Revoke]:
        """What was heard, equal ones joined: each is a transaction."""
        joined: dict[object, Revoke] = {}
        for _ in range(len(self._heard)):
            revoke = self._heard.popleft()
            key = (revoke.reason, revoke.grace, frozenset(revoke.stamps.items()))
            before = joined.get(key)
            joined[key] = revoke if before is None else replace(revoke, ids=(*before.ids, *revoke.ids))
        return list(joined.values())

    def _stop(self, revoke: Revoke, tell: Tell) -> list[Revoke]:
        """What has to be looked at again: messages that are here, and whose rows are being recorded."""
        named = revoke.names(self._database)
        revoke.stop(self._database, named, tell, patience=PATIENCE)
        ids = tuple(each for each in revoke.ids if each not in named and is_here(each))
        return [replace(revoke, ids=ids, stamps={})] if ids else []


def is_here(task_id: str) -> bool:
    """True if this worker has the message of a container task with this id."""
    request = state.requests.get(task_id)
    return request is not None and is_ours(request)


def is_ours(request: Any) -> bool:
    """True if this message that a worker has is of a container task."""
    return hasattr(request.task, "lifecycle")

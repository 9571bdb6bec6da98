"""Publishing what is due: one start path for every row that its spawner did not publish itself."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from lifecycle.store import dispatches
from lifecycle.store.engine import Database
from lifecycle.trees.doorbell import Doorbell

log = logging.getLogger("lifecycle.dispatch")
BATCH = 200  # rows locked at a time
RETRY = 2.0  # seconds until a message that could not be published is tried again


def dispatch(database: Database, doorbell: Doorbell) -> int:
    """Publish the messages of rows whose time has come, a batch at most; how many. Safe on many nodes at once."""
    with database.begin() as connection:
        due = dispatches.take_due(connection, BATCH)
    return _publish(database, doorbell, due)


def seconds_to_next(database: Database) -> float | None:
    """How long until the next row is due; None if none waits for its time."""
    with database.read() as connection:
        return dispatches.seconds_to_next(connection)


def redispatch(database: Database, doorbell: Doorbell, *, after: float) -> int:
    """Publish again what was lost on its way, a batch of each queue at most; how many.

    Never by age alone, a backlog would double: only if a message sent `after` seconds later to the same queue was
    claimed, or the queue is empty. The wait doubles with each message, up to an hour.
    """
    with database.read() as connection:
        queues = dispatches.waiting_queues(connection, after)
    return sum(_redispatch_queue(database, doorbell, queue, after) for queue in queues)


def _redispatch_queue(database: Database, doorbell: Doorbell, queue: str | None, after: float) -> int:
    with database.read() as connection:
        sent_before = dispatches.overtaken_until(connection, queue, after)
    if queue is not None and doorbell.is_empty(queue):
        sent_before = None
    elif sent_before is None:
        return 0
    with database.begin() as connection:
        again = dispatches.take_again(connection, queue, after, sent_before=sent_before, limit=BATCH)
    for container_id, _ in again:
        log.warning("message lost, published again container=%s", container_id)
    return _publish(database, doorbell, again)


def put_back(database: Database, container_ids: Sequence[str], *, seconds: float = RETRY) -> None:
    """Make rows due again whose message could not be published.

    First all that nobody holds, then the others one by one: one that is locked, as by a spawn under it, is not skipped,
    or its message would be missing.
    """
    for first in range(0, len(container_ids), BATCH):
        some = container_ids[first : first + BATCH]
        with database.begin() as connection:
            dispatches.put_back(connection, some, seconds=seconds, wait=False)
        with database.read() as connection:
            locked = dispatches.still_sent(connection, some)
        for container_id in locked:
            with database.begin() as connection:
                dispatches.put_back(connection, [container_id], seconds=seconds, wait=True)


def _publish(database: Database, doorbell: Doorbell, due: Iterable[tuple[str, dict[str, Any]]]) -> int:
    sent, unsent = 0, []
    for container_id, message in due:
        try:
            doorbell.publish(container_id, message)
            sent += 1
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, the row stays due
            log.warning("message not published container=%s error=%s", container_id, error)
            unsent.append(container_id)
    if unsent:
        put_back(database, unsent)
    return sent

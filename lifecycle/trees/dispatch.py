"""Publishing what is due: one start path for every row that its spawner did not publish itself."""

import logging
from collections.abc import Iterable
from typing import Any

from lifecycle.store import dispatches
from lifecycle.store.engine import Database
from lifecycle.trees.doorbell import Doorbell

log = logging.getLogger("lifecycle.dispatch")
BATCH = 200  # rows locked at a time
RETRY = 2.0  # seconds until a message that could not be published is tried again


def dispatch(database: Database, doorbell: Doorbell) -> int:
    """Publish the messages of rows whose time has come; how many. Safe on many nodes at once."""
    with database.begin() as connection:
        due = dispatches.take_due(connection, BATCH)
    return _publish(database, doorbell, due)


def redispatch(database: Database, doorbell: Doorbell, *, after: float) -> int:
    """Publish again what was lost on its way; how many.

    Never by age alone, a backlog would double: only if a message sent `after` seconds later to the same queue was
    claimed, or the queue is empty. The wait doubles with each message, up to an hour.
    """
    with database.read() as connection:
        candidates = dispatches.unclaimed(connection, after, BATCH)
    queues = {each.queue for each in candidates if not each.overtaken and each.queue is not None}
    empty = {queue for queue in queues if doorbell.is_empty(queue)}
    lost = [each.id for each in candidates if each.overtaken or each.queue in empty]
    if not lost:
        return 0
    with database.begin() as connection:
        again = dispatches.take_again(connection, lost, after)
    for container_id, _ in again:
        log.warning("message lost, published again container=%s", container_id)
    return _publish(database, doorbell, again)


def put_back(database: Database, container_ids: list[str], *, seconds: float = RETRY) -> None:
    """Make rows due again whose message could not be published.

    None is skipped because it is locked: that may be a spawn under it, and its message would be missing.
    """
    for container_id in container_ids:
        with database.begin() as connection:
            dispatches.put_back(connection, container_id, seconds=seconds)


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

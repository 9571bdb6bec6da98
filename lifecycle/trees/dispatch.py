"""Publishing what is due: one start path for every row that its spawner did not publish itself."""

import logging

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
    unsent: list[str] = []
    for container_id, message in due:
        try:
            doorbell.publish(container_id, message)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, the row stays due
            log.warning("message not published container=%s error=%s", container_id, error)
            unsent.append(container_id)
    if unsent:
        put_back(database, unsent)
    return len(due) - len(unsent)


def put_back(database: Database, container_ids: list[str], *, seconds: float = RETRY) -> None:
    """Make rows due again whose message could not be published."""
    with database.begin() as connection:
        dispatches.put_back(connection, container_ids, seconds=seconds)

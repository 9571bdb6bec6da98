"""Celery as the trees use it: a broadcast to ring, messages to start, revoked marks for those who wait for results."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from billiard.exceptions import WorkerLostError
from celery.app.task import Context, Task
from celery.states import READY_STATES
from celery.worker.control import control_command
from kombu.exceptions import ChannelError

from lifecycle.errors import StoreError
from lifecycle.runtime.message import OF_THE_ROW, as_request, header, read_call, with_header
from lifecycle.runtime.revoked import mark_revoked
from lifecycle.store import containers

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.doorbell")
RING = "lifecycle_ring"
NOT_FOUND = "404"  # as AMQP says it; 403 and 405 are of a queue that may not be looked at


class CeleryDoorbell:
    """The `Doorbell` of one app."""

    def __init__(self, lifecycle: "Lifecycle") -> None:
        self._lifecycle = lifecycle
        self._app = lifecycle.app

    def ring(self, root_id: str, depth: int) -> bool:
        """One broadcast without ids: a list of 10,000 would block every node for seconds."""
        try:
            self.reach()
            self._app.control.broadcast(RING, arguments={"root_id": root_id, "depth": depth})
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, the rows have the stop
            log.info("not rung root=%s error=%s", root_id, error)
            return False
        return True

    def reach(self) -> None:
        """Raise at once if the broker is away: Celery would first wait for its results' store."""
        with self._app.pool.acquire(block=True) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.1, interval_max=0.1)
            if connection.transport.driver_type == "redis":  # one of the pool may be open to a broker that hangs
                ping(connection.default_channel.client, connection.connection_errors)

    def publish(self, container_id: str, message: dict[str, Any]) -> None:
        """Send the recorded message once more, as its spawner did."""
        call = read_call(message)
        options = {**call["options"], "task_id": container_id, "add_to_parent": False, **dict.fromkeys(OF_THE_ROW)}
        options = with_header(options, header(self._lifecycle, recorded=True))
        task = self._app.tasks.get(call["task"])
        if isinstance(task, Task):
            Task.apply_async(task, call["args"], call["kwargs"], **options)
        else:
            self._app.send_task(call["task"], call["args"], call["kwargs"], **options)

    def is_empty(self, queue: str) -> bool:
        """Ask the broker; a queue it does not know is empty."""
        try:
            with self._app.connection_for_read() as connection:
                declared = connection.default_channel.queue_declare(queue=queue, passive=True)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, nothing is known
            if isinstance(error, ChannelError) and str(error.reply_code) == NOT_FOUND:
                return True
            log.info("queue not counted queue=%s error=%s", queue, error)
            return False
        return bool(declared.message_count == 0)

    def revoked(self, container_ids: Sequence[str], reason: str) -> None:
        """Who waits for their results learns that they were stopped; a stored SUCCESS is kept by the backend."""
        if not container_ids:
            return
        chords = self._in_chords(container_ids)
        try:
            for container_id, member in chords.items():
                self._app.backend.mark_as_revoked(container_id, reason, request=member)
            mark_revoked(self._app.backend, [each for each in container_ids if each not in chords], reason)
        except Exception as error:  # noqa: BLE001 - the row is the truth; a result backend that is away is not
            log.warning("results not marked revoked containers=%d error=%s", len(container_ids), error)

    def revoked_unless_told(self, container_id: str, reason: str) -> None:
        """`revoked` once more, for one whose stopper may have died before it said so."""
        try:
            if self._app.backend.get_state(container_id) in READY_STATES:
                return
        except Exception as error:  # noqa: BLE001 - as above
            log.info("result not read container=%s error=%s", container_id, error)
        self.revoked([container_id], reason)

    def failed(self, container_id: str, reason: str) -> None:
        """Who waits for its result learns that its process was lost, as Celery says it; chord and errbacks too."""
        request = self._requests([container_id]).get(container_id, Context(id=container_id))
        try:
            self._app.backend.mark_as_failure(container_id, WorkerLostError(reason), request=request)
        except Exception as error:  # noqa: BLE001 - the row is the truth; a result backend that is away is not
            log.warning("result not marked failed container=%s error=%s", container_id, error)

    def _in_chords(self, container_ids: Sequence[str]) -> dict[str, Context]:
        """Those that are members of a chord: it fails at once, so the backend has to know which."""
        return {each: request for each, request in self._requests(container_ids).items() if request.chord}

    def _requests(self, container_ids: Sequence[str]) -> dict[str, Context]:
        """What their messages say of the canvas they are part of."""
        try:
            with self._lifecycle.database.read() as connection:
                recorded = containers.messages(connection, container_ids)
        except StoreError as error:
            log.warning("chords not told error=%s", error)
            return {}
        options = {each: (message or {}).get("options", {}) for each, message in recorded.items()}
        return {each: as_request(each, chosen) for each, chosen in options.items()}


def ping(client: Any, errors: tuple[type[Exception], ...]) -> None:
    """Twice: what Celery's inspect has asked last on a connection may be answered there only now, in our place."""
    try:
        client.ping()
    except errors:
        client.ping()


@control_command(name=RING, args=[("root_id", str), ("depth", int)], signature="[root_id] [depth]")
def lifecycle_ring(state: Any, root_id: str = "", depth: int = 0) -> dict[str, str]:
    """Make this node look at the database now."""
    lifecycle = getattr(state.app, "lifecycle", None)
    if lifecycle is not None and lifecycle.node is not None:
        lifecycle.node.look_now()
    return {"ok": f"looking at {root_id} from level {depth}"}

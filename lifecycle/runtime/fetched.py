"""Messages that a node has fetched and cannot run yet; a broker may not wait for ever for a word of them."""

from typing import Any

from celery import bootsteps
from celery.worker import state

from lifecycle.runtime.revokes import is_ours

GIVE_BACK = 300.0  # seconds: RabbitMQ takes a node's connection after half an hour, older ones after a quarter


class GiveBackStep(bootsteps.StartStopStep):
    """What waits behind a run goes back to its queue now and then, and comes again: here, or where a slot is free.

    RabbitMQ closes the channel of who neither acknowledges a message nor gives it back, and Celery ends such a worker
    with all that it runs. The request stays: should it come to run, the message's next delivery loses its claim.
    """

    name = "give-back"
    requires = {"celery.worker.consumer.tasks:Tasks"}  # noqa: RUF012 - Celery's own form

    def __init__(self, parent: Any, **options: Any) -> None:
        """Celery makes one for each consumer of a worker."""
        super().__init__(parent, **options)
        self._waited: set[Any] = set()
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        """Each time the broker is reached: what was fetched before has come back by itself."""
        self._waited = set()
        if parent.connection.transport.driver_type == "amqp":
            self._timer = parent.timer.call_repeatedly(GIVE_BACK, self._give_back)

    def stop(self, parent: Any) -> None:
        """The broker is lost, or the worker ends."""
        if self._timer is not None:
            self._timer.cancel()

    def _give_back(self) -> None:
        """What has waited for a whole period, and so for less than two; a plain task, given back, would run twice."""
        waiting = {each for each in state.reserved_requests if each not in state.active_requests and is_ours(each)}
        for request in waiting & self._waited:
            request.reject(requeue=True)
        self._waited = waiting - self._waited

"""A node's orderly shutdown: told early, so that its containers are interrupted while Celery waits for them."""

import logging
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import bootsteps

from lifecycle.errors import LifecycleError

if TYPE_CHECKING:
    from lifecycle.runtime.node import Node

log = logging.getLogger("lifecycle.shutdown")
SHUTDOWN_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class LeaveStep(bootsteps.StartStopStep):
    """Celery calls it before it stops the pool, whatever the shutdown came from: a signal, a command, an error."""

    name = "lifecycle"
    requires = {"celery.worker.components:Pool"}  # noqa: RUF012 - Celery's own form

    def start(self, parent: Any) -> None:
        """Nothing: `worker_init` has started the node."""

    def close(self, parent: Any) -> None:
        """The worker takes no more messages."""
        if (node := node_of(parent.app)) is not None:
            node.leave()

    def stop(self, parent: Any) -> None:
        """Warm: the pool waits for what runs, which is interrupted meanwhile."""

    def terminate(self, parent: Any) -> None:
        """Cold: the pool is to be killed; Celery tells nobody afterwards."""
        node = node_of(parent.app)
        if node is None:
            return
        node.leave(at_once=True)
        node.kill_all()
        leave_quietly(node)


def node_of(app: Any) -> "Node | None":
    """The node that this app's worker is."""
    lifecycle = getattr(app, "lifecycle", None)
    return None if lifecycle is None else lifecycle.node


def leave_quietly(node: "Node") -> None:
    """Say in the database that the node has left; without the database its lease runs out."""
    try:
        node.stop()
    except LifecycleError as error:
        log.warning("node could not say that it left error=%s", error)


def listen(node: "Node") -> None:
    """Hear of a shutdown before Celery: its cold and soft ones wait, or kill, inside their signal's handler."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SHUTDOWN_SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, _leaving_first(node, handler))


def _leaving_first(node: "Node", handler: Callable[..., Any]) -> Callable[..., Any]:
    def leave(number: int, frame: Any) -> Any:
        node.leave()
        return handler(number, frame)

    return leave

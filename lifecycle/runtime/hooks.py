"""Where Celery calls us: at a worker's start, in each pool child, around each task, at each publish."""

import logging
import sys
from typing import TYPE_CHECKING, Any

from billiard import current_process
from celery import signals

from lifecycle.errors import LifecycleError
from lifecycle.runtime import (
    check,  # noqa: F401 - a node answers its question
    shutdown,
)
from lifecycle.runtime.descent import running_parent
from lifecycle.runtime.execution import current_execution
from lifecycle.runtime.fetched import GiveBackStep
from lifecycle.runtime.message import HEADER, header
from lifecycle.runtime.node import Node
from lifecycle.runtime.revoke import Revoke
from lifecycle.runtime.run import finish
from lifecycle.store import schema

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.hooks")
DEFAULTS = {"worker_prefetch_multiplier": 1, "worker_disable_prefetch": True}  # a fetched message waits behind a run


def install(lifecycle: "Lifecycle") -> None:
    """Connect one app; signals are common to all apps of a process, so each receiver looks whose it is."""
    hooks = Hooks(lifecycle)
    lifecycle.app.add_defaults(DEFAULTS)
    lifecycle.app.steps["worker"].add(shutdown.LeaveStep)
    lifecycle.app.steps["consumer"].add(GiveBackStep)
    for signal, receiver in (
        (signals.celeryd_init, hooks.configure),
        (signals.worker_init, hooks.start_node),
        (signals.worker_process_init, hooks.enter_child),
        (signals.worker_ready, hooks.listen),
        (signals.worker_shutdown, hooks.stop_node),
        (signals.before_task_publish, hooks.say_parent),
        (signals.task_postrun, hooks.finish_run),
        (signals.task_revoked, hooks.stop_revoked),
    ):  # by a name of its own: older Celery takes the methods of two apps for one
        signal.connect(receiver, weak=False, dispatch_uid=(receiver.__name__, id(lifecycle)))


class Hooks:
    """The receivers of one Lifecycle."""

    def __init__(self, lifecycle: "Lifecycle") -> None:
        self._lifecycle = lifecycle

    def configure(self, instance: Any = None, conf: Any = None, **_: Any) -> None:
        """Only Redis can be told to fetch no more than can run; elsewhere Celery would warn at every start."""
        if instance is None or instance.app is not self._lifecycle.app:
            return
        if self._lifecycle.app.connection_for_read().transport.driver_type != "redis":
            conf.worker_disable_prefetch = False

    def start_node(self, sender: Any = None, **_: Any) -> None:
        """Before the pool is made; what is wrong with settings or database ends the worker with one line."""
        if sender is None or sender.app is not self._lifecycle.app:
            return
        try:
            self._lifecycle.app.finalize()
            self._lifecycle.app.loader.import_default_modules()
            warning = schema.check(self._lifecycle.database)
            if warning:
                log.warning("%s", warning)
            node = Node(self._lifecycle, sender)
            node.start()
            self._lifecycle.node = node
        except LifecycleError as error:
            sys.stderr.write(f"Error: {error}\n")
            raise SystemExit(1) from None
        except Exception:  # Celery would say nothing, and run on as a worker that is no node
            log.exception("node does not start")
            raise SystemExit(1) from None

    def enter_child(self, **_: Any) -> None:
        """In a pool child, after its start."""
        if self._lifecycle.node is not None:
            self._lifecycle.node.enter_child(current_process())
            self._lifecycle.logs_handler.start()

    def listen(self, sender: Any = None, **_: Any) -> None:
        """In the main process, once Celery's own signal handlers are there; executions on threads log there."""
        node = self._lifecycle.node
        if node is None or sender is None or sender.app is not self._lifecycle.app:
            return
        shutdown.listen(node)
        if not node.is_prefork:
            self._lifecycle.logs_handler.start()

    def stop_node(self, sender: Any = None, **_: Any) -> None:
        """The pool has ended."""
        node = self._lifecycle.node
        if node is None or sender is None or sender.app is not self._lifecycle.app:
            return
        shutdown.leave_quietly(node)

    def say_parent(self, headers: Any = None, **_: Any) -> None:
        """Any message published in a container names it, also through plain tasks and tasks by name."""
        if not isinstance(headers, dict) or HEADER in headers:
            return
        parent = running_parent(self._lifecycle)
        if parent is not None:
            headers[HEADER] = header(self._lifecycle, recorded=False, parent=parent)

    def finish_run(self, task: Any = None, task_id: str = "", state: Any = None, retval: Any = None, **_: Any) -> None:
        """After Celery stored the result and published successors."""
        execution = current_execution()
        if execution is not None and task is not None and task.app is self._lifecycle.app:
            finish(task, task_id, state, retval)

    def stop_revoked(self, sender: Any = None, request: Any = None, expired: bool = False, **_: Any) -> None:
        """Celery discards a message whose id or stamp it has in mind as revoked: nothing would run the container.

        One that has expired is a copy of a message without a row: with one, the row keeps that time.
        """
        node = self._lifecycle.node
        is_ours = request is not None and getattr(sender, "lifecycle", None) is self._lifecycle
        if node is not None and is_ours and not expired:
            node.hear(Revoke(ids=(request.id,), reason="revoke"))

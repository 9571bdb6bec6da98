"""A node: one start of a Celery worker, with its row, lease, supervisor, dispatcher and the page for its pool."""

import logging
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

from celery import __version__ as celery_version
from celery.concurrency import get_implementation
from celery.concurrency.prefork import TaskPool
from celery.concurrency.solo import TaskPool as SoloPool

from lifecycle.runtime import execution as executions
from lifecycle.runtime.dispatcher import Dispatcher
from lifecycle.runtime.exporter import Exporter
from lifecycle.runtime.green import GreenDoorbell
from lifecycle.runtime.lease import Lease
from lifecycle.runtime.native import is_green
from lifecycle.runtime.page import Page
from lifecycle.runtime.passes import Passes, work_of
from lifecycle.runtime.pool import ChildPool, Pool, ThreadPool
from lifecycle.runtime.revoke import Revoke
from lifecycle.runtime.seat import ChildSeat, Seat, ThreadSeat
from lifecycle.runtime.supervisor import Supervisor
from lifecycle.store import nodes
from lifecycle.trees.doorbell import tell
from lifecycle.trees.sweep import leave_node

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.node")


class Node:
    """What the main process of a Celery worker keeps; its pool children inherit it by fork."""

    def __init__(self, lifecycle: "Lifecycle", worker: Any) -> None:
        self._lifecycle, self._worker = lifecycle, worker
        self._pool_class = get_implementation(worker.pool_cls)
        self._pool_name = self._pool_class.__module__.rpartition(".")[2]
        self._main_pid = os.getpid()
        self._seat: Seat | None = None
        self.page = Page()
        if is_green():
            lifecycle.doorbell = GreenDoorbell(lifecycle)
        self._lease = Lease(lifecycle.database, self.page, lifecycle.settings, on_lost=self._come_back)
        self._dispatcher = Dispatcher(lifecycle.database, self.page, lifecycle.doorbell, lifecycle.settings)
        self._supervisor = Supervisor(
            lifecycle.database,
            self.page,
            lifecycle.settings,
            self._pool_now,
            dispatcher=self._dispatcher,
            may_reap=self._lease.may_reap,
        )
        self.revokes = self._supervisor.revokes
        work = work_of(lifecycle)
        prune = {"prune": work.pop("prune")}  # it may take hours, and nothing else is to wait for it
        self._passes = [Passes(lifecycle.database, self.page, lifecycle.settings, some) for some in (work, prune)]
        self._exporter = Exporter(lifecycle)
        self._pool: Pool | None = None
        self._has_left = False

    @property
    def is_prefork(self) -> bool:
        """True if every execution has a process of its own."""
        return issubclass(self._pool_class, TaskPool)

    def start(self) -> None:
        """Register, then keep the lease and supervise; before the pool exists, so that its children find the page."""
        if not self.is_prefork and not issubclass(self._pool_class, SoloPool):
            executions.hold_by_thread()
        self._register()
        self._lease.start()
        self._supervisor.start()
        self._dispatcher.start()
        for each in self._passes:
            each.start()
        self._exporter.start()

    def leave(self, *, at_once: bool = False) -> None:
        """The worker shuts down: claim nothing, interrupt what runs; kill it after its grace, or at once.

        Called from a signal's handler, too.
        """
        self.page.leave()
        self._supervisor.leave(at_once=at_once)

    def hear(self, revoke: Revoke) -> None:
        """Celery's main loop has met a revoke: the supervisor is to stop the trees of what it names."""
        self._supervisor.hear(revoke)

    def may_reap(self) -> bool:
        """True if this node, or a pool child of it, may declare others dead."""
        return self._lease.may_reap()

    def overran(self, container_id: str, seconds: float) -> None:
        """Celery kills this execution at its hard time limit."""
        self._supervisor.overran(container_id, seconds)

    def kill_all(self) -> None:
        """Kill what runs here."""
        self._supervisor.kill_all()

    def stop(self) -> None:
        """The pool is gone, or about to go: give up the rows that still name this node, and say that it left. Once."""
        if self._has_left:
            return
        self._has_left = True
        self._exporter.stop()
        for each in self._passes:
            each.stop()
        self._supervisor.stop()
        self._dispatcher.stop()
        self._lease.stop()
        self.page.deadline = 0.0
        survivors = self._supervisor.survivors()
        if survivors:
            log.warning("node leaves, but runs go on node=%s containers=%s", self.page.node, ", ".join(survivors))
        changed = leave_node(self._lifecycle.database, self.page.node, survivors)
        log.info("node left node=%s", self.page.node)
        tell(self._lifecycle.doorbell, changed)

    def look_now(self) -> None:
        """Wake the supervisor; from any process of this node."""
        self._supervisor.look_now()

    def enter_child(self, process: Any) -> None:
        """In a pool child at its start: sit down, fenced."""
        if os.getpid() != self._main_pid:
            self._seat = ChildSeat(self.page, process.index, self._lifecycle.settings.heartbeat)

    def seat(self) -> Seat:
        """Where an execution of this process sits."""
        if self._seat is None:
            self._seat = ThreadSeat(self.page)
        return self._seat

    def _register(self) -> None:
        asked = time.monotonic()
        self.page.node = f"{self._worker.hostname}-{secrets.token_hex(4)}"
        row = {
            "id": self.page.node,
            "hostname": self._worker.hostname,
            "pid": os.getpid(),
            "pool": self._pool_name,
            "concurrency": self._worker.concurrency if isinstance(self._worker.concurrency, int) else 0,
            "queues": sorted(self._worker.app.amqp.queues.consume_from),
            "types": sorted(self._lifecycle.types()),
            "version": f"celery {celery_version}",
        }
        with self._lifecycle.database.begin() as connection:
            nodes.register(connection, row, expires_in=self._lifecycle.settings.expires_in)
        self._lease.publish(asked)
        log.info("node joined node=%s types=%s", self.page.node, ",".join(row["types"]))

    def _come_back(self) -> None:
        """Declared dead: what it ran is others' now. Kill it all, then join anew as another node."""
        log.error("node was declared dead, joins anew node=%s", self.page.node)
        self.page.deadline = 0.0
        self._supervisor.kill_all()
        self._register()

    def _pool_now(self) -> Pool | None:
        """The pool, once the worker has made it."""
        made = getattr(self._worker, "pool", None)
        if self._pool is None and made is not None:
            self._pool = ChildPool(made, self.page) if self.is_prefork else ThreadPool(self._pool_name)
        return self._pool

"""A container's message as a node's main process keeps it while it runs."""

import logging
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.worker import state
from celery.worker.request import Request

from lifecycle.domain.container import Container
from lifecycle.errors import LifecycleError
from lifecycle.runtime.descent import in_name_of
from lifecycle.runtime.revoke import read_revoke
from lifecycle.runtime.shutdown import node_of

log = logging.getLogger("lifecycle.request")


class ContainerRequest(Request):
    """A lost process is no failure of the task: the supervisor says on the row what becomes of it."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """As Celery's, but a lost process stores no FAILURE, and a killed one no REVOKED: the container may run again.

        Of one that was stopped its row tells, by whoever ends it. A hard time limit comes here first, then to
        `on_timeout`, and Celery would call errbacks and count a chord's member both times.
        """
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, TimeLimitExceeded):
            with in_name_of(self._container()):
                super().on_failure(exc_info, send_failed_event, return_ok)
            self._context.update(errbacks=None, chord=None, chain=None)
            return None
        if not isinstance(error, WorkerLostError | Terminated | SystemExit | KeyboardInterrupt):
            return super().on_failure(exc_info, send_failed_event, return_ok)
        state.task_ready(self)
        log.warning("process of an execution lost container=%s error=%s", self.id, error)
        return self.acknowledge()

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """As Celery's; and a hard limit is no loss: the container fails, and is not started again."""
        node = node_of(self.app)
        if node is not None and not soft:
            node.overran(self.id, timeout)
        super().on_timeout(soft, timeout)

    def _container(self) -> Container | None:
        """Its row, if anything comes after it: that is its sibling."""
        if not (self._context.errbacks or self._context.chord):
            return None
        try:
            found: Container = self.task.lifecycle.get(self.id)
        except LifecycleError as error:
            log.warning("its errbacks have no parent container=%s error=%s", self.id, error)
            return None
        return found

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """A stop of the tree: Celery would say REVOKED while the process runs, and forget the request."""
        node, revoke = node_of(self.app), read_revoke("terminate", {"task_id": self.id, "signal": signal})
        if node is None or revoke is None:
            super().terminate(pool, signal)
        else:
            node.hear(revoke)

    def cancel(self, pool: Any, signal: Any = None, **_: Any) -> None:
        """A cold shutdown: the supervisor kills what runs and interrupts its row; Celery would say RETRY for ever."""
        node = node_of(self.app)
        if node is not None and node.page.leaving:
            node.leave(at_once=True)
        else:  # the broker is lost, and the app wants what it would send again to be cancelled
            super().cancel(pool, signal, **_)

"""The HTTP server of a node's metrics, if a port is set. What goes wrong with it is one warning, and never the node."""

import logging
import os
import socket
import threading
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING

from lifecycle.runtime.native import is_green

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.metrics")
MISSING = "metrics not served: metrics_port is set, but prometheus_client is missing; pip install '%s'"
EXTRA = "celery-lifecycle[metrics]"


class Exporter:
    """Serves what this process tells, the containers' metrics among it, on `metrics_host` and `metrics_port`."""

    def __init__(self, lifecycle: "Lifecycle") -> None:
        self._lifecycle = lifecycle
        self._server: ThreadingTCPServer | None = None

    def start(self) -> None:
        """Begin to serve; nothing without a port."""
        port, host = self._lifecycle.settings.metrics_port, self._lifecycle.settings.metrics_host
        if port is None:
            return
        try:
            self._serve(host, port)
        except ModuleNotFoundError:
            log.warning(MISSING, EXTRA)
        except OSError as error:
            log.warning("metrics not served host=%s port=%d error=%s", host, port, error)
        else:
            log.info("metrics served host=%s port=%d", host, port)

    def stop(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _serve(self, host: str, port: int) -> None:
        # Imported here: nodes do without it, and it is an extra.
        from prometheus_client import REGISTRY, MetricsHandler  # noqa: PLC0415 - see above

        from lifecycle.runtime.metrics import register  # noqa: PLC0415 - see above

        server = _Server((host, port), MetricsHandler.factory(REGISTRY), bind_and_activate=True)
        register(lambda: self._lifecycle)
        self._server = server
        if not is_green():  # no pool of gevent's forks
            os.register_at_fork(after_in_child=server.socket.close)  # else a child would keep the port
        threading.Thread(target=server.serve_forever, name="lifecycle-exporter", daemon=True).start()


class _Server(ThreadingTCPServer):
    """Python's own HTTP server would ask the name service for its name, and may wait long for it."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type, *, bind_and_activate: bool) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler, bind_and_activate)

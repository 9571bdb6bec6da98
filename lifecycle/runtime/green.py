"""The doorbell of a node on gevent: all that goes to a broker goes there from the main thread."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from lifecycle.runtime.doorbell import CeleryDoorbell
from lifecycle.runtime.native import in_main_thread


class GreenDoorbell(CeleryDoorbell):
    """Threads of the node hand their calls over: else their sockets were in the pools that bodies take them from."""

    def ring(self, root_id: str, depth: int) -> bool:
        """As `CeleryDoorbell`."""
        return in_main_thread(partial(super().ring, root_id, depth))

    def reach(self) -> None:
        """As `CeleryDoorbell`."""
        in_main_thread(super().reach)

    def publish(self, container_id: str, message: dict[str, Any]) -> None:
        """As `CeleryDoorbell`."""
        in_main_thread(partial(super().publish, container_id, message))

    def is_empty(self, queue: str) -> bool:
        """As `CeleryDoorbell`."""
        return in_main_thread(partial(super().is_empty, queue))

    def revoked(self, container_ids: Sequence[str], reason: str) -> None:
        """As `CeleryDoorbell`."""
        in_main_thread(partial(super().revoked, container_ids, reason))

    def failed(self, container_id: str, reason: str) -> None:
        """As `CeleryDoorbell`."""
        in_main_thread(partial(super().failed, container_id, reason))

"""What the trees ask of whoever runs them: messages are doorbells, the rows are the truth."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from lifecycle.domain.policy import STOPPED_BY_USER
from lifecycle.domain.status import Status
from lifecycle.store.runs import Moved


class Doorbell(Protocol):
    """Handed to `trees/` by the runtime."""

    def ring(self, root_id: str, depth: int) -> bool:
        """Tell every node to look at the rows now; False if no broker could be reached."""
        ...

    def publish(self, container_id: str, message: dict[str, Any]) -> None:
        """Send the message that starts a container; raises whatever the broker raises."""
        ...

    def is_empty(self, queue: str) -> bool:
        """True if the broker holds no message in this queue; False if it does, or cannot say."""
        ...

    def revoked(self, container_ids: Sequence[str], reason: str) -> None:
        """Tell Celery's result backend and event listeners that these ended STOPPED."""
        ...

    def failed(self, container_id: str, reason: str) -> None:
        """Tell Celery's result backend that the run of this one was lost for good."""
        ...


def tell(doorbell: Doorbell, changed: Iterable[Moved]) -> None:
    """Those who wait for Celery's results learn how these rows ended, if no run of theirs has said it."""
    rows = list(changed)
    if stopped := [moved.id for moved in rows if moved.status is Status.STOPPED]:
        doorbell.revoked(stopped, STOPPED_BY_USER)
    for moved in rows:
        if moved.lost is not None:
            doorbell.failed(moved.id, moved.lost)

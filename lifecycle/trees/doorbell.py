"""What the trees ask of whoever runs them: messages are doorbells, the rows are the truth."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from lifecycle.domain.status import Status
from lifecycle.store.runs import Moved


def stopped_ids(changed: Iterable[Moved]) -> list[str]:
    """Those of the changed rows that ended STOPPED: Celery is to hear of them."""
    return [moved.id for moved in changed if moved.status is Status.STOPPED]


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

"""The metrics of all containers on Flower's own `/metrics`."""

from lifecycle.runtime.app import Lifecycle
from lifecycle.runtime.metrics import register as register_here


def register(lifecycle: Lifecycle) -> None:
    """Have Flower's `/metrics` tell them too: a scrape has the database asked in a thread, and waits a second at most.

    Raises ImpossibleSettings, or StoreError where no database is set; one that is away does not matter here.
    """
    register_here(lifecycle)

"""The metrics of all containers on Flower's own `/metrics`."""

from lifecycle.runtime.app import Lifecycle
from lifecycle.runtime.metrics import register as register_here


def register(lifecycle: Lifecycle) -> None:
    """Have Flower's `/metrics` tell them too. The database is asked when a scrape comes, and never in Flower's loop."""
    register_here(lifecycle)

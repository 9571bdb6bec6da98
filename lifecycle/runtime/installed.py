"""Which Lifecycle a Celery app has."""

from typing import TYPE_CHECKING, Any

from lifecycle.errors import NotInstalled

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle


def lifecycle_of(app: Any) -> "Lifecycle":
    """The app's Lifecycle; raises NotInstalled."""
    found: Lifecycle | None = getattr(app, "lifecycle", None)
    if found is None:
        raise NotInstalled("no Lifecycle in this Celery app; give -A your_app, whose module calls Lifecycle(app)")
    return found

"""Task trees that can be trusted on Celery.

Every long-running task is a container: a database row with its parent, its status, what it holds and how it ended.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lifecycle.domain.container import Container as Container
    from lifecycle.domain.ending import finish as finish
    from lifecycle.domain.ending import later as later
    from lifecycle.domain.report import StopReport as StopReport
    from lifecycle.domain.status import Status as Status
    from lifecycle.errors import AmbiguousId as AmbiguousId
    from lifecycle.errors import ContainerExists as ContainerExists
    from lifecycle.errors import ContainerInterrupted as ContainerInterrupted
    from lifecycle.errors import ContainerNotFound as ContainerNotFound
    from lifecycle.errors import ContainerStopped as ContainerStopped
    from lifecycle.errors import CutShort as CutShort
    from lifecycle.errors import InvalidParent as InvalidParent
    from lifecycle.errors import LifecycleError as LifecycleError
    from lifecycle.errors import PlayerMismatch as PlayerMismatch
    from lifecycle.errors import ResourceHeld as ResourceHeld
    from lifecycle.errors import ResourceQuarantined as ResourceQuarantined
    from lifecycle.errors import StoreUnreachable as StoreUnreachable
    from lifecycle.runtime.app import Lifecycle as Lifecycle
    from lifecycle.runtime.app import children as children
    from lifecycle.runtime.app import find as find
    from lifecycle.runtime.app import get as get
    from lifecycle.runtime.app import stop as stop
    from lifecycle.runtime.app import tree as tree
    from lifecycle.runtime.body import checkpoint as checkpoint
    from lifecycle.runtime.body import current_container as current_container
    from lifecycle.runtime.body import shield as shield
    from lifecycle.runtime.body import sleep as sleep
    from lifecycle.runtime.task import ContainerTask as ContainerTask

__version__ = "0.1.0"

_HOMES = {
    "lifecycle.domain.container": ("Container",),
    "lifecycle.domain.ending": ("finish", "later"),
    "lifecycle.domain.report": ("StopReport",),
    "lifecycle.domain.status": ("Status",),
    "lifecycle.errors": (
        "AmbiguousId",
        "ContainerExists",
        "ContainerNotFound",
        "ContainerInterrupted",
        "ContainerStopped",
        "CutShort",
        "InvalidParent",
        "LifecycleError",
        "PlayerMismatch",
        "ResourceHeld",
        "ResourceQuarantined",
        "StoreUnreachable",
    ),
    "lifecycle.runtime.app": ("Lifecycle", "children", "find", "get", "stop", "tree"),
    "lifecycle.runtime.body": ("checkpoint", "current_container", "shield", "sleep"),
    "lifecycle.runtime.task": ("ContainerTask",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)  # noqa: PLE0605 - the same names as _HOMES, said once


def __getattr__(name: str) -> Any:
    """Import on first use: every `celery` command imports this package for its plug-in."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

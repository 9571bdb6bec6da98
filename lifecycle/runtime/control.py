"""Celery's remote control where it revokes: a container is not discarded but stopped, with its whole tree.

At the sender, so that it holds with no node up; and on each node, for those who send without our app.
"""

import logging
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.app.control import Control
from celery.utils.imports import symbol_by_name
from celery.worker import control
from celery.worker.control import control_command
from kombu.utils.functional import maybe_list

from lifecycle.errors import LifecycleError
from lifecycle.runtime.revoke import read_revoke
from lifecycle.store import containers
from lifecycle.trees.doorbell import tell

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.control")
OWN = "lifecycle.runtime.control:ContainerControl"


class ContainerControl(Control):
    """`app.control` of an app with a Lifecycle."""

    def broadcast(self, command: str, arguments: dict[str, Any] | None = None, *args: Any, **options: Any) -> Any:
        """As Celery's; a revoke has stopped the trees of the containers it names before any node hears of it."""
        if (lifecycle := getattr(self.app, "lifecycle", None)) is not None:  # a copy in a spawned process has none
            _stop_at_sender(lifecycle, command, {**options, **(arguments or {})})
        return super().broadcast(command, arguments, *args, **options)


def install(app: Celery) -> None:
    """Give the app this control, on top of one of its own if it has that."""
    theirs = symbol_by_name(app.control_cls)
    own = theirs is Control
    app.control_cls = OWN if own else type("ContainerControl", (ContainerControl, theirs), {})
    app.__dict__.pop("control", None)  # made before us


def _stop_at_sender(lifecycle: "Lifecycle", command: str, told: dict[str, Any]) -> None:
    revoke = read_revoke(command, told, by=lifecycle.who)
    if revoke is None:
        return
    try:
        tell(lifecycle.doorbell, revoke.stop(lifecycle.database))
    except LifecycleError as error:
        log.warning("revoke left to the nodes reason=%s error=%s", revoke.reason, error)


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(state: Any, task_id: Any, terminate: bool = False, signal: Any = None, **kwargs: Any) -> Any:
    """Revoke task by task id (or list of ids); the trees of containers are stopped."""
    told = {"task_id": task_id, "terminate": terminate, "signal": signal}
    return _revoke(state, "revoke", told, **kwargs)


@control_command(variadic="task_id", args=[("signal", str)], signature="<signal> [id1 [id2 [... [idN]]]]")
def terminate(state: Any, signal: Any, task_id: Any, **kwargs: Any) -> Any:
    """Terminate task by task id (or list of ids); the trees of containers are stopped."""
    return _revoke(state, "terminate", {"task_id": task_id, "terminate": True, "signal": signal}, **kwargs)


@control_command(variadic="headers", signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]")
def revoke_by_stamped_headers(
    state: Any, headers: Any, terminate: bool = False, signal: Any = None, **kwargs: Any
) -> Any:
    """Revoke task by header (or list of headers); the trees of containers are stopped."""
    told = {"headers": headers, "terminate": terminate, "signal": signal}
    _hear(state.app, "revoke_by_stamped_headers", told)
    return control.revoke_by_stamped_headers(state, headers, terminate, signal, **kwargs)


def _revoke(state: Any, command: str, told: dict[str, Any], **kwargs: Any) -> Any:
    """What is no container is Celery's: it keeps a revoked id for hours, and says REVOKED while a process runs."""
    ids = [str(each) for each in maybe_list(told["task_id"]) or ()]
    ours = _hear(state.app, command, told) and _containers(state, ids)
    theirs = [each for each in ids if each not in ours] if ours else ids
    said = f"containers {', '.join(sorted(ours))} are being stopped" if ours else ""
    if ours and not theirs:
        return control.ok(said)
    return control.revoke(state, theirs, terminate=told["terminate"], signal=told["signal"], **kwargs)


def _hear(app: Celery, command: str, told: dict[str, Any]) -> bool:
    """Let this node's supervisor see to the trees; False on a worker that is no node."""
    lifecycle: Lifecycle | None = getattr(app, "lifecycle", None)
    heard = read_revoke(command, told)
    if lifecycle is None or lifecycle.node is None or heard is None:
        return False
    lifecycle.node.hear(heard)
    return True


def _containers(state: Any, ids: list[str]) -> set[str]:
    """Those that are containers; with the database away, those whose message is here."""
    try:
        with state.app.lifecycle.database.read() as connection:
            return set(containers.known(connection, ids))
    except LifecycleError as error:
        log.warning("revoked ids not looked up error=%s", error)
    known = control.worker_state.requests
    return {each for each in ids if hasattr(getattr(known.get(each), "task", None), "lifecycle")}

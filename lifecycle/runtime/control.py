"""Celery's remote control where it revokes: a container is not discarded but stopped, with its whole tree.

At the sender, so that it holds with no node up; and on each node, for those who send without our app.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.app.control import Control
from celery.utils.imports import symbol_by_name
from celery.worker import control
from celery.worker.control import control_command
from kombu.utils.functional import maybe_list

from lifecycle.runtime.execution import current_execution
from lifecycle.runtime.native import within
from lifecycle.runtime.revoke import Revoke, read_revoke
from lifecycle.runtime.revokes import is_here
from lifecycle.trees.doorbell import tell

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle
    from lifecycle.runtime.node import Node

log = logging.getLogger("lifecycle.control")
PATIENCE = 2.0  # seconds that a sender waits for the database to say whether it knows what is revoked
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
    """What is no container costs a look, which never fails nor hangs for our sake: a database may."""
    revoke = read_revoke(command, told, by=lifecycle.who)
    if revoke is None:
        return
    try:
        look = partial(revoke.names, lifecycle.database)
        # In an execution not in a thread: it has a stop signal to meet.
        ids = within(PATIENCE, look) if current_execution() is None else look()
        revoke.stop(lifecycle.database, ids, partial(tell, lifecycle.doorbell))
    except Exception as error:  # noqa: BLE001 - the nodes hear of it too
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
    node, heard = _hear(state.app, command, told)
    ours = _containers(node, heard.ids) if node is not None and heard is not None else set()
    theirs = [each for each in map(str, maybe_list(told["task_id"]) or ()) if each not in ours]
    if ours and not theirs:
        return control.ok(f"containers {', '.join(sorted(ours))} are being stopped")
    return control.revoke(state, theirs, terminate=told["terminate"], signal=told["signal"], **kwargs)


def _hear(app: Celery, command: str, told: dict[str, Any]) -> "tuple[Node | None, Revoke | None]":
    """Let this node's supervisor see to the trees of what was read; no node on a worker that is none."""
    node: Node | None = getattr(getattr(app, "lifecycle", None), "node", None)
    heard = read_revoke(command, told)
    if node is not None and heard is not None:
        node.hear(heard)
    return node, heard


def _containers(node: "Node", ids: Sequence[str]) -> set[str]:
    """Those that are containers, or whose message is here and whose row is not; the database may be away."""
    return {each for each in ids if is_here(each)} | node.revokes.known(ids)

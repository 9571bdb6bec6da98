"""Recording a container before its message is published: the row first, commit, then publish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lifecycle.domain.container import Container
from lifecycle.domain.policy import Quarantine
from lifecycle.domain.status import TERMINAL, Status
from lifecycle.errors import ContainerStopped, ExecutionSuperseded, InvalidParent, PlayerMismatch
from lifecycle.store import assignments, containers, transitions
from lifecycle.store.engine import Connection, Database

QUARANTINE = Quarantine()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """Who spawns: a container by its id, and in whose name."""

    id: str
    epoch: int | None = None
    """Given by the parent's own execution: refused if the parent has moved on to a later one."""
    born_of: int | None = None
    """The parent's epoch to be recorded, where it is not the one of now.

    With neither the child is of none of its executions: it goes on where one of them is cut off, since no repeated body
    would spawn it again.
    """
    through: str | None = None
    """A live child that publishes after its body, as a chain does: it keeps a parent open whose body is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """Everything to be recorded of a new container; times are seconds from now."""

    id: str
    container_type: str
    by: str
    parent: Parent | None = None
    player_id: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    resources: tuple[str, ...] = ()
    detached: bool = False
    message: Mapping[str, Any] | None = None
    queue: str | None = None
    max_iterations: int = 1
    iteration_interval: float = 0.0
    max_restarts: int = 3
    grace: float = 30.0
    wake_in: float | None = None
    expires_in: float | None = None


def spawn(database: Database, birth: Birth, *, quarantine: Quarantine = QUARANTINE) -> Container:
    """Record a container in a transaction of its own; raises as `spawn_all`."""
    return spawn_all(database, [birth], quarantine=quarantine)[0]


def spawn_all(database: Database, births: Sequence[Birth], *, quarantine: Quarantine = QUARANTINE) -> list[Container]:
    """Record siblings in a transaction of its own, all or none.

    Raises InvalidParent, PlayerMismatch, ContainerExists, ResourceHeld or ResourceQuarantined, and then nothing is
    recorded; ContainerStopped or ExecutionSuperseded where the spawning execution itself is to go.
    """
    holds = any(birth.resources for birth in births)  # another may have taken one, and not committed
    with database.begin(impatient=holds) as connection:
        return record_all(connection, births, quarantine=quarantine)


def record(connection: Connection, birth: Birth, *, quarantine: Quarantine = QUARANTINE) -> Container:
    """`spawn` in the caller's transaction, who rolls a refusal back."""
    return record_all(connection, [birth], quarantine=quarantine)[0]


def record_all(
    connection: Connection, births: Sequence[Birth], *, quarantine: Quarantine = QUARANTINE
) -> list[Container]:
    """`spawn_all` in the caller's transaction, who rolls a refusal back: one statement a table."""
    first = births[0]
    place, player_id, tags = _under_parent(connection, first)
    recorded = containers.insert(connection, [_row(birth, place, player_id, tags) for birth in births], by=first.by)
    wanted = [(held, birth.id, player_id) for birth in births for held in birth.resources]
    assignments.assign(connection, wanted, quarantine=quarantine)
    return recorded


def _row(birth: Birth, place: dict[str, Any], player_id: int | None, tags: Mapping[str, str]) -> dict[str, Any]:
    return {
        "root_id": birth.id,
        "depth": 0,
        **place,
        "id": birth.id,
        "player_id": player_id,
        "tags": {**tags, **birth.tags},
        "container_type": birth.container_type,
        "detached": birth.detached,
        "message": birth.message,
        "queue": birth.queue,
        "max_iterations": birth.max_iterations,
        "iteration_interval": birth.iteration_interval,
        "max_restarts": birth.max_restarts,
        "grace": birth.grace,
        "wake_in": birth.wake_in,
        "expires_in": birth.expires_in,
    }


def _under_parent(connection: Connection, birth: Birth) -> tuple[dict[str, Any], int | None, Mapping[str, str]]:
    """The new row's place in the tree, and what it inherits."""
    parent = birth.parent
    if parent is None:
        return {}, birth.player_id, {}
    if parent.id == birth.id:
        raise InvalidParent
    row = containers.lock_parent(connection, parent.id)
    if row is None:
        raise InvalidParent(f"no container {parent.id}")
    if parent.born_of not in {None, row.epoch} and transitions.was_cut_off(connection, parent.id, parent.born_of):
        raise InvalidParent(f"the run of {parent.id} that began this (epoch {parent.born_of}) was cut off")
    if not _is_kept_open(connection, parent, row):
        _refuse_unless_running(parent, row)
    if birth.player_id is not None and birth.player_id != row.player_id:
        raise PlayerMismatch(f"player {birth.player_id} cannot own a child of {parent.id}, of player {row.player_id}")
    place = {
        "parent_container_id": parent.id,
        "parent_epoch": parent.born_of if parent.epoch is None else parent.epoch,
        "root_id": row.root_id,
        "depth": row.depth + 1,
    }
    return place, row.player_id, row.tags or {}


def _is_kept_open(connection: Connection, parent: Parent, row: Any) -> bool:
    """True if a live child vouches for a parent that waits for it: its row is locked, so it cannot end meanwhile."""
    if parent.through is None or row.status != Status.RUNNING or row.outcome == Status.FAILED:
        return False
    child = containers.lock_parent(connection, parent.through)
    return child is not None and Status(child.status) not in TERMINAL


def _refuse_unless_running(parent: Parent, row: Any) -> None:
    """A parent takes children only while it is RUNNING and its body is not over (design, section 4)."""
    if parent.epoch is not None and parent.epoch != row.epoch:
        raise ExecutionSuperseded(f"{parent.id} runs as epoch {row.epoch}, this is epoch {parent.epoch}")
    if row.status == Status.RUNNING and row.outcome is None:
        return
    if parent.epoch is not None and row.status == Status.STOPPING:
        raise ContainerStopped(f"{parent.id} is being stopped")
    if parent.epoch is not None and row.outcome is None:
        raise ExecutionSuperseded(f"{parent.id} is {row.status}")
    over = f"{row.status}, its body is over" if row.outcome else row.status
    raise InvalidParent(f"{parent.id} is {over}; only a RUNNING container takes children")

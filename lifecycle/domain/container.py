"""A container: one durable run of a task, as a value."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from lifecycle.domain.policy import INFINITE
from lifecycle.domain.status import TERMINAL, Status
from lifecycle.errors import InvalidArgument

MAX_ID = 255  # bytes of UTF-8: the column and the page of memory hold no more


class Keeper(Protocol):
    """What a container asks to look again at itself."""

    def get(self, container_id: str) -> "Container": ...

    def wait(self, container_id: str, timeout: float | None) -> "Container": ...

    def children(
        self, container_id: str, live: bool | None, status: "Iterable[Status] | str | None"
    ) -> "list[Container]": ...

    def keep_state(self, container_id: str, epoch: int, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One row of `containers`; its fields are the columns and the keys of `list --json`."""

    id: str
    player_id: int | None
    container_type: str
    status: Status
    parent_container_id: str | None
    parent_epoch: int | None
    root_id: str
    depth: int
    detached: bool
    max_iterations: int
    current_iteration: int
    restart_count: int
    max_restarts: int
    attempt: str | None
    resumed_at: datetime | None
    epoch: int
    node: str | None
    pid: int | None
    pid_started: int | None
    wake_at: datetime | None
    expires_at: datetime | None
    dispatched_at: datetime | None
    dispatch_count: int
    queue: str | None
    grace: float
    iteration_interval: float
    state: dict[str, Any]
    outcome: str | None
    result: Any
    exit_code: int | None
    exit_message: str | None
    stop_id: int | None
    stop_by: str | None
    stop_reason: str | None
    stop_message: str | None
    stop_deadline: datetime | None
    signal_at: datetime | None
    stop_error: str | None
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    stopped_at: datetime | None
    tags: dict[str, str] = field(default_factory=dict)
    keeper: Keeper | None = field(default=None, repr=False, compare=False)

    @property
    def is_root(self) -> bool:
        """True for a container without a parent."""
        return self.parent_container_id is None

    @property
    def is_ended(self) -> bool:
        """True once it is COMPLETED, FAILED or STOPPED: no process of it lives."""
        return self.status in TERMINAL

    @property
    def progress(self) -> str:
        """Iterations done of how many, as `3/∞` or `0/1`."""
        total = "∞" if self.max_iterations == INFINITE else str(self.max_iterations)
        return f"{self.current_iteration}/{total}"

    @property
    def activity(self) -> str:
        """What its status leaves open: "waiting for children", "restart 2/3 in 28 s", "sleeping until 16:45:09" (UTC).

        Or "queued"; empty where there is nothing to add: it executes on its node or has ended.
        """
        if self.is_ended or self.node is not None:
            return ""
        if self.status is Status.INTERRUPTED:
            return f"{self.attempt or 'goes on'} {self._wait}"
        if self.outcome is not None or self.status is Status.STOPPING:
            return "waiting for children"
        if self.wake_at is not None and self.dispatched_at is None:
            soon = self.wake_at.date() == self.updated_at.date()
            return f"sleeping until {self.wake_at:{'%H:%M:%S' if soon else '%Y-%m-%d %H:%M:%S'}}"
        return "queued"

    @property
    def _wait(self) -> str:
        """How long until its time has come, by this machine's clock; then it may still wait for children to end."""
        left = 0.0 if self.wake_at is None else (self.wake_at - datetime.now(UTC)).total_seconds()
        return f"in {left:.0f} s" if left >= 1 else "now"

    def refresh(self) -> "Container":
        """Read it anew from the database; raises ContainerNotFound if it was pruned."""
        return self._kept_by().get(self.id)

    def wait(self, timeout: float | None = None) -> "Container":
        """Block until it has ended, at most `timeout` seconds, and return it as it ended.

        Raises WaitTimeout, and WaitRefused inside a container's body: with every slot so held nothing could run.
        """
        return self._kept_by().wait(self.id, timeout)

    def children(self, *, live: bool | None = None, status: Iterable[Status] | str | None = None) -> "list[Container]":
        """Its direct children, oldest first: only live (True) or ended (False) ones, only those of a status."""
        return self._kept_by().children(self.id, live, status)

    def keep_state(self, state: dict[str, Any]) -> "Container":
        """Itself with this state, which its execution has recorded; raises ExecutionSuperseded for a stale one."""
        self._kept_by().keep_state(self.id, self.epoch, state)
        return replace(self, state=state)

    def as_dict(self) -> dict[str, Any]:
        """Its columns and tags as JSON types; times as ISO 8601 in UTC."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "keeper"}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}

    def _kept_by(self) -> Keeper:
        if self.keeper is None:
            raise RuntimeError("this container was not read through a Lifecycle")
        return self.keeper


def check_id(text: str) -> None:
    """Raises InvalidArgument for an id that could not be kept, shown or typed."""
    is_text = isinstance(text, str) and text.isprintable()
    if not is_text or not 0 < len(text.encode()) <= MAX_ID:
        raise InvalidArgument(f"a container id is 1 to {MAX_ID} bytes of printable text, not {str(text)[:40]!r}")


def new_id(container_type: str, resources: Iterable[str] = ()) -> str:
    """A readable id: type, first resource's name, 8 hex digits, as `arbitrage-worker-TORWINDO-8-87daeda7`."""
    first = next(iter(resources), "")
    words = [container_type.lower().replace("_", "-"), first.partition(":")[2] or first]
    name = "-".join(re.sub(r"[^A-Za-z0-9.-]+", "-", word).strip("-") for word in words if word)
    return f"{name[: MAX_ID - 9]}-{secrets.token_hex(4)}"

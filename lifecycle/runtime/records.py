"""What a Lifecycle tells of its containers: reading rows as values, and waiting for them."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from lifecycle.domain.container import Container
from lifecycle.domain.status import Status
from lifecycle.errors import ExecutionSuperseded, WaitRefused, WaitTimeout
from lifecycle.runtime.execution import current_execution
from lifecycle.settings import Settings
from lifecycle.store import assignments, containers, logs, quarantines, runs, transitions
from lifecycle.store.assignments import Assignment
from lifecycle.store.engine import Database
from lifecycle.store.logs import LogLine
from lifecycle.store.quarantines import Quarantined
from lifecycle.store.transitions import Transition
from lifecycle.trees import stop as stops


class Records(ABC):
    """The containers of one database."""

    @property
    @abstractmethod
    def database(self) -> Database:
        """Where the rows are."""

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """As configured."""

    def get(self, container_id: str, *, player_id: int | None = None) -> Container:
        """One container; raises ContainerNotFound."""
        with self.database.read() as connection:
            return self.keep(containers.get(connection, container_id, player_id))

    def resolve(self, part: str, *, player_id: int | None = None) -> str:
        """The id that a unique prefix or suffix names; raises ContainerNotFound or AmbiguousId."""
        with self.database.read() as connection:
            return containers.resolve(connection, part, player_id)

    def find(
        self,
        status: Iterable[Status] | str | None = None,
        player_id: int | None = None,
        tags: Mapping[str, str] | None = None,
        type: str | None = None,  # noqa: A002 - the word users know
        limit: int | None = 100,
    ) -> list[Container]:
        """Containers that fit every filter given, newest first; raises InvalidArgument for an unknown status."""
        with self.database.read() as connection:
            found = containers.find(
                connection, status=status, player_id=player_id, tags=tags, container_type=type, limit=limit
            )
        return [self.keep(each) for each in found]

    def counts(
        self,
        player_id: int | None = None,
        tags: Mapping[str, str] | None = None,
        type: str | None = None,  # noqa: A002 - the word users know
    ) -> dict[Status, int]:
        """How many containers fit the filters, by status."""
        with self.database.read() as connection:
            return containers.count_by_status(connection, player_id=player_id, tags=tags, container_type=type)

    def children(
        self, container_id: str, live: bool | None = None, status: Iterable[Status] | str | None = None
    ) -> list[Container]:
        """Direct children, oldest first; only live ones (True), only ended ones (False), only these statuses, or all.

        Raises ContainerNotFound, and InvalidArgument for an unknown status.
        """
        with self.database.read() as connection:
            containers.get(connection, container_id)
            return [self.keep(each) for each in containers.children(connection, container_id, live, status)]

    def tree(self, container_id: str) -> list[Container]:
        """The container and all below it: parents before children, siblings oldest first."""
        with self.database.read() as connection:
            containers.get(connection, container_id)
            rows = containers.descendants(connection, container_id)
        by_id = {each.id: each for each in rows}
        return [self.keep(by_id[found]) for found in stops.tree_order(rows)]

    def history(self, container_id: str) -> list[Transition]:
        """Every change of its status, oldest first."""
        with self.database.read() as connection:
            return transitions.history(connection, container_id)

    def holdings(self, container_id: str) -> list[Assignment]:
        """The resources it holds now."""
        with self.database.read() as connection:
            return assignments.held(connection, container_id=container_id)

    def assignments(self, *, player_id: int | None = None) -> list[Assignment]:
        """Every resource held now, or those of a player, in the order they were taken."""
        with self.database.read() as connection:
            return assignments.held(connection, player_id=player_id)

    def quarantined(self, *, player_id: int | None = None) -> list[Quarantined]:
        """Every resource that nobody holds and that is refused now, or waits for its probe; or those of a player."""
        with self.database.read() as connection:
            return quarantines.listed(connection, self.settings.quarantine, player_id=player_id)

    def logs(
        self,
        container_ids: Iterable[str],
        *,
        after: int = 0,
        tail: int | None = None,
        level: str | None = None,
        since: datetime | None = None,
        limit: int | None = 1_000,
    ) -> list[LogLine]:
        """Log lines after line `after`, oldest first; the last `tail` of them if given."""
        with self.database.read() as connection:
            return logs.read(connection, container_ids, after=after, tail=tail, level=level, since=since, limit=limit)

    def wait(self, container_id: str, timeout: float | None = None) -> Container:
        """Block until a container has ended; raises WaitTimeout, and WaitRefused inside a container's body."""
        if current_execution() is not None:
            raise WaitRefused("a body cannot wait for a container: with every slot so held nothing could run")
        end = None if timeout is None else time.monotonic() + timeout
        pause = 0.02
        while not (found := self.get(container_id)).is_ended:
            if end is not None and time.monotonic() >= end:
                raise WaitTimeout(f"{container_id} is {found.status} after {timeout} s")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        return found

    def keep_state(self, container_id: str, epoch: int, state: dict[str, Any]) -> None:
        """Record an execution's state; raises ExecutionSuperseded for a stale one."""
        with self.database.begin() as connection:
            kept = runs.keep_state(connection, container_id, epoch, state)
        if not kept:
            raise ExecutionSuperseded(f"{container_id} epoch {epoch} is not the one that runs")

    def keep(self, container: Container) -> Container:
        """A container that can look again at itself."""
        return replace(container, keeper=self)

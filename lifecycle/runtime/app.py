"""The Lifecycle of a Celery app: what a pipeline and an operator call."""

import getpass
import logging
import os
import socket
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from celery import Celery, current_app

from lifecycle.domain.container import Container
from lifecycle.domain.policy import check_seconds
from lifecycle.domain.report import StopReport
from lifecycle.domain.status import Status
from lifecycle.errors import (
    ContainerStopped,
    DuplicateType,
    ImpossibleSettings,
    LifecycleError,
    StoreError,
    UnknownType,
)
from lifecycle.runtime import control, entrances, hooks, plugins, schedule
from lifecycle.runtime.body import shield
from lifecycle.runtime.doorbell import CeleryDoorbell
from lifecycle.runtime.execution import current_execution
from lifecycle.runtime.installed import lifecycle_of
from lifecycle.runtime.launch import relaunch
from lifecycle.runtime.logs import ContainerLogs
from lifecycle.runtime.node import Node
from lifecycle.runtime.records import Records
from lifecycle.runtime.seat import Seat
from lifecycle.runtime.task import ContainerTask
from lifecycle.runtime.upkeep import Upkeep
from lifecycle.settings import Settings, read_settings
from lifecycle.store import containers, runs, schema
from lifecycle.store.assignments import Assignment
from lifecycle.store.engine import Database
from lifecycle.store.quarantines import Quarantined
from lifecycle.trees import release
from lifecycle.trees import stop as stops

log = logging.getLogger("lifecycle.app")
NO_URL = (
    "no database is set: give app.conf.lifecycle_database_url or the environment's LIFECYCLE_DATABASE_URL, "
    "as postgresql://user@host/name or sqlite:///lifecycle.db"
)


class Lifecycle(Records, Upkeep):
    """`Lifecycle(app)` makes an app's container tasks durable trees, and is `app.lifecycle` from then on."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.node: Node | None = None
        self.doorbell = CeleryDoorbell(self)
        app.lifecycle = self
        control.install(app)
        hooks.install(self)
        schedule.install(self)
        entrances.install(self)
        plugins.join(self)

    @cached_property
    def settings(self) -> Settings:
        """As configured; raises ImpossibleSettings."""
        return read_settings(self.app.conf)

    @cached_property
    def database(self) -> Database:
        """Where the rows are; raises ImpossibleSettings without a URL: there is no default database."""
        if not self.settings.database_url:
            raise ImpossibleSettings(NO_URL)
        return Database(
            self.settings.database_url,
            schema=self.settings.database_schema,
            busy_timeout=self.settings.lease / 4,
            idle_timeout=self.settings.lease,  # nobody takes a container from a process that is paused for less
            around=shield,  # no stop is raised in our own transactions
        )

    @property
    def bell(self) -> CeleryDoorbell:
        """How nodes and Celery's results are told."""
        return self.doorbell

    @property
    def may_reap(self) -> bool:
        """A node that has just missed a renewal of its own lease declares no other dead."""
        return self.node is None or self.node.may_reap()

    @cached_property
    def logs_handler(self) -> ContainerLogs:
        """Where the executions of this process log to."""
        return ContainerLogs(self.database, self.settings)

    @cached_property
    def who(self) -> str:
        """Who acts here, as rows name it: the container that runs, or user and host."""
        return f"{_user()}@{socket.gethostname()}"

    def stop(
        self,
        container_id: str,
        *,
        player_id: int | None = None,
        grace: float | None = None,
        force: bool = False,
        reason: str | None = None,
        wait: bool = True,
    ) -> StopReport:
        """Take a container and its whole attached tree down, children before parents (design, section 6).

        grace: seconds until the kill, instead of each container's own; force: 0. wait: until all have ended.
        Raises ContainerNotFound, and StoreUnreachable with nothing marked; ContainerStopped if the caller is in the
        tree itself.
        """
        if grace is not None:
            check_seconds("grace", grace)
        execution = current_execution()
        by = execution.container.id if execution is not None else self.who
        request = stops.Request(
            container_id=container_id, by=by, reason=reason, grace=0.0 if force else grace, player_id=player_id
        )
        if execution is not None and self._is_above(container_id, execution.container):
            with execution.shielded():
                marked, target = stops.mark(self.database, request)
                stops.ring(self.database, self.doorbell, marked, target)
            execution.raised = True
            raise ContainerStopped(execution.container.id)
        patience = self.settings.expires_in + 5
        restarts = self.settings.restarts
        return stops.stop(self.database, self.doorbell, request, wait=wait, patience=patience, restarts=restarts)

    def start(
        self,
        type: str,  # noqa: A002 - the word users know
        kwargs: Mapping[str, Any] | None = None,
        **wishes: Any,
    ) -> Container:
        """Spawn a container of a registered type, as `ContainerTask.spawn` does; raises UnknownType."""
        types = self.types()
        if type not in types:
            known = ", ".join(sorted(types)) or "none"
            raise UnknownType(f"no container type {type}; registered are: {known}")
        return types[type].spawn((), kwargs, **wishes)

    def rerun(self, container_id: str, *, player_id: int | None = None, by: str | None = None) -> Container:
        """Spawn a new container that does the same as this one, whatever came of it; `by`: in whose name.

        Raises ContainerNotFound, UnknownType, and as `spawn` does: ResourceHeld where the old one still runs.
        """
        return relaunch(self, self.get(container_id, player_id=player_id), by=by)

    def release(self, resource: str, *, player_id: int | None = None, force: bool = False) -> Assignment | Quarantined:
        """Give a resource back for the container that holds it, and lift its quarantine; what it was.

        Containers give back what they hold as they end: this mends what hands have left. Raises ResourceHeld for a
        live holder, unless forced, and InvalidArgument if it is neither held nor quarantined, or for several players.
        """
        request = release.Request(resource=resource, player_id=player_id, by=self.who, force=force)
        return release.release(self.database, request, self.settings.quarantine)

    def migrate(self, revision: str = "head") -> list[str]:
        """Bring the database's tables up to this version; the revisions applied."""
        return schema.migrate(self.database, revision)

    def migrate_back(self, revision: str) -> list[str]:
        """Undo what is newer than the revision, and lose what it holds; the revisions undone."""
        return schema.downgrade(self.database, revision)

    def types(self) -> dict[str, ContainerTask]:
        """The app's container tasks by type; raises DuplicateType, ImpossibleSettings for a task's own options."""
        found: dict[str, ContainerTask] = {}
        for task in self.app.tasks.values():
            if isinstance(task, ContainerTask):
                other = found.setdefault(task.type_name, task)
                if other is not task:
                    both = " and ".join(sorted((other.name, task.name)))
                    raise DuplicateType(f"container type {task.type_name} is that of two tasks: {both}")
                task.check_options()
        return found

    def seat(self) -> Seat:
        """Where an execution of this process sits; raises LifecycleError outside of a node."""
        if self.node is None:
            raise LifecycleError("containers run on nodes only: this process is no Celery worker of the app")
        return self.node.seat()

    def wake_parent(self, above: str, container: Container) -> None:
        """A child was stopped: if that was the last of the parent `above`, its node is to signal it now."""
        if self.node is None:
            return
        try:
            with self.database.read() as connection:
                where = runs.waits_for_signal(connection, above)
        except StoreError as error:  # the parent's node looks by itself, a second later
            log.info("parent not woken container=%s error=%s", above, error)
            return
        if where == self.node.page.node:
            self.node.look_now()
        elif where is not None:
            self.doorbell.ring(container.root_id, container.depth)

    def _is_above(self, container_id: str, container: Container) -> bool:
        """True if `container_id` is the container itself or above it, by attached links."""
        with self.database.read() as connection:
            while container.id != container_id:
                if container.detached or container.parent_container_id is None:
                    return False
                container = containers.get(connection, container.parent_container_id)
        return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def get(container_id: str, *, player_id: int | None = None) -> Container:
    """`Lifecycle.get` of the current app."""
    return lifecycle_of(current_app).get(container_id, player_id=player_id)


def find(**filters: Any) -> list[Container]:
    """`Lifecycle.find` of the current app."""
    return lifecycle_of(current_app).find(**filters)


def children(
    container_id: str, live: bool | None = None, status: Iterable[Status] | str | None = None
) -> list[Container]:
    """`Lifecycle.children` of the current app."""
    return lifecycle_of(current_app).children(container_id, live, status)


def tree(container_id: str) -> list[Container]:
    """`Lifecycle.tree` of the current app."""
    return lifecycle_of(current_app).tree(container_id)


def stop(container_id: str, **wishes: Any) -> StopReport:
    """`Lifecycle.stop` of the current app."""
    return lifecycle_of(current_app).stop(container_id, **wishes)

"""The task class whose runs are containers."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celery import uuid
from celery._state import get_current_worker_task
from celery.app.task import Task
from celery.result import AsyncResult

from lifecycle.domain.container import Container
from lifecycle.domain.ending import Finish
from lifecycle.domain.policy import INFINITE, MIN_INFINITE_INTERVAL
from lifecycle.errors import ContainerExists, ImpossibleSettings, InvalidArgument, InvalidParent
from lifecycle.runtime.descent import running_parent
from lifecycle.runtime.django import OnCommit, drop_open_transactions
from lifecycle.runtime.execution import Execution, current_execution
from lifecycle.runtime.holds import check_holds
from lifecycle.runtime.installed import lifecycle_of
from lifecycle.runtime.launch import launch, republish
from lifecycle.runtime.refusal import refuse
from lifecycle.runtime.run import run
from lifecycle.runtime.wish import Call, Wish, as_call, as_calls
from lifecycle.store.engine import Connection

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.task")


class ContainerTask(OnCommit, Task):
    """`@app.task(base=ContainerTask, container_type=…, iterations=1|N|-1, interval=…, grace=…)`.

    container_type: by default the function's name in upper case. iterations: -1 runs until stopped.
    interval: seconds between iterations, in which no slot is held. grace: seconds from a stop to the kill.
    max_restarts: how often a run that was lost is started again. restart_on: errors of the body that count as such;
    every other one fails the container at once. forgive_on: errors of the body that count for no quarantine.
    holds: resources of each container of this type, whoever starts it, with the body's arguments in braces, as
    `["ship:{ship}"]`.
    """

    abstract = True
    Request = "lifecycle.runtime.request:ContainerRequest"
    acks_late = False
    container_type: str | None = None
    iterations: int = 1
    interval: float = 0.0
    grace: float | None = None
    max_restarts: int | None = None
    restart_on: tuple[type[Exception], ...] = ()
    forgive_on: tuple[type[Exception], ...] = ()
    holds: Sequence[str] = ()

    @property
    def lifecycle(self) -> "Lifecycle":
        """The Lifecycle of this task's app; raises NotInstalled."""
        return lifecycle_of(self.app)

    @property
    def type_name(self) -> str:
        """The container type its runs have."""
        return self.container_type or str(self.name).rpartition(".")[2].upper()

    def check_options(self) -> None:
        """Raises ImpossibleSettings for iterations or times that cannot be meant."""
        if self.iterations != INFINITE and self.iterations < 1:
            raise ImpossibleSettings(f"{self.name}: iterations must be -1 or at least 1, not {self.iterations}")
        if self.iterations == INFINITE and self.interval < MIN_INFINITE_INTERVAL:
            raise ImpossibleSettings(f"{self.name}: an infinite container needs an interval of at least 1 s")
        if self.interval < 0 or (self.grace is not None and self.grace < 0):
            raise ImpossibleSettings(f"{self.name}: interval and grace cannot be negative")
        if self.max_restarts is not None and not (isinstance(self.max_restarts, int) and self.max_restarts >= 0):
            raise ImpossibleSettings(f"{self.name}: max_restarts must be a whole number from 0: {self.max_restarts!r}")
        for option in ("restart_on", "forgive_on"):
            if not _are_errors(errors := getattr(self, option)):
                raise ImpossibleSettings(f"{self.name}: {option} is a list of Exception classes, not {errors!r}")
        check_holds(self)

    def spawn(
        self,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        player_id: int | None = None,
        tags: Mapping[str, str] | None = None,
        resources: Iterable[str] = (),
        detach: bool = False,
        grace: float | None = None,
        container_id: str | None = None,
        parent_container_id: str | None = None,
        connection: Connection | None = None,
        **apply_async_options: Any,
    ) -> Container:
        """Record a container and publish its message; a child of the container whose body is running here.

        tags are added to the inherited ones. resources are held until it has ended. detach: not stopped with its
        parent. grace: seconds. parent_container_id: another parent than the running container.
        connection: SQLAlchemy's, to this database; the row is part of its transaction, and a node publishes the message
        after the commit. Until then a stop of the parent waits.
        Raises InvalidParent, PlayerMismatch, ContainerExists, ResourceHeld, ResourceQuarantined or InvalidArgument, and
        nothing is recorded then; ContainerStopped if the running container is being stopped.
        """
        wish = Wish(
            player_id=player_id,
            tags=dict(tags or {}),
            detach=detach,
            grace=grace,
            parent_container_id=parent_container_id,
            connection=connection,
        )
        call = as_call(args, kwargs, resources, container_id)
        return launch(self, [call], wish, apply_async_options)[0]

    def spawn_many(
        self,
        calls: Iterable[tuple[Iterable[Any], Mapping[str, Any]]],
        *,
        player_id: int | None = None,
        tags: Mapping[str, str] | None = None,
        resources: Iterable[Iterable[str]] | None = None,
        detach: bool = False,
        grace: float | None = None,
        parent_container_id: str | None = None,
        connection: Connection | None = None,
        **apply_async_options: Any,
    ) -> list[Container]:
        """As `spawn` for each `(args, kwargs)` of `calls`, all or none: one INSERT, one batch of messages.

        resources: for each call, what its container holds; else as `spawn`, for all alike. It is one transaction:
        with more than some thousands, others of a SQLite file wait for it.
        """
        wish = Wish(
            player_id=player_id,
            tags=dict(tags or {}),
            detach=detach,
            grace=grace,
            parent_container_id=parent_container_id,
            connection=connection,
        )
        return launch(self, as_calls(calls, resources), wish, apply_async_options)

    def apply_async(
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> AsyncResult:
        """As Celery's, and recorded first; `delay`, canvas and beat come through here."""
        if self.app.conf.task_always_eager:
            return super().apply_async(args, kwargs, task_id=task_id, **options)
        execution = current_execution()
        if task_id is not None and execution is not None and execution.container.id == task_id:
            return republish(self, args, kwargs, task_id, options)
        call = Call(tuple(args or ()), dict(kwargs or {}), container_id=task_id)
        try:
            return self.AsyncResult(launch(self, [call], Wish(), options)[0].id)
        except InvalidParent as error:
            if not _is_next_step(execution, options):
                raise
            return self._refused(task_id or uuid(), options, str(error))
        except ContainerExists as error:
            if execution is None or not execution.over or not self._was_published(error.container_id):
                raise
            return self.AsyncResult(error.container_id)

    def _was_published(self, container_id: str) -> bool:
        """True if a run of this container before, that was lost after its body, has started this very step."""
        parent, row = running_parent(), self.lifecycle.get(container_id)
        above = parent.id if parent is not None else None
        return (row.parent_container_id, row.container_type) == (above, self.type_name)

    def _refused(self, task_id: str, options: dict[str, Any], why: str) -> AsyncResult:
        """A step after a body whose tree is going: it does not start, and who waits for it learns so."""
        log.warning("next step not started container=%s why=%s", task_id, why)
        refuse(self.app, task_id, options, why)
        return self.AsyncResult(task_id)

    def replace(self, sig: Any) -> Any:
        """Refused: the row, its parent and its children are of this task."""
        raise InvalidArgument(f"{self.name}: a container cannot be replaced by {sig}; spawn it as a child")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The body inside its container when a node runs it; called as a function it is a function."""
        execution = current_execution()
        by_its_own_body = execution is not None and execution.has_begun and execution.container.id == self.request.id
        if self.request.called_directly or by_its_own_body:
            return super().__call__(*args, **kwargs)
        if self.request.is_eager:
            value = self.run(*args, **kwargs)
            return value.result if isinstance(value, Finish) else value
        try:
            return run(self, args, kwargs)
        finally:
            drop_open_transactions(self.request.id)


def _is_next_step(execution: Execution | None, options: dict[str, Any]) -> bool:
    """True where Celery goes on with a canvas after a body, of a container or a plain task: there is none to raise."""
    if execution is not None:
        return execution.over
    before = get_current_worker_task()
    return before is not None and options.get("parent_id") == before.request.id


def _are_errors(classes: Any) -> bool:
    """A list of Exception classes; one alone is none."""
    listed = isinstance(classes, list | tuple)
    return listed and all(isinstance(each, type) and issubclass(each, Exception) for each in classes)

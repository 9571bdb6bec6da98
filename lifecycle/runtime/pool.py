"""The executions of a node as its supervisor sees and ends them: pool children, or threads."""

import logging
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from celery.concurrency.prefork import TaskPool

from lifecycle.domain.pools import cannot_kill
from lifecycle.runtime import execution as executions
from lifecycle.runtime import process
from lifecycle.runtime.execution import STOP_SIGNAL
from lifecycle.runtime.page import Page, Run

log = logging.getLogger("lifecycle.pool")


class Pool(Protocol):
    """What runs on this node."""

    can_kill: bool
    survives: str
    """Why an execution can outlive its deadline here."""

    def runs(self) -> dict[int, list[Run]]:
        """What each process says it runs, by pid."""
        ...

    def signal(self, pid: int, run: Run) -> None:
        """Raise a stop in an execution, if it is still that one."""
        ...

    def cut(self, pid: int, run: Run) -> None:
        """Raise an interrupt in an execution, if it is still that one."""
        ...

    def kill(self, pid: int, run: Run) -> bool:
        """Kill the process of an execution, if it is still that one."""
        ...


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    slot: int


class ChildPool:
    """Prefork: one execution a child, which can be signalled and killed."""

    can_kill = True
    survives = "the process survived a kill"

    def __init__(self, pool: TaskPool, page: Page) -> None:
        self._pool, self._page = pool, page

    def children(self) -> list[_Child]:
        """The pool's processes now."""
        inner = getattr(self._pool, "_pool", None)
        processes: Iterable[Any] = tuple(inner._pool) if inner is not None else ()  # noqa: SLF001 - no public list
        return [_Child(each.pid, each.index) for each in processes if each.pid is not None]

    def runs(self) -> dict[int, list[Run]]:
        """What each child's slot says."""
        found = {child.pid: self._page.run(child.slot, child.pid) for child in self.children()}
        return {pid: [run] if run else [] for pid, run in found.items()}

    def signal(self, pid: int, run: Run) -> None:
        """The page says which execution the signal means."""
        self._ask(pid, run, self._page.ask_stop)

    def cut(self, pid: int, run: Run) -> None:
        """As `signal`: one signal says both."""
        self._ask(pid, run, self._page.ask_cut)

    def _ask(self, pid: int, run: Run, say: Callable[[int, str, int], None]) -> None:
        """The signal would kill a child that has not begun an execution yet."""
        child = self._child(pid)
        says = None if child is None else self._page.run(child.slot, pid)
        if child is not None and says is not None and says.container_id == run.container_id:
            say(child.slot, run.container_id, run.epoch)
            with suppress(ProcessLookupError):
                os.kill(pid, STOP_SIGNAL)

    def kill(self, pid: int, run: Run) -> bool:
        """Halt the child first: between a look and a kill it could have taken another container."""
        child = self._child(pid)
        if child is None:
            return False
        if not process.halt(pid):
            process.resume(pid)  # it may halt later, with another container
            return False
        says = self._page.run(child.slot, pid)
        if says is None or (says.container_id, says.epoch) != (run.container_id, run.epoch):
            process.resume(pid)
            return False
        if says.shielded:
            log.warning("killed inside shield() container=%s epoch=%s pid=%s", run.container_id, run.epoch, pid)
        process.kill_group(pid)
        self._pool.terminate_job(pid, signal.SIGKILL)  # tells the pool that this death was wanted
        return True

    def _child(self, pid: int) -> _Child | None:
        return next((child for child in self.children() if child.pid == pid), None)


class ThreadPool:
    """Threads, gevent, solo: executions meet a stop at their next `checkpoint()` or `sleep()`, or never.

    name: of Celery's module, as the node's row has it.
    """

    can_kill = False

    def __init__(self, name: str = "thread") -> None:
        self.survives = cannot_kill(name, os.getpid())

    def runs(self) -> dict[int, list[Run]]:
        """What the registers of this process hold; first who claims, or one that enters meanwhile would be in none."""
        claiming = [Run(container_id, 0) for container_id in list(executions.claiming.values())]
        return {os.getpid(): claiming + [Run(*key) for key in list(executions.running)]}

    def signal(self, _pid: int, run: Run) -> None:
        """Ask; the body has to look."""
        execution = executions.running.get((run.container_id, run.epoch))
        if execution is not None:
            execution.ask_stop()

    def cut(self, _pid: int, run: Run) -> None:
        """Ask; the body has to look."""
        execution = executions.running.get((run.container_id, run.epoch))
        if execution is not None:
            execution.ask_cut()

    def kill(self, _pid: int, _run: Run) -> bool:
        """A thread cannot be killed."""
        return False

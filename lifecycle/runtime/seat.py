"""Where an execution sits: a pool child of its own, or a thread of the node's main process."""

import os
import time
from typing import Protocol

from lifecycle.domain.container import Container
from lifecycle.runtime import execution as executions
from lifecycle.runtime import process
from lifecycle.runtime.execution import Execution
from lifecycle.runtime.fence import Fence
from lifecycle.runtime.page import Page


class Seat(Protocol):
    """What a claim writes into the row, and what the supervisor sees of the execution."""

    pid: int
    pid_started: int

    @property
    def node(self) -> str:
        """The node's id."""
        ...

    @property
    def leaving(self) -> bool:
        """True once the node shuts down."""
        ...

    def may_claim(self) -> bool:
        """True while the node's lease is certain; arms the fence."""
        ...

    def begin(self, container_id: str) -> None:
        """Before the claim: say what may soon run here."""
        ...

    def execution(self, container: Container) -> Execution:
        """After the claim: the execution that runs here."""
        ...

    def clear(self) -> None:
        """Nothing runs here any more."""
        ...


class ChildSeat:
    """A prefork pool child: killed by its fence, signalled and watched through the page."""

    def __init__(self, page: Page, slot: int, heartbeat: float) -> None:
        self._page, self._slot = page, slot
        self._fence = Fence(page, every=min(heartbeat / 2, 1.0))
        self.pid = os.getpid()
        self.pid_started = process.started(self.pid) or 0
        page.clear(slot)
        self._fence.start()

    @property
    def node(self) -> str:
        """The node's id, as its main process has it now."""
        return self._page.node

    @property
    def leaving(self) -> bool:
        """True once the node shuts down."""
        return self._page.leaving

    def may_claim(self) -> bool:
        """Arm before the claim: a process that is paused between the two must not wake up into a run."""
        return self._fence.arm()

    def begin(self, container_id: str) -> None:
        """Before the claim, so that a row never names a child that does not say so itself."""
        self._page.begin(self._slot, container_id)

    def execution(self, container: Container) -> Execution:
        """The one execution of this child."""
        self._page.begin(self._slot, container.id, container.epoch)
        return Execution(container, self._page, self._slot)

    def clear(self) -> None:
        """The child is idle."""
        self._page.clear(self._slot)


class ThreadSeat:
    """A thread or greenlet of the main process, or the main process itself (solo): it cannot be killed alone."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.pid = os.getpid()
        self.pid_started = process.started(self.pid) or 0

    @property
    def node(self) -> str:
        """The node's id."""
        return self._page.node

    @property
    def leaving(self) -> bool:
        """True once the node shuts down."""
        return self._page.leaving

    def may_claim(self) -> bool:
        """Only the lease is asked: there is no process to arm."""
        return self._page.deadline > time.monotonic()

    def begin(self, container_id: str) -> None:
        """Before the claim, so that a row never names this process while no register knows of the run."""
        executions.begin(container_id)

    def execution(self, container: Container) -> Execution:
        """One of several in this process."""
        return Execution(container)

    def clear(self) -> None:
        """The calling thread claims nothing; `leave()` says that it runs nothing."""
        executions.give_way()

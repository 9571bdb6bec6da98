"""A node's stopper: raises stops and interrupts in its executions, and kills those whose time is over."""

import logging
import time
from collections.abc import Callable

from lifecycle.domain.status import Status
from lifecycle.runtime.page import Page, Run
from lifecycle.runtime.pool import Pool
from lifecycle.settings import Settings
from lifecycle.store import endings
from lifecycle.store.engine import Database
from lifecycle.store.nodes import Held

log = logging.getLogger("lifecycle.stopper")
Key = tuple[int, str, int]  # pid, container, epoch
Runs = dict[int, list[Run]]


class Stopper:
    """Looks at the rows that name the node beside what its processes say they run; the supervisor's right hand.

    on_given_up: called after a row was noted that cannot be stopped.
    """

    def __init__(self, database: Database, page: Page, settings: Settings, on_given_up: Callable[[], None]) -> None:
        self._database, self._page, self._settings, self._on_given_up = database, page, settings, on_given_up
        self._signalled: set[Key] = set()
        self._killed: set[Key] = set()
        self._strays: dict[Key, float] = {}
        self._tried: dict[Key, tuple[float, float]] = {}
        self._leaving_since: float | None = None
        self._at_once = False

    @property
    def is_leaving(self) -> bool:
        """True once the node shuts down."""
        return self._leaving_since is not None

    @property
    def repeats(self) -> bool:
        """True while signals are to be sent again soon: a single one may be swallowed."""
        return bool(self._signalled)

    def leave(self, *, at_once: bool = False) -> None:
        """The node shuts down: interrupt what runs, and kill it after its grace, or at once. From a signal handler."""
        self._leaving_since = self._leaving_since or time.monotonic()
        self._at_once = self._at_once or at_once

    @property
    def killed(self) -> set[Key]:
        """The executions that we killed, and that are not forgotten yet."""
        return set(self._killed)

    def was_killed(self, key: Key) -> bool:
        """True if we killed this execution."""
        return key in self._killed

    def forget(self, key: Key) -> None:
        """The execution is gone."""
        self._signalled.discard(key)
        self._killed.discard(key)
        self._tried.pop(key, None)

    def work(self, pool: Pool, rows: list[Held], before: Runs, after: Runs) -> None:
        """One look: what processes said before the rows were read, and after."""
        mine = [row for row in rows if row.is_live and row.node == self._page.node and is_run(row, after)]
        self._signalled = {key_of(row) for row in mine if row.status == Status.STOPPING and self._stop(pool, row)}
        if self._leaving_since is not None:
            others = [row for row in mine if row.status != Status.STOPPING]
            self._signalled |= {key_of(row) for row in others if self._interrupt(pool, row, self._leaving_since)}
        self._stop_strays(pool, rows, before, after)

    def _stop(self, pool: Pool, row: Held) -> bool:
        """Signal a STOPPING execution if its turn has come, kill it past its deadline or at a cold shutdown.

        True if it was signalled.
        """
        run, late = Run(row.id, row.epoch), -(row.seconds_to_deadline or 0.0)
        if self._at_once:
            self._kill(pool, key_of(row), run, "killed, the node shuts down")
        if late >= 0 and (not row.has_live_child or late >= self._settings.kill_after):
            self._kill_late(pool, row, run, late)
        if row.has_live_child and not row.signal_due and late < 0:
            return False
        pool.signal(row.pid or 0, run)
        return True

    def _kill_late(self, pool: Pool, row: Held, run: Run, late: float) -> None:
        """Kill an execution past its deadline; where that cannot be done, say so after a while.

        Not before it was tried for that while: the deadline may have passed long ago, while this node could not look.
        """
        key, patience = key_of(row), self._settings.kill_after
        if self._kill(pool, key, run, "killed at its deadline"):
            self._tried.pop(key, None)
        has_tried = self._try_on(key) >= patience
        if has_tried and late >= patience * (2 if pool.can_kill else 1) and row.stop_error is None:
            self._give_up(row, f"still running {late:.0f} s after its deadline: {pool.survives}")

    def _try_on(self, key: Key) -> float:
        """For how many seconds this node has tried to end an execution; times in which it did not look do not count."""
        at = time.monotonic()
        last, seconds = self._tried.get(key, (at, 0.0))
        seconds += min(at - last, self._settings.supervise_every)
        self._tried[key] = (at, seconds)
        return seconds

    def _interrupt(self, pool: Pool, row: Held, since: float) -> bool:
        """The node shuts down: the execution has its grace to leave, its container goes on elsewhere."""
        run = Run(row.id, row.epoch)
        pool.cut(row.pid or 0, run)
        if self._at_once or time.monotonic() - since >= row.grace:
            self._kill(pool, key_of(row), run, "killed, the node shuts down")
        return True

    def _kill(self, pool: Pool, key: Key, run: Run, why: str) -> bool:
        """True if it was killed now, and not before."""
        pid = key[0]
        if key in self._killed or not pool.kill(pid, run):
            return False
        self._killed.add(key)
        log.warning("%s container=%s epoch=%s pid=%s", why, run.container_id, run.epoch, pid)
        return True

    def _give_up(self, row: Held, why: str) -> None:
        """Say so on the row: its parent no longer waits for it, and the stop reports it."""
        with self._database.begin() as connection:
            noted = endings.give_up(connection, row.id, row.epoch, why, node=self._page.node)
        if noted:
            log.error(
                "container not stopped container=%s epoch=%s parent=%s why=%s", row.id, row.epoch, row.parent, why
            )
            self._on_given_up()

    def _stop_strays(self, pool: Pool, rows: list[Held], before: Runs, after: Runs) -> None:
        """Executions that are not what their row names any more must not go on."""
        by_id, strays = {row.id: row for row in rows}, {}
        for pid, said in before.items():
            for run in said:
                row = by_id.get(run.container_id)
                if row is None or run not in after.get(pid, []) or not run.epoch or self._is_of(row, run):
                    continue
                key = (pid, run.container_id, run.epoch)
                strays[key] = self._strays.get(key, time.monotonic())
                self._stop_stray(pool, key, row, time.monotonic() - strays[key])
        self._strays = strays

    def _stop_stray(self, pool: Pool, key: Key, row: Held, seconds: float) -> None:
        """Kill it; but one that has just written its own ending is on its way out, and gets time for it."""
        pid, run = key[0], Run(*key[1:])
        pool.signal(pid, run)
        may_be_leaving = row.epoch == run.epoch and row.node is None
        if may_be_leaving and seconds < self._settings.kill_after:
            return
        self._kill(pool, key, run, "stray execution killed")

    def _is_of(self, row: Held, run: Run) -> bool:
        """True if the row names this execution."""
        return row.is_live and row.epoch == run.epoch and row.node == self._page.node


def key_of(row: Held) -> Key:
    """The execution that a row names."""
    return (row.pid or 0, row.id, row.epoch)


def is_run(row: Held, said: Runs) -> bool:
    """True if the row's process says it runs this container; its epoch shows only after the claim."""
    return any(run.container_id == row.id and run.epoch in (0, row.epoch) for run in said.get(row.pid or 0, ()))

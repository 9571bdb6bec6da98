"""A node's supervisor: compares the rows that name the node with its living processes, and ends what has to end.

The rows are the truth and nodes drive a stop: the caller of `stop` may be gone (design, sections 5 and 6).
"""

import logging
import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from lifecycle.domain.policy import INTERRUPTED_PROCESS_LOST
from lifecycle.domain.status import Status
from lifecycle.errors import LifecycleError
from lifecycle.runtime import process
from lifecycle.runtime.native import start_thread
from lifecycle.runtime.outage import Outage
from lifecycle.runtime.page import Page, Run
from lifecycle.runtime.pool import Pool
from lifecycle.settings import Settings
from lifecycle.store import endings, nodes
from lifecycle.store.engine import Database
from lifecycle.store.nodes import Held
from lifecycle.store.runs import Moved
from lifecycle.trees.doorbell import stopped_ids
from lifecycle.trees.end import lose
from lifecycle.trees.sweep import sweep_expired, sweep_nodes, sweep_unsettled

log = logging.getLogger("lifecycle.supervisor")
Key = tuple[int, str, int]  # pid, container, epoch


class Supervisor:
    """One thread of a node's main process; it waits for nothing but the database.

    tell_revoked: takes the ids of what ended STOPPED, and returns at once.
    """

    def __init__(
        self,
        database: Database,
        page: Page,
        settings: Settings,
        pool: Callable[[], Pool | None],
        tell_revoked: Callable[[Sequence[str]], None],
    ) -> None:
        self._database, self._page, self._settings = database, page, settings
        self._find_pool, self._revoked = pool, tell_revoked
        self._over = False
        self._listen, self._bell = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._listen, False)
        self._pidfds: dict[int, int] = {}
        self._told_of: set[int] = set()  # pidfds that woke us once: a dead child stays listed until the pool reaps it
        self._signalled: set[Key] = set()
        self._killed: set[Key] = set()
        self._not_run: dict[Key, float] = {}  # since when a look has not seen the run
        self._strays: dict[Key, float] = {}
        self._outage = Outage(log, page, "supervisor cannot look", "supervisor looks again")
        self._next_pass = 0.0
        self._join: Callable[[float], object] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._join = start_thread(self._watch, "lifecycle-supervisor")

    def stop(self) -> None:
        """Look no more."""
        self._over = True
        self.look_now()
        if self._join is not None:
            self._join(self._settings.supervise_every + 1)

    def look_now(self) -> None:
        """Ring; from any thread, and from a pool child that inherited the pipe."""
        with suppress(BlockingIOError):
            os.write(self._bell, b"!")

    def kill_all(self) -> None:
        """Kill whatever runs here: this node was declared dead, its containers belong to others."""
        pool = self._find_pool()
        if pool is None:
            return
        for pid, said in pool.runs().items():
            for run in said:
                pool.kill(pid, run)

    def _watch(self) -> None:
        while not self._over:
            try:
                again = self._look()
                self._outage.see(None)
            except LifecycleError as error:
                self._outage.see(error)
                again = self._later()
            except Exception:
                log.exception("supervisor failed, goes on node=%s", self._page.node)
                again = self._later()
            if not again:
                self._wait()

    def _later(self) -> bool:
        """After an error: not again before the next pass."""
        self._next_pass = time.monotonic() + self._settings.supervise_every
        return False

    def _wait(self) -> None:
        """Until the next pass, a ring, a child's death, or the next repeat of a signal."""
        poll = select.poll()
        for fd in {self._listen, *self._pidfds.values()} - self._told_of:
            poll.register(fd, select.POLLIN)
        pause = min(self._settings.supervise_every, max(self._next_pass - time.monotonic(), 0))
        if self._signalled:
            pause = min(pause, self._settings.signal_every)
        self._told_of.update(fd for fd, _ in poll.poll(pause * 1000 + 1) if fd != self._listen)
        with suppress(BlockingIOError):
            os.read(self._listen, 4096)

    def _look(self) -> bool:
        """One comparison of rows and processes; True if it changed a row, so that the next look may find more."""
        pool = self._find_pool()
        if pool is None:
            return False
        before = pool.runs()
        self._watch_deaths(before)
        said = [run.container_id for runs_of in before.values() for run in runs_of]
        with self._database.read() as connection:
            rows = nodes.held(connection, self._page.node, said)
        after = pool.runs()
        changed = self._end_lost(rows, after)
        ended = {moved.id for moved in changed}
        rows = [row for row in rows if row.id not in ended]
        self._stop_stopping(pool, rows, after)
        self._stop_strays(pool, rows, before, after)
        return self._pass() or bool(changed)

    def _watch_deaths(self, before: dict[int, list[Run]]) -> None:
        """Keep a pidfd of each pool child: its death wakes the supervisor at once."""
        for pid in [pid for pid in self._pidfds if pid not in before]:
            self._told_of.discard(self._pidfds[pid])
            os.close(self._pidfds.pop(pid))
        for pid in before:
            if pid not in self._pidfds and pid != os.getpid():
                with suppress(OSError):
                    self._pidfds[pid] = os.pidfd_open(pid)

    def _end_lost(self, rows: list[Held], after: dict[int, list[Run]]) -> list[Moved]:
        """Rows that name this node but whose process is gone, or runs something else at each look of a pass's time."""
        changed: list[Moved] = []
        unsure: dict[Key, float] = {}
        for row in self._mine(rows):
            key = _key(row)
            if process.is_alive(row.pid, row.pid_started):
                if _is_run(row, after):
                    continue
                since = unsure[key] = self._not_run.get(key, time.monotonic())
                if time.monotonic() - since < self._settings.supervise_every:
                    continue
            killed = key in self._killed
            changed += lose(
                self._database, row.id, row.epoch, node=self._page.node, why=INTERRUPTED_PROCESS_LOST, was_killed=killed
            )
            self._signalled.discard(key)
            self._killed.discard(key)
        self._not_run = unsure
        self._tell_revoked(changed)
        return changed

    def _stop_stopping(self, pool: Pool, rows: list[Held], after: dict[int, list[Run]]) -> None:
        """Signal the STOPPING executions whose turn has come, kill those past their deadline."""
        wanted: set[Key] = set()
        for row in self._mine(rows):
            if row.status != Status.STOPPING or not _is_run(row, after) or row.pid is None:
                continue
            run, late = Run(row.id, row.epoch), -(row.seconds_to_deadline or 0.0)
            if late >= 0 and (not row.has_live_child or late >= self._settings.kill_after):
                self._kill(pool, row, run, late)
            if not row.has_live_child or row.signal_due or late >= 0:
                wanted.add(_key(row))
                pool.signal(row.pid, run)
        self._signalled = wanted

    def _kill(self, pool: Pool, row: Held, run: Run, late: float) -> None:
        """Kill an execution past its deadline; where that cannot be done, say so after a while."""
        if row.pid is not None and _key(row) not in self._killed and pool.kill(row.pid, run):
            self._killed.add(_key(row))
            log.warning("killed at its deadline container=%s epoch=%s pid=%s", row.id, row.epoch, row.pid)
        patience = self._settings.kill_after * (2 if pool.can_kill else 1)
        if late >= patience and row.stop_error is None:
            self._give_up(row, f"not stopped {late:.0f} s after its deadline: {pool.survives}")

    def _give_up(self, row: Held, why: str) -> None:
        """Say so on the row: its parent no longer waits for it, and the stop reports it."""
        with self._database.begin() as connection:
            noted = endings.give_up(connection, row.id, row.epoch, why, node=self._page.node)
        if noted:
            log.error(
                "container not stopped container=%s epoch=%s parent=%s why=%s", row.id, row.epoch, row.parent, why
            )
            self._tell_revoked(sweep_unsettled(self._database))

    def _stop_strays(
        self, pool: Pool, rows: list[Held], before: dict[int, list[Run]], after: dict[int, list[Run]]
    ) -> None:
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
        may_be_leaving = row.epoch == run.epoch and row.node is None and row.status != Status.INTERRUPTED
        if may_be_leaving and seconds < self._settings.kill_after:
            return
        if key not in self._killed and pool.kill(pid, run):
            self._killed.add(key)
            log.warning("stray execution killed container=%s epoch=%s pid=%s", run.container_id, run.epoch, pid)

    def _is_of(self, row: Held, run: Run) -> bool:
        """True if the row names this execution."""
        return row.is_live and row.epoch == run.epoch and row.node == self._page.node

    def _pass(self) -> bool:
        """What every node does each second for all: take over from dead nodes, settle, end what expired."""
        if time.monotonic() < self._next_pass:
            return False
        self._next_pass = time.monotonic() + self._settings.supervise_every
        changed = sweep_nodes(self._database) + sweep_unsettled(self._database) + sweep_expired(self._database)
        self._tell_revoked(changed)
        return bool(changed)

    def _mine(self, rows: list[Held]) -> list[Held]:
        return [row for row in rows if row.is_live and row.node == self._page.node]

    def _tell_revoked(self, changed: list[Moved]) -> None:
        if ended := stopped_ids(changed):
            self._revoked(ended)


def _key(row: Held) -> Key:
    return (row.pid or 0, row.id, row.epoch)


def _is_run(row: Held, said: dict[int, list[Run]]) -> bool:
    """True if the row's process says it runs this container; its epoch shows only after the claim."""
    return any(run.container_id == row.id and run.epoch in (0, row.epoch) for run in said.get(row.pid or 0, ()))

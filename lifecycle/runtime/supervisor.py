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
from lifecycle.errors import CutShort, LifecycleError, StoreBusy
from lifecycle.runtime import process
from lifecycle.runtime.dispatcher import Dispatcher
from lifecycle.runtime.native import start_thread
from lifecycle.runtime.outage import Outage
from lifecycle.runtime.page import Page, Run
from lifecycle.runtime.pool import Pool
from lifecycle.runtime.revoke import Revoke
from lifecycle.runtime.revokes import Revokes
from lifecycle.runtime.stopper import Key, Stopper, is_run, key_of
from lifecycle.settings import Settings
from lifecycle.store import nodes, runs
from lifecycle.store.engine import Database
from lifecycle.store.nodes import Held
from lifecycle.store.runs import Moved
from lifecycle.trees.interrupt import Cut, lose
from lifecycle.trees.recover import resume, supersede
from lifecycle.trees.sweep import NODE_DOWN, sweep_expired, sweep_nodes, sweep_unsettled

log = logging.getLogger("lifecycle.supervisor")
BUDGET = 0.2  # seconds of each part of a pass: stops wait for it, and there is a next one
KILLING = 5.0  # seconds that all executions may take to be killed: a process may be slow to halt
SHORT = 0.02
PROCESS_LOST = Cut(INTERRUPTED_PROCESS_LOST)


class Supervisor:
    """One thread of a node's main process; it waits for nothing but the database.

    may_reap: whether this node is fit to declare others dead.
    """

    def __init__(
        self,
        database: Database,
        page: Page,
        settings: Settings,
        pool: Callable[[], Pool | None],
        *,
        dispatcher: Dispatcher,
        may_reap: Callable[[], bool],
    ) -> None:
        self._database, self._page, self._settings = database, page, settings
        self._find_pool, self._dispatcher, self._may_reap = pool, dispatcher, may_reap
        self.revokes = Revokes(database)
        self._over = False
        self._listen, self._bell = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._listen, False)
        self._pidfds: dict[int, int] = {}
        self._told_of: set[int] = set()  # pidfds that woke us once: a dead child stays listed until the pool reaps it
        self._overran: dict[Key, Cut] = {}
        self._not_run: dict[Key, float] = {}  # since when a look has not seen the run
        self._stopper = Stopper(database, page, settings, on_given_up=self._settle)
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
        self.revokes.work(self._tell)  # heard as the node left: nobody else may know of them

    def look_now(self) -> None:
        """Ring; from any thread, and from a pool child that inherited the pipe."""
        with suppress(BlockingIOError):
            os.write(self._bell, b"!")

    def leave(self, *, at_once: bool = False) -> None:
        """The node shuts down: interrupt what runs here, and kill it after its grace, or at once."""
        self._stopper.leave(at_once=at_once)
        self.look_now()

    def overran(self, container_id: str, seconds: float) -> None:
        """Celery is about to kill this execution at its hard time limit: it is to fail, and not to go on."""
        pool, cut = self._find_pool(), Cut(f"hard time limit of {seconds:g} s exceeded", is_final=True)
        for pid, said in pool.runs().items() if pool is not None else ():
            self._overran |= {(pid, container_id, run.epoch): cut for run in said if run.container_id == container_id}

    def hear(self, revoke: Revoke) -> None:
        """Stop the trees of what it names; from Celery's main loop, which waits for no database."""
        self.revokes.hear(revoke)
        self.look_now()

    def kill_all(self) -> None:
        """Kill whatever runs here, until nothing does: its containers belong to others."""
        pool, end = self._find_pool(), time.monotonic() + KILLING
        while pool is not None and pool.can_kill and (alive := living(pool)) and time.monotonic() < end:
            for pid, run in alive:
                pool.kill(pid, run)
            time.sleep(SHORT)

    def survivors(self) -> list[str]:
        """Containers that still run here."""
        pool = self._find_pool()
        return [] if pool is None else [run.container_id for _, run in living(pool)]

    def _watch(self) -> None:
        while not self._over:
            try:
                again = self._look()
                self._outage.see(None)
            except LifecycleError as error:
                self._outage.see(error)
                again = self._later()
            except (Exception, CutShort):
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
        if self._stopper.repeats:
            pause = min(pause, self._settings.signal_every)
        self._told_of.update(fd for fd, _ in poll.poll(pause * 1000 + 1) if fd != self._listen)
        with suppress(BlockingIOError):
            os.read(self._listen, 4096)

    def _look(self) -> bool:
        """One comparison of rows and processes; True if it changed a row, so that the next look may find more."""
        pool = self._find_pool()
        if pool is None:
            return False
        self.revokes.work(self._tell)
        before = pool.runs()
        self._watch_deaths(before)
        said = [run.container_id for runs_of in before.values() for run in runs_of]
        with self._database.read() as connection:
            rows = nodes.held(connection, self._page.node, said)
        after = pool.runs()
        changed = self._end_lost(rows, after)
        self._tell_for_killed(rows)
        ended = {moved.id for moved in changed}
        self._stopper.work(pool, [row for row in rows if row.id not in ended], before, after)
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
            key = key_of(row)
            if process.is_alive(row.pid, row.pid_started):
                if is_run(row, after):
                    continue
                since = unsure[key] = self._not_run.get(key, time.monotonic())
                if time.monotonic() - since < self._settings.supervise_every:
                    continue
            changed += self._lose(row)
        self._not_run = unsure
        self._tell(changed)
        return changed

    def _lose(self, row: Held) -> list[Moved]:
        """Take the row; what is lost while the node shuts down is the node's fault, and costs no restart.

        Where another holds it, or what goes with it, it is left for the next look, with all that is known of its end.
        """
        key, cut = key_of(row), NODE_DOWN if self._stopper.is_leaving else PROCESS_LOST
        try:
            changed = lose(
                self._database,
                row.id,
                row.epoch,
                node=self._page.node,
                cut=self._overran.get(key, cut),
                restarts=self._settings.restarts,
                was_killed=self._stopper.was_killed(key),
            )
        except StoreBusy as error:
            log.info("lost, left for the next look container=%s error=%s", row.id, error)
            return []
        if changed:
            self._overran.pop(key, None)
            self._stopper.forget(key)
        return changed

    def _tell_for_killed(self, rows: list[Held]) -> None:
        """Executions that had ended their rows as they were killed told nobody."""
        for key in self._stopper.killed - {key_of(row) for row in self._mine(rows)}:
            self._stopper.forget(key)
            with self._database.read() as connection:
                self._tell([runs.look(connection, key[1])])

    def _pass(self) -> bool:
        """What every node does each second for all: take over from dead nodes, settle, recover, end what expired."""
        if time.monotonic() < self._next_pass:
            return False
        self._next_pass = time.monotonic() + self._settings.supervise_every
        changed = sweep_nodes(self._database, self._settings.restarts, may_reap=self._may_reap(), seconds=BUDGET)
        changed += sweep_unsettled(self._database, BUDGET) + sweep_expired(self._database, BUDGET)
        _, superseded = supersede(self._database, BUDGET)
        self._tell([*changed, *superseded])
        if resume(self._database):
            self._dispatcher.hurry()
        return bool(changed or superseded)

    def _settle(self) -> None:
        """A row was given up: its parent waits no more for it."""
        self._tell(sweep_unsettled(self._database))

    def _mine(self, rows: list[Held]) -> list[Held]:
        return [row for row in rows if row.is_live and row.node == self._page.node]

    def _tell(self, changed: Sequence[Moved]) -> None:
        if changed:
            self._dispatcher.tell(changed)


def living(pool: Pool) -> list[tuple[int, Run]]:
    """What runs in processes that live."""
    return [(pid, run) for pid, said in pool.runs().items() for run in said if process.started(pid) is not None]

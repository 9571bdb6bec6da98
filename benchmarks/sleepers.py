"""A hundred thousand coordinators that sleep on two slots: to start them, to have them, to list them, to stop them."""

import time
from contextlib import closing

from benchmarks import processor
from benchmarks.gauges import Gauge, Memory, command, spent, valkey_memory
from benchmarks.stage import until

CONTAINERS = 100_000
ALONE = 1_000  # of them are spawned one by one, at most
BATCH = 1_000
LOOK = 1.0  # seconds
QUIET = 60.0  # seconds in which nothing is done but to sleep
A_RUN = 0.1  # seconds that one may take on a busy machine before this counts as stuck
ASLEEP = """
    SELECT count(*) FROM containers
     WHERE status IN ('RUNNING') AND node IS NULL AND outcome IS NULL AND wake_at > now() AND dispatched_at IS NULL
"""
LIVE = "SELECT count(*) FROM containers WHERE status IN ('INTERRUPTED', 'PENDING', 'RUNNING', 'STOPPING')"
LISTS = (("list",), ("list", "--tree"), ("list", "--limit", "{all}", "--quiet"), ("list", "--limit", "{all}", "--json"))


class Sleepers:
    """One rival and all who sleep on it."""

    def __init__(self, stage, rival, gauge, containers):
        self.rival, self.gauge, self.containers = rival, gauge, containers
        self.pids = processor.processes(stage, rival)
        self.memory = Memory(self.pids)
        self.task = rival.app.tasks["bench.sleeper"]
        self.patience = 300 + containers * A_RUN

    def before(self):
        yield "node, before", self.memory
        yield "Valkey, before", valkey_memory(self.rival)

    def spawn(self):
        """One by one, then the rest in batches; from this process, while the node runs them."""
        alone = min(ALONE, self.containers // 10)
        begun = time.perf_counter()
        for _ in range(alone):
            self.task.spawn()
        yield f"spawn, {alone:,} one by one", f"{alone / (time.perf_counter() - begun):.0f} a second"
        rest, begun = self.containers - alone, time.perf_counter()
        for first in range(0, rest, BATCH):
            self.task.spawn_many([((), {})] * min(BATCH, rest - first))
        took = time.perf_counter() - begun
        yield f"spawn_many, {rest:,} by {BATCH:,}", f"{rest / took:.0f} a second, {took:.0f} s"
        yield "Valkey, spawned", valkey_memory(self.rival)

    def rest(self):
        """Each runs once, and sleeps then."""
        before = self._asleep()
        with spent(self.gauge, self.pids) as told:
            until("all asleep", lambda: self._asleep() == self.containers, LOOK, self.patience)
        runs = self.containers - before
        yield f"until all sleep, {runs:,} runs", f"{told.seconds:.0f} s, {runs / told.seconds:.0f} a second; {told}"
        yield "starts, by the bodies", f"{self.rival.starts():,}"

    def _asleep(self):
        return self.gauge.number(ASLEEP)

    def idle(self):
        with spent(self.gauge, self.pids) as told:
            time.sleep(QUIET)
        yield f"{QUIET:.0f} s of sleep", told
        yield "node, asleep", self.memory
        yield "Valkey, asleep", valkey_memory(self.rival)
        yield "database, asleep", self.gauge.sizes()

    def list(self):
        for words in LISTS:
            said = [word.format(all=self.containers) for word in words]
            ran = command(self.rival, *said)
            yield " ".join(said), f"{ran}, {ran.text.count(chr(10)):,} lines"

    def stop(self):
        with spent(self.gauge, self.pids) as told:
            ran = command(self.rival, "stop", "--all", "--yes")
            left = self.gauge.number(LIVE)
        yield "stop --all --yes", f"{ran}, {left:,} left; {told.transactions:,} transactions"
        yield "its last word", ran.text.strip().rpartition("\n")[2]
        yield "node, stopped", self.memory
        yield "Valkey, stopped", valkey_memory(self.rival)
        yield "database, stopped", self.gauge.sizes()


def measure(stage, wanted):
    """The life of them all, in order; figures as they come."""
    with stage.rival("PostgreSQL") as rival, closing(Gauge(rival.url)) as gauge:
        sleepers = Sleepers(stage, rival, gauge, wanted.containers or CONTAINERS)
        for part in (sleepers.before, sleepers.spawn, sleepers.rest, sleepers.idle, sleepers.list, sleepers.stop):
            yield from part()

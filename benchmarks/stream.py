"""Two hundred spawns a second for ten minutes on two nodes: lag, connections, processor, and what is left."""

import os
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing import get_context

from benchmarks import processor
from benchmarks.gauges import Gauge, Memory, spent, valkey_memory
from benchmarks.stage import PATIENCE
from benchmarks.tasks import make_app

RATE, SECONDS = 200, 600
SPAWNERS = 2  # processes: one alone does not come to the rate
TICK = 0.05  # seconds between two looks of a spawner at its clock
LOOK = 1.0  # seconds
DRAIN = 900.0  # seconds for what is left at the end
MINUTE = 60
LAG = f"""
    SELECT floor(extract(epoch FROM created_at - (SELECT min(created_at) FROM containers)) / {MINUTE})::int, count(*),
           percentile_cont(ARRAY[0.5, 0.95, 0.99, 1.0]) WITHIN GROUP
             (ORDER BY extract(epoch FROM coalesce(started_at, clock_timestamp()) - created_at))
      FROM containers GROUP BY 1 ORDER BY 1
"""
LEFT = "SELECT count(*) FROM containers WHERE status IN ('INTERRUPTED', 'PENDING', 'RUNNING', 'STOPPING')"
ONCE = "SELECT count(*) FROM containers WHERE status = 'COMPLETED' AND epoch = 1"


def pour(where, rate, seconds, counted, together):
    """A spawner: one by one, as many as are due by the clock; what it comes too late for is not spawned."""
    task = make_app(*where).tasks["bench.drop"]
    together.wait(PATIENCE)
    begun = time.monotonic()
    while (gone := time.monotonic() - begun) < seconds:
        if counted.value < int(gone * rate):
            task.spawn()
            counted.value += 1
        else:
            time.sleep(TICK)
    together.wait(PATIENCE)  # until then its processor seconds can be read


class Stream:
    """One rival with two nodes, and the processes that spawn for them."""

    def __init__(self, stage, rival, gauge, rate, seconds):
        self.rival, self.gauge, self.rate, self.seconds = rival, gauge, rate, seconds
        nodes = (rival, replace(rival, process=rival.others[0]))
        self.pids = [processor.processes(stage, node) for node in nodes]
        at_once = get_context("spawn")
        self.counters = [at_once.Value("q", 0) for _ in range(SPAWNERS)]
        self.together = at_once.Barrier(SPAWNERS + 1)
        told = ((rival.app.conf.broker_url, rival.url), rate / SPAWNERS, seconds)
        self.spawners = [
            at_once.Process(target=pour, args=(*told, each, self.together), daemon=True) for each in self.counters
        ]
        self.connections = 0

    @property
    def spawned(self):
        return sum(each.value for each in self.counters)

    @contextmanager
    def pouring(self):
        """The spawners by name, ready to begin; at the end of the block they may go."""
        for spawner in self.spawners:
            spawner.start()
        self.together.wait(PATIENCE)
        yield {f"spawner {number}": each.pid for number, each in enumerate(self.spawners, 1)}
        self.together.wait(PATIENCE)
        for spawner in self.spawners:
            spawner.join()
            assert spawner.exitcode == 0, spawner

    def run(self):
        """A line a minute, then what it took."""
        first, second = self.pids
        with (
            self.pouring() as spawners,
            processor.used(second) as others,
            spent(self.gauge, first | spawners) as told,
        ):
            yield from self._minutes()
        yield "spawned", f"{self.spawned:,}, {self.spawned / told.seconds:.0f} a second; wanted {self.rate}"
        yield "transactions", f"{told.transactions:,}, {told.transactions / told.seconds:.0f} a second"
        yield "connections of nodes and spawners, at most", self.connections
        yield "processor", _seconds(told.processor, others, told.seconds)

    def _minutes(self):
        """While the spawners are at it."""
        begun, said = time.monotonic(), 0
        while (gone := time.monotonic() - begun) < self.seconds:
            self.connections = max(self.connections, self.gauge.connections())
            if gone // MINUTE > said:
                said = int(gone // MINUTE)
                yield f"minute {said}", self._backlog()
            time.sleep(LOOK)
        yield "at the end", self._backlog()

    def _backlog(self):
        left = self.gauge.number(LEFT)
        return f"{self.spawned:,} spawned, backlog {left:,}; load {os.getloadavg()[0]:.1f}"

    def drain(self):
        """Until nothing is left, or for long enough."""
        begun = time.monotonic()
        while (left := self.gauge.number(LEFT)) and time.monotonic() - begun < DRAIN:
            time.sleep(LOOK)
        yield "then until all have ended", f"{time.monotonic() - begun:.0f} s, {left:,} left"

    def told(self):
        for minute, count, (half, most, nearly, worst) in self.gauge.rows(LAG):
            lag = f"median {half:.2f} s, 95 % {most:.2f} s, 99 % {nearly:.2f} s, all {worst:.2f} s"
            yield f"lag of what was spawned in minute {minute + 1}", f"{count:,}: {lag}"
        yield "COMPLETED after one claim", f"{self.gauge.number(ONCE):,} of {self.spawned:,}"
        yield "starts, by the bodies", f"{self.rival.starts():,}"
        for number, pids in enumerate(self.pids, 1):
            yield f"node {number}", Memory(pids)
        yield "Valkey, database", f"{valkey_memory(self.rival)}; {self.gauge.sizes()}"


def _seconds(first, second, seconds):
    """Of each process, as a share of one processor."""
    named = {
        f"node {number} {name}": spent for number, told in ((1, first), (2, second)) for name, spent in told.items()
    }
    ours = ("node", "child")
    shown = {name: spent for name, spent in named.items() if name.split()[2].startswith(ours)}
    shown |= {name: spent for name, spent in first.items() if not name.startswith(ours)}
    return ", ".join(f"{name} {spent:.0f} s ({spent / seconds:.0%})" for name, spent in shown.items())


def measure(stage, wanted):
    """In order; figures as they come."""
    rate, seconds = wanted.rate or RATE, wanted.seconds or SECONDS
    with stage.rival("PostgreSQL", nodes=2) as rival, closing(Gauge(rival.url)) as gauge:
        stream = Stream(stage, rival, gauge, rate, seconds)
        for part in (stream.run, stream.drain, stream.told):
            yield from part()

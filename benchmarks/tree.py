"""One root with ten thousand below it, queued or asleep: how long a stop takes, and how many statements."""

import time
from contextlib import closing, contextmanager

import sqlalchemy as sa

from benchmarks import processor
from benchmarks.gauges import Gauge, command, spent, valkey_memory
from benchmarks.stage import until

CONTAINERS = 10_000
LEVELS = 3
LOOK = 0.2  # seconds
A_RUN = 0.1  # seconds that one may take on a busy machine before this counts as stuck
BY_STATUS = "SELECT status, node IS NOT NULL, count(*) FROM containers WHERE root_id = %s GROUP BY 1, 2 ORDER BY 1, 2"
ASLEEP = (
    "SELECT count(*) FROM containers WHERE root_id = %s AND status = 'RUNNING' AND node IS NULL AND wake_at > now()"
)


class Tree:
    """One tree on a rival: its root works on one of the two slots, until it is stopped."""

    def __init__(self, stage, rival, gauge, containers):
        self.rival, self.gauge, self.containers = rival, gauge, containers
        self.pids = processor.processes(stage, rival)
        self.patience = 300 + containers * A_RUN

    def wide(self):
        """All of them children of the root, and queued but for one."""
        self._branch([self.containers])

    def deep(self):
        """On three levels; those between are over and wait for theirs."""
        width = round(self.containers ** (1 / LEVELS))
        self._branch([width] * (LEVELS - 1) + [self.containers // width ** (LEVELS - 1)])

    def asleep(self):
        """As wide, but each has run once and sleeps; the other slot is free."""
        self.root = self.rival.app.tasks["bench.linger"].spawn()
        until("the root at work", lambda: self.root.refresh().node)
        sleeper = self.rival.app.tasks["bench.sleeper"]
        sleeper.spawn_many([((), {})] * self.containers, parent_container_id=self.root.id)
        asleep = lambda: self.gauge.number(ASLEEP, self.root.id) == self.containers  # noqa: E731
        until("all asleep", asleep, LOOK, self.patience)

    def _branch(self, widths):
        begun = self.rival.starts()
        self.root = self.rival.app.tasks["bench.branch"].spawn([widths, True])
        spawners = sum(_product(widths[:level]) for level in range(1, len(widths)))
        until("the tree", lambda: self.rival.starts() - begun == spawners + 2, LOOK, self.patience)

    def figures(self):
        """Before the stop, of the stop, and after it."""
        yield "before", ", ".join(f"{count:,} {name}" for name, count in self._statuses().items())
        ran = command(self.rival, "list", "--tree", "--show-all", "--limit", str(2 * self.containers))
        yield "list --tree --show-all", f"{ran}, {ran.text.count(chr(10)):,} lines"
        with spent(self.gauge, self.pids) as told, statements(self.rival) as made:
            report = self.rival.lifecycle.stop(self.root.id)
        yield "stop", f"{told.seconds:.1f} s, {len(report.stopped):,} stopped, {len(report.failed)} not"
        yield "statements of the caller", f"{made[0]}; of all, {told}"
        begun = time.perf_counter()
        until("the queue to be empty", self._is_drained, LOOK, self.patience)
        yield "then until its messages are gone", f"{time.perf_counter() - begun:.1f} s"
        yield "after", ", ".join(f"{count:,} {name}" for name, count in self._statuses().items())
        yield "Valkey, database", f"{valkey_memory(self.rival)}; {self.gauge.sizes()}"

    def _is_drained(self):
        return self.rival.app.backend.client.llen("celery") == 0

    def _statuses(self):
        rows = self.gauge.rows(BY_STATUS, self.root.root_id)
        return {f"{status}{' on a node' if runs else ''}": count for status, runs, count in rows}


SHAPES = {"wide, queued": Tree.wide, "three levels, queued": Tree.deep, "wide, asleep": Tree.asleep}


def _product(widths):
    product = 1
    for width in widths:
        product *= width
    return product


@contextmanager
def statements(rival):
    """How many this process sends to the rival's database within the block."""
    made, engine = [0], rival.lifecycle.database.engine

    def count(*_):
        made[0] += 1

    sa.event.listen(engine, "before_cursor_execute", count)
    yield made
    sa.event.remove(engine, "before_cursor_execute", count)


def measure(stage, wanted):
    """Each shape on a database of its own."""
    for shape, plant in SHAPES.items():
        with stage.rival("PostgreSQL") as rival, closing(Gauge(rival.url)) as gauge:
            tree = Tree(stage, rival, gauge, wanted.containers or CONTAINERS)
            plant(tree)
            for what, figure in tree.figures():
                yield f"{shape}: {what}", figure

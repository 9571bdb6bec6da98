"""How long a stop takes until nothing runs, against a revoke with terminate of as many plain tasks."""

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from rich.table import Table

from benchmarks.stage import DATABASES, PLAIN, until

SLOTS = 8
SHAPES = {"1+1,000": (1_000,), "1+31+961": (31, 31)}  # children of each on the levels below the root
RATIO = 1.5  # of the revoke
A_LEVEL = 0.15  # seconds for each level below the first
TITLE = f"stop: seconds until nothing runs, {SLOTS} slots, all else queued"


class Forest:
    """Trees that run on one rival, one at a time: its slots full, the rest queued."""

    def __init__(self, rival, widths):
        self.rival, self.widths = rival, widths
        self._begun = rival.starts()
        if rival.name == PLAIN:
            self.ids = [rival.app.tasks["bench.linger"].delay().id for _ in range(self.size)]
        else:
            self.root = rival.app.tasks["bench.branch"].spawn([list(widths), True])
        until(f"a tree of {self.size} on {rival.name}", self._is_full)

    @property
    def size(self):
        levels = [1]
        for width in self.widths:
            levels.append(levels[-1] * width)
        return sum(levels)

    @property
    def _spawners(self):
        """Bodies that return once they have spawned: all of the levels between."""
        return 0 if self.rival.name == PLAIN else sum(self.widths[:-1])

    def _is_full(self):
        started = SLOTS + self._spawners
        return self.rival.starts() - self._begun == started and self._queued() == self.size - started

    def _queued(self):
        return self.rival.app.backend.client.llen("celery")

    def stop(self):
        """Seconds until nothing runs; and how many bodies started after the call, which nothing should."""
        before = self.rival.starts()
        clock = time.perf_counter()
        if self.rival.name == PLAIN:
            self._revoke()
        else:
            report = self.rival.lifecycle.stop(self.root.id)
            assert len(report.stopped) == self.size, report
        clock = time.perf_counter() - clock
        until("the queue to be empty", lambda: self._queued() == 0)
        return clock, self.rival.starts() - before

    def _revoke(self):
        """Until no process that said it began is there: each ran one until it was killed."""
        running = {Path(f"/proc/{pid}") for pid in self.rival.started_by()[self._begun :]}
        self.rival.app.control.revoke(self.ids, terminate=True)
        until("plain tasks killed", lambda: not any(each.exists() for each in running))


def measure(stage, rounds):
    """The rivals round by round."""
    taken = {}
    with ExitStack() as stack:
        rivals = [stack.enter_context(stage.rival(name, slots=SLOTS)) for name in (PLAIN, *DATABASES)]
        for _ in range(rounds):
            for shape, widths in SHAPES.items():
                for rival in rivals:
                    taken.setdefault((shape, rival.name), []).append(Forest(rival, widths).stop())
    return _table(taken)


def _table(taken):
    table = Table("tree", "rival", "median s", "target s", "/ revoke", "started after the call", title=TITLE)
    missed = []
    for (shape, name), stops in taken.items():
        revokes = [clock for clock, _ in taken[shape, PLAIN]]
        seconds, late = median(clock for clock, _ in stops), sum(late for _, late in stops)
        target = RATIO * median(revokes) + A_LEVEL * (len(SHAPES[shape]) - 1)
        ratio = median(clock / revoke for (clock, _), revoke in zip(stops, revokes, strict=True))
        rivals_own = name == PLAIN
        row = (shape, name, f"{seconds:.2f}", "" if rivals_own else f"{target:.2f}", f"{ratio:.2f}", str(late))
        table.add_row(*row)
        if not rivals_own and seconds > target:
            missed.append(f"stop, {name}, {shape}: {seconds:.2f} s; target {target:.2f} s")
        if not rivals_own and late:
            missed.append(f"stop, {name}, {shape}: {late} bodies started after the call; target 0")
    return table, missed

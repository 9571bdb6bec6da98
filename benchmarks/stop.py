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
        """Seconds until nothing runs, until the queue is empty, and the bodies that started after the call: none."""
        before, begun = self.rival.starts(), time.perf_counter()
        self.end()
        clock = time.perf_counter() - begun
        until("the queue to be empty", self.is_drained)
        return clock, time.perf_counter() - begun, self.rival.starts() - before

    def is_drained(self):
        return self._queued() == 0

    def end(self):
        if self.rival.name == PLAIN:
            self._revoke()
        else:
            report = self.rival.lifecycle.stop(self.root.id)
            assert len(report.stopped) == self.size, report

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
    table = Table("tree", "rival", "median s", "/ revoke", "s to an empty queue", "started after it", title=TITLE)
    missed = []
    for (shape, name), stops in taken.items():
        clock, emptied = median(each[0] for each in stops), median(each[1] for each in stops)
        ratio, late = _ratio(shape, stops, taken[shape, PLAIN]), sum(each[2] for each in stops)
        table.add_row(shape, name, f"{clock:.2f}", f"{ratio:.2f}", f"{emptied:.1f}", str(late))
        if name != PLAIN and ratio > RATIO:
            missed.append(f"stop, {name}, {shape}: {ratio:.2f} x the revoke; target {RATIO}")
        if name != PLAIN and late:
            missed.append(f"stop, {name}, {shape}: {late} bodies started after the call; target 0")
    return table, missed


def _ratio(shape, stops, revokes):
    """Against the revoke of the same round, less what the levels below the first may take."""
    allowed = A_LEVEL * (len(SHAPES[shape]) - 1) if stops is not revokes else 0.0
    return median((stop[0] - allowed) / revoke[0] for stop, revoke in zip(stops, revokes, strict=True))

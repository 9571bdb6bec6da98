"""What a million ended rows cost those that live: to stop, to end and to sweep over them, and while they are pruned."""

import time
from contextlib import contextmanager
from multiprocessing import get_context
from statistics import median

import sqlalchemy as sa
from rich.table import Table

from benchmarks.mark import open_database
from job.processes import Failed
from lifecycle.domain.ending import completed
from lifecycle.store import runs
from lifecycle.store.engine import Database
from lifecycle.trees.end import end
from lifecycle.trees.prune import prune
from lifecycle.trees.spawn import Birth, Parent, record, record_all, spawn
from lifecycle.trees.stop import Request, stop
from lifecycle.trees.sweep import sweep

ENDED = 1_000_000
RETENTION = 14 * 86_400.0
CHILDREN, ENDS, SWEEPS = 100, 50, 20
WITHOUT, WITH = 4.0, 12.0  # seconds of looking, in turn
LONGEST = 1_200.0  # seconds of both; a busy machine does not come to the end of the prune
PARENT = "coord-123"
NONE, FULL = "none ended", f"{ENDED:,} ended"
BESIDE, PRUNING = "no prune", "while pruned"
TARGETS = {"stop of a tree": 1.2, "end of a child": 1.2, "sweep": 1.2, "stop": 1.5, "spawn": 1.5}
TITLE = f"retention, PostgreSQL: ms, {CHILDREN} live children"
HISTORY = f"""
    INSERT INTO containers (id, root_id, parent_container_id, depth, container_type, status, created_at, started_at,
                            updated_at, stopped_at, epoch, exit_code, message)
    SELECT 'old-' || n, '{PARENT}', '{PARENT}', 1, 'LEAF', 'COMPLETED', at, at, at, at, 1, 0, '{{"task": "leaf"}}'
      FROM (SELECT n, now() - interval '30 days' + n * interval '1 second' AS at
              FROM generate_series(1, {ENDED}) n) old;
    INSERT INTO transitions (container_id, at, from_status, to_status, epoch)
    SELECT 'old-' || n, now(), before, after, 1 FROM generate_series(1, {ENDED}) n,
           (VALUES (NULL, 'PENDING'), ('PENDING', 'RUNNING'), ('RUNNING', 'COMPLETED')) change (before, after);
    INSERT INTO container_logs (container_id, epoch, at, level, logger, message)
    SELECT 'old-' || n, 1, now() - interval '20 days', 'INFO', 'leaf', 'done' FROM generate_series(1, {ENDED}) n;
"""
WAITS = f"""
    UPDATE containers SET status = 'RUNNING', node = NULL, outcome = 'COMPLETED', wake_at = NULL, stop_id = NULL,
           stop_deadline = NULL, signal_at = NULL, stopped_at = NULL WHERE id = '{PARENT}';
    DELETE FROM containers WHERE parent_container_id = '{PARENT}' AND starts_with(id, 'live-');
"""


class Nobody:
    """A doorbell that reaches nobody: only the database is measured."""

    def ring(self, root_id, depth):
        return True

    def revoked(self, container_ids, reason):
        """Nobody waits."""

    def failed(self, container_id, reason):
        """Nobody waits."""


class Parents:
    """A database with one parent whose body is over, and its live children."""

    def __init__(self, stage, ended):
        self.database = open_database(stage, "PostgreSQL")
        spawn(self.database, Birth(id=PARENT, container_type="ROOT", by="bench"))
        if ended:
            self._execute(HISTORY)
        with self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))

    def _execute(self, statements):
        with self.database.begin() as connection:
            for statement in filter(str.strip, statements.split(";")):
                connection.exec_driver_sql(statement)

    def plant(self, *, running):
        """As before the first round, and children that run or are queued."""
        self._execute(WAITS)
        self._execute(f"UPDATE containers SET outcome = NULL WHERE id = '{PARENT}'")
        names = [f"live-{number}" for number in range(CHILDREN)]
        with self.database.begin() as connection:
            births = [Birth(id=each, container_type="LEAF", by="bench", parent=Parent(id=PARENT)) for each in names]
            record_all(connection, births)
            for each in names if running else ():
                runs.claim(connection, each, node="bench", pid=1, pid_started=1)
        self._execute(f"UPDATE containers SET outcome = 'COMPLETED' WHERE id = '{PARENT}'")
        return names

    def stop_of_a_tree(self):
        self.plant(running=False)
        with timed() as took:
            report = stop(self.database, Nobody(), Request(container_id=PARENT, by="bench"), wait=True, patience=60)
        assert len(report.stopped) == CHILDREN + 1, report
        return took

    def end_of_a_child(self):
        """One of many; their parent is looked at each time."""
        names = self.plant(running=True)
        with timed() as took:
            for name in names[:ENDS]:
                end(self.database, name, 1, completed())
        return [each / ENDS for each in took]

    def sweep(self):
        self.plant(running=True)
        with timed() as took:
            for _ in range(SWEEPS):
                assert sweep(self.database, Nobody()).found == 0
        return [each / SWEEPS for each in took]


@contextmanager
def timed():
    """A list that has the seconds of the block after it."""
    took, begun = [], time.perf_counter()
    yield took
    took.append(time.perf_counter() - begun)


WAYS = {"stop of a tree": Parents.stop_of_a_tree, "end of a child": Parents.end_of_a_child, "sweep": Parents.sweep}


def measure(stage, rounds):
    """First over a long history and over none, in turn; then beside a prune of it, and beside one that is held."""
    rivals = {NONE: Parents(stage, ended=False), FULL: Parents(stage, ended=True)}
    taken = {}
    for turn in range(rounds + 1):
        for way, call in WAYS.items():
            for name, parents in rivals.items():
                took = call(parents)
                if turn:  # the first one warms up
                    taken.setdefault((way, name), []).extend(took)
    told = _while_pruned(rivals[FULL].database, taken)
    for parents in rivals.values():
        parents.database.dispose()
    return _table(taken, told)


def _while_pruned(database, taken):
    """Spawns and stops in turn with and without a prune; what there is to say of it."""
    at_once = get_context("spawn")
    gate, counted = at_once.Event(), at_once.Value("q", 0)
    pruner = at_once.Process(
        target=prune_all, args=(database.url.render_as_string(hide_password=False), gate, counted), daemon=True
    )
    pruner.start()
    begun, running, number = time.monotonic(), 0.0, 0
    while pruner.is_alive() and time.monotonic() - begun < LONGEST:
        for name, seconds in ((BESIDE, WITHOUT), (PRUNING, WITH)):
            (gate.set if name == PRUNING else gate.clear)()
            time.sleep(0.2)  # a batch that had begun
            until = time.monotonic() + seconds
            while time.monotonic() < until and pruner.is_alive():
                number += 1
                _use(database, f"tree-{number}", taken, name)
            running += seconds if name == PRUNING else 0.0
    if pruner.is_alive():
        pruner.kill()
    elif pruner.exitcode or counted.value < ENDED:
        raise Failed(f"prune: {counted.value:,} of {ENDED:,} rows, exit code {pruner.exitcode}")
    return f"{counted.value:,} rows pruned in {running:.0f} s, pauses and all"


def prune_all(url, gate, counted):
    """In a process of its own, as on a node; it goes on while the gate is open."""

    def told(gone):
        counted.value += gone
        gate.wait()

    gate.wait()
    database = Database(url)
    prune(database, older_than=RETENTION, on_batch=told)
    database.dispose()


def _use(database, root, taken, name):
    """One spawn of each of ten children, and the stop of them all."""
    spawn(database, Birth(id=root, container_type="ROOT", by="bench"))
    with database.begin() as connection:
        runs.claim(connection, root, node="bench", pid=1, pid_started=1)
    for number in range(10):
        birth = Birth(id=f"{root}-{number}", container_type="LEAF", by=root, parent=Parent(id=root, epoch=1))
        with timed() as took, database.begin() as connection:
            record(connection, birth)
        taken.setdefault(("spawn", name), []).extend(took)
    with database.begin() as connection:
        runs.rest(connection, root, 1, until=3600.0)
    with timed() as took:
        report = stop(database, Nobody(), Request(container_id=root, by="bench"), wait=True, patience=60)
    assert len(report.stopped) == 11, report
    taken.setdefault(("stop", name), []).extend(took)


def _table(taken, told):
    table = Table("what", "without", "with", "ratio", "slowest of 20, ratio", "target", title=f"{TITLE}; {told}")
    missed = []
    for way, target in TARGETS.items():
        alone, beside = (taken[way, name] for name in ((NONE, FULL) if way in WAYS else (BESIDE, PRUNING)))
        if way in WAYS:  # of the same round
            ratio, slow = median(b / a for a, b in zip(alone, beside, strict=True)), "-"
        else:
            ratio, slow = median(beside) / median(alone), f"{_slow(beside) / _slow(alone):.2f}"
        times = (f"{median(each) * 1000:.1f}" for each in (alone, beside))
        table.add_row(f"{way}, {FULL if way in WAYS else PRUNING}", *times, f"{ratio:.2f}", slow, str(target))
        if ratio > target:
            missed.append(f"retention, {way}: {ratio:.2f} x; target {target}")
    return table, missed


def _slow(times):
    """What one in twenty exceeds."""
    return sorted(times)[int(len(times) * 0.95)]

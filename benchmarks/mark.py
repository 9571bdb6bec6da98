"""How long the mark of a stop takes: from then on nothing queued in the tree can start."""

import time
from statistics import median

from rich.table import Table

from benchmarks.stage import DATABASES
from lifecycle.store import nodes, runs
from lifecycle.store.engine import Database
from lifecycle.trees.spawn import Birth, Parent, record, spawn
from lifecycle.trees.stop import Request, mark

SIZES = (10, 1_000, 10_000)
TARGET = 0.050  # seconds for 1,000 on PostgreSQL
NODE = {"id": "bench", "hostname": "bench", "pid": 1, "pool": "prefork", "concurrency": 1, "version": "1"}


def open_database(stage, name):
    """A fresh one, with a node that lives long enough."""
    database = Database(stage.database_url(name))
    with database.begin() as connection:
        nodes.register(connection, NODE, expires_in=3600)
    return database


def plant(database, root, children):
    """A root that runs, and its queued children."""
    spawn(database, Birth(id=root, container_type="ROOT", by="bench"))
    with database.begin() as connection:
        runs.claim(connection, root, node="bench", pid=1, pid_started=1)
        for number in range(children):
            parent = Parent(id=root, epoch=1)
            record(connection, Birth(id=f"{root}-{number}", container_type="LEAF", by=root, parent=parent))


def seconds(database, size, turn):
    """One mark of a tree of `size` children."""
    root = f"root-{size}-{turn}"
    plant(database, root, size)
    begun = time.perf_counter()
    mark_all(database, root)
    return time.perf_counter() - begun


def mark_all(database, root):
    mark(database, Request(container_id=root, by="bench"))


def measure(stage, rounds):
    """Both databases round by round."""
    databases = {name: open_database(stage, name) for name in DATABASES}
    taken = {}
    for turn in range(rounds):
        for size in SIZES:
            for name, database in databases.items():
                taken.setdefault((name, size), []).append(seconds(database, size, turn))
    for database in databases.values():
        database.dispose()
    return _table({key: median(times) for key, times in taken.items()})


def _table(medians):
    table = Table("database", *(f"1+{size:,}" for size in SIZES), "x 1+1,000 for 10 times the rows", title="mark: ms")
    for name in DATABASES:
        growth = medians[name, SIZES[2]] / medians[name, SIZES[1]]
        table.add_row(name, *(f"{medians[name, size] * 1000:.0f}" for size in SIZES), f"{growth:.1f}")
    took = medians["PostgreSQL", SIZES[1]]
    if took <= TARGET:
        return table, []
    return table, [f"mark, PostgreSQL, 1+1,000: {took * 1000:.0f} ms; target {TARGET * 1000:.0f} ms"]

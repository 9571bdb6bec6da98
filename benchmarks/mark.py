"""How long the mark of a stop takes, by database and size of the tree: `python -m benchmarks.mark`."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from job.servers import Postgres
from lifecycle.store import nodes, runs, schema
from lifecycle.store.engine import Database
from lifecycle.trees.spawn import Birth, Parent, record, spawn
from lifecycle.trees.stop import Request, mark

SIZES = (10, 1_000, 10_000)
ROUNDS = 3
NODE = {"id": "bench", "hostname": "bench", "pid": 1, "pool": "prefork", "concurrency": 1, "version": "1"}


@contextmanager
def databases() -> Iterator[dict[str, Database]]:
    """A fresh database of each kind, with a node that lives long enough."""
    with tempfile.TemporaryDirectory() as folder, Postgres() as server:
        urls = {"SQLite": f"sqlite:///{Path(folder) / 'bench.db'}", "PostgreSQL": server.create_database("bench")}
        found = {name: Database(url) for name, url in urls.items()}
        for database in found.values():
            schema.migrate(database)
            with database.begin() as connection:
                nodes.register(connection, NODE, expires_in=3600)
        yield found
        for database in found.values():
            database.dispose()


def plant(database: Database, root: str, children: int) -> None:
    """A root that runs, and its queued children."""
    spawn(database, Birth(id=root, container_type="ROOT", by="bench"))
    with database.begin() as connection:
        runs.claim(connection, root, node="bench", pid=1, pid_started=1)
        for number in range(children):
            parent = Parent(id=root, epoch=1)
            record(connection, Birth(id=f"{root}-{number}", container_type="LEAF", by=root, parent=parent))


def seconds(database: Database, size: int, turn: int) -> float:
    """One mark of a tree of `size` children."""
    root = f"root-{size}-{turn}"
    plant(database, root, size)
    begun = time.perf_counter()
    mark(database, Request(container_id=root, by="bench"))
    return time.perf_counter() - begun


def main() -> None:
    """Print the median of each, and how it grows."""
    table = Table("database", *(f"1+{size:,}" for size in SIZES), "x 1+1,000 for 10 times the rows")
    with databases() as found:
        for name, database in found.items():
            medians = [statistics.median(seconds(database, size, turn) for turn in range(ROUNDS)) for size in SIZES]
            growth = f"{medians[2] / medians[1]:.1f}"
            table.add_row(name, *(f"{median * 1000:.0f} ms" for median in medians), growth)
    Console().print(table)


if __name__ == "__main__":
    main()

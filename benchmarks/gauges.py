"""What a load costs where it is kept: the database's own figures, Valkey's, and the memory of processes."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from benchmarks import processor

MB = 1_000_000
TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
SIZES = """
    SELECT relname, pg_total_relation_size(oid) FROM pg_class
     WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC LIMIT 3
"""


class Gauge:
    """The database looked at through a connection that no pool of the library knows."""

    def __init__(self, url):
        self._connection = psycopg2.connect(url, application_name="benchmark")
        self._connection.autocommit = True
        self._looks = 0

    def close(self):
        self._connection.close()

    def rows(self, query, *bound):
        self._looks += 1
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(query, bound or None)
            return cursor.fetchall()

    def number(self, query, *bound):
        return self.rows(query, *bound)[0][0]

    def transactions(self):
        """Of all others until now, reads too; a process tells the server of its own within a second or so."""
        return self.number(TRANSACTIONS) - self._looks

    def connections(self):
        return self.number(CONNECTIONS)

    def sizes(self):
        """The largest tables with their indexes, and the whole database."""
        tables = ", ".join(f"{name} {size / MB:,.0f}" for name, size in self.rows(SIZES))
        return f"{self.number('SELECT pg_database_size(current_database())') / MB:,.0f} MB ({tables})"


class Memory:
    """Resident megabytes of a node now; of its children also what they do not share."""

    def __init__(self, pids):
        self._main = pids["node"]
        self._children = [pid for name, pid in pids.items() if name.startswith("child")]

    def __str__(self):
        children = [_rollup(pid) for pid in self._children]
        most = max((child["Rss"] for child in children), default=0)
        own = sum(child["Pss"] for child in children)
        return f"main {_rollup(self._main)['Rss']:.0f} MB, a child {most:.0f} MB, children's share {own:.0f} MB"


def _rollup(pid):
    """Kilobytes as megabytes by name; nothing of a process that is gone."""
    lines = []
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    words = (line.split() for line in lines)
    return {"Rss": 0, "Pss": 0} | {name.rstrip(":"): int(size) / 1_000 for name, size, *_ in words}


def valkey_memory(rival):
    """Megabytes that Valkey holds, and of how many keys; messages are members of one key."""
    client = rival.app.backend.client
    return f"{client.info('memory')['used_memory'] / MB:,.0f} MB, {client.dbsize():,} keys"


@dataclass
class Spent:
    """What went by in a block: seconds, transactions, and processor seconds by process."""

    seconds: float = 0.0
    transactions: int = 0
    processor: dict = None

    def share(self, name):
        """Of one processor."""
        children = [spent for each, spent in self.processor.items() if each.startswith("child")]
        return (sum(children) if name == "children" else self.processor.get(name, 0.0)) / self.seconds

    def __str__(self):
        shares = ", ".join(f"{name} {self.share(name):.1%}" for name in ("node", "children", "postgres", "valkey"))
        load = f"load {os.getloadavg()[0]:.1f}"
        return f"{self.transactions / self.seconds:.1f} transactions/s; of a processor: {shares}; {load}"


@contextmanager
def spent(gauge, pids):
    """Filled at the end of the block."""
    told = Spent()
    before, begun = gauge.transactions(), time.perf_counter()
    with processor.used(pids) as used:
        yield told
        told.seconds = time.perf_counter() - begun
    told.transactions, told.processor = gauge.transactions() - before, used


@dataclass(frozen=True)
class Ran:
    """What a verb took: seconds, processor seconds, its largest memory in megabytes, its words."""

    seconds: float
    processor: float
    memory: float
    code: int
    text: str

    def __str__(self):
        how = "" if self.code == 0 else f", exit code {self.code}"
        return f"{self.seconds:.1f} s, processor {self.processor:.1f} s, at most {self.memory:,.0f} MB{how}"


def command(rival, *words):
    """`celery container …` on a rival's database, as an operator types it."""
    line = [sys.executable, "-m", "celery", "-A", "benchmarks.node", "container", *words]
    env = {"BENCH_BROKER": rival.app.conf.broker_url, "BENCH_DATABASE": rival.url, "PYTHONWARNINGS": "ignore"}
    env = {**os.environ, **env, "BENCH_STARTED": str(rival.started)}
    with tempfile.TemporaryFile("w+") as out:
        begun = time.perf_counter()
        verb = subprocess.Popen(line, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(verb.pid, 0)
        seconds = time.perf_counter() - begun
        verb.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    return Ran(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1_000, verb.returncode, text)

"""What a benchmark runs on: its own Valkey and PostgreSQL, and nodes that come and go."""

import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from sys import executable

from benchmarks.tasks import make_app
from job.processes import Failed, Process, stop
from job.servers import Postgres, Valkey
from lifecycle.store import schema
from lifecycle.store.engine import Database

DATABASES = ("PostgreSQL", "SQLite")
PLAIN = "plain Celery"
SLOTS = 2
PATIENCE = 300.0  # seconds until a benchmark counts as stuck
LOOK = 0.02  # seconds between two looks at what is measured


def until(what, condition, every=LOOK, patience=PATIENCE):
    """The first true value of a condition, looked at the same way for every rival."""
    end = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {patience:.0f} s")
        time.sleep(every)
    return value


@dataclass
class Rival:
    """One app with its node: containers on one database, or plain tasks."""

    name: str
    app: object
    process: Process
    url: str
    started: Path
    others: tuple[Process, ...] = ()
    """Its nodes beside the first."""

    @property
    def lifecycle(self):
        return self.app.lifecycle

    def starts(self):
        """How many bodies said that they began."""
        return len(self.started_by())

    def started_by(self):
        """The processes of those, in order."""
        return self.started.read_text().split() if self.started.exists() else []


class Stage:
    """The servers of one run, and the rivals on them."""

    def __init__(self, folder, valkey, postgres):
        self.folder, self.valkey, self.postgres = Path(folder), valkey, postgres
        self._made = 0

    def database_url(self, name):
        """A fresh, migrated database."""
        self._made += 1
        called = f"bench{self._made}"
        url = f"sqlite:///{self.folder / called}.db" if name == "SQLite" else self.postgres.create_database(called)
        database = Database(url)
        schema.migrate(database)
        database.dispose()
        return url

    def traces(self):
        """An empty folder for what a node writes about itself."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    @contextmanager
    def rival(self, name, *, slots=SLOTS, nodes=1, trace="", traces=None):
        """Nodes with their pools, ready; gone at the end of the block."""
        url = None if name == PLAIN else self.database_url(name)
        self._made += 1
        number = self._made
        broker = f"{self.valkey.url.removesuffix('/0')}/{number % 16}"
        started = self.folder / f"started{number}"
        env = {"BENCH_BROKER": broker, "BENCH_STARTED": str(started), "PYTHONWARNINGS": "ignore"}
        env |= {"BENCH_TRACE": trace, "BENCH_TRACES": str(traces or self.folder)}
        env |= {"BENCH_DATABASE": url} if url else {}
        first, *others = [self._node(name, f"{number}-{each}", slots, env) for each in range(nodes)]
        app = make_app(broker, url)
        try:
            for node in (first, *others):
                _start(node)
            yield Rival(name, app, first, url, started, tuple(others))
        finally:
            stop([first, *others], SIGTERM, 20)
            if url:
                app.lifecycle.database.dispose()
            app.close()

    def _node(self, name, called, slots, env):
        words = ["worker", "-c", str(slots), "-n", f"bench{called}@%h", "-l", "WARNING"]
        command = [executable, "-m", "celery", "-A", "benchmarks.node", *words, "--without-gossip", "--without-mingle"]
        env = {**env, "BENCH_READY": str(self.folder / f"ready{called}")}
        return Process(name, command, log=self.folder / f"node{called}.log", env=env)


def _start(node):
    """Until it says that it is ready."""
    node.start()
    until(f"node of {node.name}", lambda: Path(node.env["BENCH_READY"]).exists() or not node.alive)
    if not node.alive:
        raise Failed(f"node of {node.name}: {node.last_words()}")


@contextmanager
def staged():
    """Servers of our own in a temporary folder. PostgreSQL does not wait for the disk here (`fsync=off`)."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        yield Stage(folder, stack.enter_context(Valkey()), stack.enter_context(Postgres()))

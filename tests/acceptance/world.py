"""Real nodes for tests: `celery worker` processes on a real broker and database, and who must die with whom."""

import ctypes
import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from lifecycle.store import nodes, schema
from lifecycle.store.engine import Database

HERE = Path(__file__).parent
PATIENCE = 40.0  # seconds: for a condition on a loaded machine, never a measure
MARK = "PIPELINES_OF"
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def eventually(what, condition, patience=PATIENCE):
    """The first true value of a condition; fails if it never comes."""
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, f"{what}: not within {patience} s"
        time.sleep(0.02)
    return value


def die_with_tests():
    ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)


class World:
    """One database, one broker, the nodes on them, and the same app in this process as a client.

    Where the broker is no Redis, results need another place.
    """

    def __init__(self, folder, broker, database_url, results=None, **settings):
        self.folder, self.truth, self.nodes = folder, folder / "truth", []
        self._read, self._marks = 0, {}
        self.folder.mkdir(parents=True, exist_ok=True)
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LIFECYCLE_")},
            "BROKER_URL": broker,
            "REDIS_URL": results or broker,
            "LIFECYCLE_DATABASE_URL": database_url,
            "PIPELINES_TRUTH": str(self.truth),
            "TMPDIR": str(folder),  # billiard's folders of nodes that were killed
            MARK: str(folder),
            **{f"LIFECYCLE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.pipelines = load_pipelines(self.env)
        self.app, self.lifecycle = self.pipelines.app, self.pipelines.lifecycle

    def start(self, name="main", **options):
        """A node; returns once its row is there."""
        node = Node(self, name, **options)
        self.nodes.append(node)
        node.wait_until_ready()
        return node

    def celery(self, *words):
        return [sys.executable, "-m", "celery", "-A", "pipelines", *map(str, words)]

    def command(self, *words):
        """A `container` verb as an operator types it."""
        return subprocess.run(
            self.celery("container", *words),
            cwd=HERE,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def launch(self, *words):
        """A `container` verb, still running."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(self.celery("container", *words), cwd=HERE, env=self.env, **quiet)

    def failing_start(self, **env):
        """A node that is not to start: how it ended, and what it said."""
        command = self.celery("worker", "-c", "1", "-n", "failing@%h")
        return subprocess.run(
            command,
            cwd=HERE,
            env={**self.env, "PYTHONWARNINGS": "ignore", **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def living_nodes(self):
        with self.lifecycle.database.read() as connection:
            return nodes.alive(connection)

    def processes(self):
        """Everything alive that carries this world's mark, by pid."""
        mark, found = f"{MARK}={self.folder}\0".encode(), []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def marks(self):
        """The truth so far: lines as the bodies wrote them, by container."""
        if self.truth.exists():
            with self.truth.open("rb") as truth:
                truth.seek(self._read)
                text = truth.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read += len(whole)
            for mark in map(json.loads, whole.splitlines()):
                self._marks.setdefault(mark["id"], []).append(mark)
        return self._marks

    def log(self):
        return "".join(node.log_text() for node in self.nodes)

    def close(self):
        for node in self.nodes:
            node.end()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually("all processes of the world gone", lambda: not self.processes())
        self.lifecycle.database.dispose()


class Node:
    """One `celery worker`, ended by its pid."""

    def __init__(self, world, name, *, pool="prefork", slots=4, queues="celery", env=None, script=False, more=()):
        self.world, self.name, self.slots = world, name, slots
        self.log = world.folder / f"{name}-{secrets.token_hex(2)}.log"
        words = ["worker", "-P", pool, "-c", slots, "-Q", queues, "-n", f"{name}@%h", "-l", "INFO"]
        command = world.celery(*words, "--without-gossip", "--without-mingle", *more)
        if script:  # only so can Celery start itself again
            command[1:3] = [str(Path(sys.executable).with_name("celery"))]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=HERE,
                env={**world.env, **(env or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_tests,  # noqa: PLW1509 - no thread of ours holds a lock across a start
            )
        self.pid = self._process.pid

    @property
    def row(self):
        """Its row while it is not dead."""
        return next((row for row in self.world.living_nodes() if row.pid == self.pid), None)

    @property
    def has_ended(self):
        """Whoever ended it."""
        return self._process.poll() is not None

    def wait_until_ready(self):
        eventually(f"{self.name} ready", lambda: self._ready() or self.has_ended)
        assert not self.has_ended, self.log_text()

    def _ready(self):
        return self.row is not None and " ready.\n" in self.log_text()

    def children(self):
        """Pids of its pool children."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if entry.name.isdigit() and int(fields[1]) == self.pid and fields[0] != "Z":
                    found.append(int(entry.name))
        return found

    def signal_all(self, number):
        """To the main process and each pool child."""
        for pid in [self.pid, *self.children()]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        """The main process alone, at once."""
        self._process.kill()
        self._process.wait()

    def wait(self, seconds=PATIENCE):
        return self._process.wait(seconds)

    def end(self):
        """In order if it can, else not."""
        self.signal_all(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.signal_all(signal.SIGKILL)
            self._process.wait()

    def log_text(self):
        return self.log.read_text(errors="replace")


def load_pipelines(env):
    """The app again for each world, as a program of its own would have it."""
    spec = importlib.util.spec_from_file_location("pipelines", HERE / "pipelines.py")
    module = importlib.util.module_from_spec(spec)
    with environment(env):
        spec.loader.exec_module(module)
        module.app.finalize()
        assert module.lifecycle.settings.database_url == env["LIFECYCLE_DATABASE_URL"]
    return module


@contextmanager
def environment(env):
    before = dict(os.environ)
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def migrate(url):
    database = Database(url)
    schema.migrate(database)
    database.dispose()

"""Starts one peer on a database and a broker of its own, and takes its times from the side file."""

import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Listener
from pathlib import Path
from signal import SIGTERM

from redis import Redis

from benchmarks.peers.beats import Beats
from benchmarks.peers.venv import PYTHON
from benchmarks.stage import until
from job.processes import Failed, Process, stop

ROOT = Path(__file__).parents[2]
CHILDREN = 1_000
WARM = 50
QUIET = 1.0  # seconds without a tick of any child: nothing runs
LATER = 2.0  # seconds that are watched after that for what starts all the same
GLANCE = 0.1  # seconds between two looks at the records: they cost the peer
NEVER = 60.0  # seconds after a stop: what runs then is not waited for
TURNS = count(1)


@dataclass(frozen=True)
class Stop:
    """Seconds from the call: until it returned, nothing ran, its records said so (None: never); who began after it."""

    returned: float
    quiet: float | None
    recorded: float | None
    late: int


class Running:
    """One peer that is up."""

    def __init__(self, stage, line, process):
        self._stage, self._line, self._process = stage, line, process
        self.version = self._answer()

    def spawn(self, way, children=CHILDREN):
        """Seconds until all children have ended, by the side file and by its own records."""
        begun, beats = self._begin("noop", way, children)
        until("no-op children", lambda: beats.has_ended)
        self.ask("learn")
        until("records of them", lambda: self.ask("is_over"))
        return time.monotonic() - begun

    def stop(self, slots, way):
        """Of a tree whose slots are full and whose rest is queued."""
        _, beats = self._begin("linger", way, CHILDREN, running=slots)
        until("a planted tree", lambda: beats.has_spawned and beats.running == slots)
        self.ask("learn")
        called, returned = self.ask("stop")
        recorded = self._watch(beats, called)
        left = beats.last > time.monotonic() - QUIET
        late = beats.begun_after(called)
        return Stop(returned - called, None if left else beats.last - called, recorded, late)

    def _watch(self, beats, called):
        """Until nothing has run for a while and the records say so; when they did."""
        recorded, end = None, called + NEVER
        while time.monotonic() < end:
            if recorded is None and self.ask("is_over"):
                recorded = time.monotonic() - called
            if recorded is not None and beats.last < time.monotonic() - QUIET - LATER:
                break
            time.sleep(GLANCE)
        return recorded

    def _begin(self, kind, way, children, running=0):
        path = self._stage.folder / f"beats{next(TURNS)}"
        beats = Beats.create(path, children, running)
        begun = time.monotonic()
        self.ask("spawn", kind, way, children, str(path))
        return begun, beats

    def ask(self, verb, *args):
        self._line.send((verb, args))
        return self._answer()

    def _answer(self):
        until("an answer", lambda: self._line.poll() or not self._process.alive)
        try:
            return self._line.recv()
        except (EOFError, OSError):
            raise Failed(self._process.last_words()) from None


@contextmanager
def running(stage, peer, slots):
    """A peer that is up and warm; gone with its processes and its database at the end."""
    number = next(TURNS)
    folder, name = stage.folder / f"peer{number}", f"peer{number}"
    folder.mkdir()
    broker = f"{stage.valkey.url.removesuffix('/0')}/{number % 16}"
    with Redis.from_url(broker) as valkey:
        valkey.flushdb()
    env = {"PEER_BROKER": broker, "PEER_DATABASE": stage.postgres.create_database(name), "PEER_SLOTS": str(slots)}
    env |= {"PEER_SOCKET": str(folder / "line"), "PEER_FOLDER": str(folder), "PYTHONPATH": str(ROOT)}
    env |= {"PYTHONWARNINGS": "ignore", **peer.env}
    python = sys.executable if peer.is_celery else str(PYTHON)
    process = Process(peer.name, [python, "-m", peer.module], log=folder / "log", env=env)
    with Listener(env["PEER_SOCKET"], "AF_UNIX") as listener:
        try:
            process.start()
            line = _accept(listener, process)
            found = Running(stage, line, process)
            found.spawn(peer.ways[0], WARM)
            yield found
            line.close()
            process.wait(20)
        finally:
            stop([process], SIGTERM, 10)
            stage.postgres.drop_database(name)


def _accept(listener, process):
    """Its call; a listener alone would wait for a process that has died."""
    listener._listener._socket.setblocking(False)

    def call():
        try:
            return listener.accept()
        except BlockingIOError:
            return None if process.alive else Failed(process.last_words())

    line = until("a peer's call", call)
    if isinstance(line, Failed):
        raise line
    os.set_blocking(line.fileno(), True)
    return line

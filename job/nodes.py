"""The Celery processes of the main job: migrate, beat and two nodes."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from job.processes import Process, run, stop
from job.stage import VAR

LOGS = VAR / "log"
NODES = ("node1", "node2")
SLOTS = 2
MIGRATES_WITHIN = 60.0
NODE_LEAVES_WITHIN = 10.0
BEAT_LEAVES_WITHIN = 3.0


def celery(name: str, *words: str) -> Process:
    log = LOGS / f"{name}.log"
    log.unlink(missing_ok=True)
    return Process(name, [sys.executable, "-m", "celery", "-A", "workers", *words], log=log)


def migrate() -> None:
    run(celery("migrate", "container", "migrate"), MIGRATES_WITHIN)


@contextmanager
def running() -> Iterator[list[Process]]:
    """Beat and the nodes; the nodes leave first, each when its main process alone is told to."""
    beat = celery("beat", "beat", "--schedule", str(VAR / "beat"), "--pidfile=", "--loglevel=INFO")
    nodes = [
        celery(name, "worker", f"--concurrency={SLOTS}", f"--hostname={name}@%h", "--loglevel=INFO") for name in NODES
    ]
    everything = [*nodes, beat]
    try:
        for process in everything:
            process.start()
        yield everything
    finally:
        stop(nodes, signal.SIGTERM, NODE_LEAVES_WITHIN)
        stop([beat], signal.SIGTERM, BEAT_LEAVES_WITHIN)

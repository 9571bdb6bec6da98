"""What a peer's process has: its part of the stage by its environment, and the line to the judge.

A peer has `spawn(kind, way, count, path)`, which starts a parent of so many children and returns; `learn()`, which
fetches the ids that its stop has to be given, after the spawn; `is_over()`, whether its own records call all of the
tree over: one small query while they do not, for it is asked during the stop. And `stop()` and `close()`.
Standard library only.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Client

BROKER = os.environ.get("PEER_BROKER", "")
DATABASE = os.environ.get("PEER_DATABASE", "")
FOLDER = os.environ.get("PEER_FOLDER", "")
SLOTS = int(os.environ.get("PEER_SLOTS", "2"))


def serve(peer):
    """Do what the judge asks, until he hangs up."""
    with Client(os.environ["PEER_SOCKET"], "AF_UNIX") as judge:
        judge.send(peer.version)
        with suppress(EOFError):
            while True:
                verb, args = judge.recv()
                judge.send(timed(peer.stop) if verb == "stop" else getattr(peer, verb)(*args))
    peer.close()


def timed(call):
    """When it was called, and when it returned."""
    called = time.monotonic()
    call()
    return called, time.monotonic()


def start_worker(*words):
    """In our session, with which it ends."""
    return subprocess.Popen([sys.executable, "-m", *words], stdin=subprocess.DEVNULL)


def end_worker(worker):
    worker.terminate()
    try:
        worker.wait(10)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def until(condition, seconds=60):
    """The first true value of a condition."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(condition)
        time.sleep(0.05)
    return value

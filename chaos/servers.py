"""Servers that may be restarted, killed and halted: a database that keeps what it has committed, and brokers."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from job.servers import Postgres, Valkey
from tests.servers import RabbitMQ, forget, main_process

BROKERS = {"redis": Valkey, "rabbitmq": RabbitMQ}


class Database(Postgres):
    """Keeps what it has committed, however it ends."""

    def _command(self):
        return [*super()._command(), "-c", "synchronous_commit=on"]

    def pids(self):
        """The server first, so that it makes no more processes, then those that it has made."""
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        return [first, *children(first)]


def pids_of(server):
    return server.pids() if isinstance(server, Database) else [main_process(server)]


def halt(server):
    """It answers nobody, and keeps every connection."""
    for pid in pids_of(server):
        send(pid, signal.SIGSTOP)


def go_on(server):
    for pid in pids_of(server):
        send(pid, signal.SIGCONT)


def crash(server):
    """Gone at once; what it knew on its disk it knows again."""
    server.process.kill()


def lose_all(server):
    """Gone with all that it knew."""
    forget(server)
    if isinstance(server, Valkey):
        (server.home / "dump.rdb").unlink(missing_ok=True)


def send(pid, number):
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def children(pid):
    """Living processes that this one has made, the oldest first."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid and fields[0] != "Z":
                    found.append((int(fields[19]), int(entry.name)))
    return [child for _, child in sorted(found)]

"""Processor seconds by process: on few cores, shared with others, they say more than the clock."""

import os
from contextlib import contextmanager, suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


@contextmanager
def used(roots):
    """Fills a mapping with the processor seconds, within the block, of each named process and all below it."""
    found = {}
    before = {name: _seconds(pid) for name, pid in roots.items()}
    yield found
    found.update({name: _seconds(pid) - before[name] for name, pid in roots.items()})
    found["node"] -= sum(spent for name, spent in found.items() if name.startswith("child"))


def processes(stage, rival):
    """The node's pool children and its main process without them, the servers; not us: we only look."""
    [main] = _below(rival.process._guard.pid)
    named = {f"child {number}": pid for number, pid in enumerate(_below(main), 1)}
    servers = {"valkey": stage.valkey.process, "postgres": stage.postgres.process}
    return {"node": main, **named, **{name: server._guard.pid for name, server in servers.items()}}


def _below(pid):
    """A process's children by pid."""
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _seconds(pid):
    """Own, of the living below, and of those that ended and were waited for."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICK + sum(_seconds(child) for child in _below(pid))
    return 0.0

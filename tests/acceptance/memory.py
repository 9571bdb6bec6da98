"""A memory limit of the kernel on one process, so that it really is killed for want of memory."""

import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.acceptance.world import eventually

GROUPS = Path("/sys/fs/cgroup")
MEGABYTE = 2**20


@contextmanager
def limited_memory(pid, megabytes):
    """From here on the process may take so much more; yields how many the kernel has killed for it.

    Skips where no such group can be made: it takes root, or a group that was handed over.
    """
    group = _new_group()
    try:
        _limit(group, megabytes * MEGABYTE)
        (group / "cgroup.procs").write_text(str(pid))
        yield lambda: _kills(group)
    finally:
        eventually("its processes are gone", lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def _new_group():
    """In the memory hierarchy of its own (version 1), else below our own group (version 2), else below the root."""
    why = "no memory controller"
    for above in (GROUPS / "memory", GROUPS / _own_group(), GROUPS):
        group = above / f"lifecycle-{secrets.token_hex(4)}"
        try:
            if (above / "cgroup.procs").exists():
                group.mkdir()
                if _knob(group) is not None:
                    return group
                group.rmdir()
        except OSError as error:
            why = str(error)
    pytest.skip(f"the kernel cannot be made to run out of memory here: {why}")


def _own_group():
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), "")


def _knob(group):
    """The file that holds its limit, if it can be written."""
    knobs = [group / name for name in ("memory.max", "memory.limit_in_bytes")]
    return next((knob for knob in knobs if os.access(knob, os.W_OK)), None)


def _limit(group, size):
    _knob(group).write_text(str(size))
    for name, value in (("memory.swap.max", 0), ("memory.swappiness", 0)):
        with suppress(OSError):
            (group / name).write_text(str(value))


def _kills(group):
    events = next(group / name for name in ("memory.events", "memory.oom_control") if (group / name).exists())
    return next(int(line.split()[1]) for line in events.read_text().splitlines() if line.split()[0] == "oom_kill")

"""What the kernel knows of a process: whether it is still the same one, and when it has died."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

STATE, STARTED = 0, 19  # fields of /proc/PID/stat after the command's name
HALT = 0.05  # seconds a process may take to halt


def started(pid: int) -> int | None:
    """When a living process began, in clock ticks since boot; None if it is gone or only waits to be reaped."""
    fields = _stat(pid)
    return int(fields[STARTED]) if fields and fields[STATE] not in {"Z", "X"} else None


def is_alive(pid: int | None, began: int | None) -> bool:
    """True if the process that bore this pid then still lives: pids are used again."""
    return pid is not None and began is not None and started(pid) == began


def halt(pid: int) -> bool:
    """Stop a process where it is (SIGSTOP), so that what it says it runs stays true; False if it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + HALT
    while time.monotonic() < end:
        fields = _stat(pid)
        if not fields or fields[STATE] in {"T", "Z", "X"}:
            return bool(fields) and fields[STATE] == "T"
        time.sleep(0.001)
    return False


def resume(pid: int) -> None:
    """Let a halted process go on."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def kill_group(pid: int) -> None:
    """Kill a process and what it started, if it leads its group; never a group that is not its own."""
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()

"""Runs one command in a session of its own and ends it when the owner has died, however the owner died.

Signals sent to the guard reach the command's main process only; SIGQUIT ends the whole session at once.
Started by path with `python -IS`: standard library only.
"""

import argparse
import contextlib
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

POLL = 0.1
FAREWELL = 0.3  # what a server may use to leave tidily; all of it fits in the second after the owner's death
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(argv: list[str]) -> int:
    order = parse(argv)
    signals = wakeups()
    command = start(order)
    watch(command, order.owner, signals)
    end_session(command, order.farewell)
    if order.remove and os.getppid() != order.owner:
        remove(order.remove)
    return 128 - command.returncode if command.returncode < 0 else command.returncode


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="guard")
    parser.add_argument("--owner", type=int, required=True)
    parser.add_argument("--user", help="whom the command runs as")
    parser.add_argument("--remove", type=Path, help="folder removed when the owner died")
    parser.add_argument(
        "--farewell", type=int, default=signal.SIGKILL, help="signal that makes the command leave at once"
    )
    parser.add_argument("command", nargs="+")
    return parser.parse_args(argv)


def wakeups() -> int:
    """A pipe that receives each signal's number, so none is lost between two polls."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (*PASSED_ON, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reader


def start(order: argparse.Namespace) -> subprocess.Popen[bytes]:
    if order.user is None:
        return subprocess.Popen(order.command)
    group = pwd.getpwnam(order.user).pw_gid
    return subprocess.Popen(order.command, user=order.user, group=group, extra_groups=[])


def watch(command: subprocess.Popen[bytes], owner: int, signals: int) -> None:
    """Return when the command has ended, its owner has died or SIGQUIT came."""
    while command.poll() is None and os.getppid() == owner:
        readable, _, _ = select.select([signals], [], [], POLL)
        for number in os.read(signals, 64) if readable else b"":
            if number == signal.SIGQUIT:
                return
            if number != signal.SIGCHLD:
                command.send_signal(number)


def end_session(command: subprocess.Popen[bytes], farewell: int) -> None:
    """Kill what is left of the session: the command, and children that outlived it."""
    command.send_signal(farewell)
    with contextlib.suppress(subprocess.TimeoutExpired):
        command.wait(FAREWELL)
    deadline = time.monotonic() + FAREWELL
    while (left := [*session()]) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        command.poll()
        time.sleep(0.01)
    command.wait()


def session() -> Iterator[int]:
    """Pids of our session but our own; the dead that nobody reaped do not count."""
    for pid in pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if pid != os.getpid() and os.getsid(pid) == os.getsid(0) and not is_zombie(pid):
                yield pid


def pids() -> list[int]:
    if Path("/proc/self").exists():
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    listing = subprocess.run(["ps", "-axo", "pid="], capture_output=True, text=True, check=False)
    return [int(word) for word in listing.stdout.split()]


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def remove(folder: Path) -> None:
    """A dying server may still write while we delete: look again."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.03)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

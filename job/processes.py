"""Processes that never outlive us, not even when we are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")


class Failed(Exception):
    """A command did not do its work; the message is its last line."""


@dataclass
class Process:
    """One command under a guard, in a session of its own: a Ctrl-C on our terminal does not reach it."""

    name: str
    command: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    remove: Path | None = None
    farewell: signal.Signals = signal.SIGKILL
    _guard: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                self._guarded(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._guard.poll() if self._guard else None

    def signal(self, number: signal.Signals) -> None:
        """To the command's main process only; its children are its own business."""
        if self._guard:
            self._guard.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Whether it ended in time."""
        if self._guard:
            with suppress(subprocess.TimeoutExpired):
                self._guard.wait(max(seconds, 0))
        return not self.alive

    def kill(self) -> None:
        """End its whole session. SIGQUIT, for a killed guard could not do it."""
        self.signal(signal.SIGQUIT)
        self.wait(5)

    def last_words(self) -> str:
        """The last line it logged, for a message of one line."""
        lines = self.log.read_text(errors="replace").split("\n") if self.log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

    def _guarded(self) -> list[str]:
        options = ["--owner", str(os.getpid()), "--farewell", str(int(self.farewell))]
        options += ["--user", self.user] if self.user else []
        options += ["--remove", str(self.remove)] if self.remove else []
        return [sys.executable, "-IS", str(GUARD), *options, "--", *self.command]


def run(process: Process, seconds: float) -> None:
    """To its end, which is a success within that time or Failed with its last words."""
    process.start()
    try:
        ended = process.wait(seconds)
    finally:
        process.kill()
    if not ended or process.exit_code:
        raise Failed(f"{process.name}: {process.last_words()}")


def stop(processes: Sequence[Process], number: signal.Signals, seconds: float) -> list[Process]:
    """Signal all, wait for all, kill the rest; returns those that had to be killed."""
    for process in processes:
        process.signal(number)
    deadline = time.monotonic() + seconds
    late = [process for process in processes if not process.wait(deadline - time.monotonic())]
    for process in late:
        process.kill()
    return late

"""The Celery processes of a run: nodes, beat, and commands that stop trees; each is started anew when it is gone."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

from chaos.servers import children, send

ROOT = Path(__file__).resolve().parent.parent
LIBC = ctypes.CDLL(None)
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
SLOTS = 5
LEAVES_WITHIN = 15.0  # seconds


def die_with_us():
    LIBC.prctl(DIES_WITH_PARENT, signal.SIGKILL)


class Member:
    """One place in the fleet, and the process that has it now. Started in the main thread: it dies with its starter."""

    def __init__(self, name, words, folder, diary):
        self.name, self._words, self._folder, self._diary = name, words, folder, diary
        self._process, self._started, self.wanted_end = None, 0, True

    @property
    def pid(self):
        return self._process.pid if self.alive else None

    @property
    def alive(self):
        return self._process is not None and self._process.poll() is None

    @property
    def log(self):
        return self._folder / f"{self.name}-{self._started}.log"

    def start(self):
        self._started += 1
        self.wanted_end = False
        with self.log.open("wb") as log:
            self._process = launch(self._words, log)
        self._diary.note("started", member=self.name, pid=self._process.pid)

    @property
    def is_ready(self):
        return self.alive and " ready." in self.log.read_text(errors="replace")

    def pids(self):
        """The main process, then its pool."""
        return [self._process.pid, *children(self._process.pid)] if self.alive else []

    def see_end(self):
        """Note that it is gone, once; and whether nobody wanted that."""
        if self._process is None or self.alive:
            return False
        self._diary.note(
            "exited", member=self.name, pid=self._process.pid, code=self._process.poll(), wanted=self.wanted_end
        )
        self._process = None
        return True

    def end(self):
        """In order if it can, else not."""
        if not self.alive:
            return
        self.wanted_end = True
        for pid in self.pids():
            send(pid, signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(LEAVES_WITHIN)
        except subprocess.TimeoutExpired:
            for pid in self.pids():
                send(pid, signal.SIGKILL)
            self._process.wait()
        self.see_end()


class Fleet:
    """All members, and the commands on their way."""

    def __init__(self, folder, diary, nodes):
        quiet = ["--without-gossip", "--without-mingle"]
        self._folder, self._diary = folder, diary
        self.nodes = [
            Member(
                f"node{n}",
                ["worker", "-P", "prefork", "-c", str(SLOTS), "-n", f"node{n}@%h", "-l", "INFO", *quiet],
                folder,
                diary,
            )
            for n in range(nodes)
        ]
        schedule = str(folder / "beat-schedule")
        self.beat = Member("beat", ["beat", "--schedule", schedule, "--pidfile=", "-l", "WARNING"], folder, diary)
        self.commands = []

    @property
    def members(self):
        return [*self.nodes, self.beat]

    def command(self, *words):
        """A `container` verb as an operator types it, not waited for."""
        with (self._folder / "commands.log").open("ab") as log:
            process = launch(["container", *words], log)
        self.commands.append(process)
        self._diary.note("command", words=words, pid=process.pid)
        return process

    def tend(self):
        """Start anew what is gone."""
        for member in self.members:
            if member.see_end() or member.pid is None:
                member.start()
        self.commands = [each for each in self.commands if each.poll() is None]

    def close(self):
        for process in self.commands:
            process.kill()
            process.wait()
        for member in self.members:
            if member.alive:
                member.wanted_end = True
                send(member.pid, signal.SIGTERM)
        for member in self.members:
            member.end()


def launch(words, log):
    return subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "chaos.app", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=die_with_us,  # noqa: PLW1509 - one call of the kernel, no lock
    )

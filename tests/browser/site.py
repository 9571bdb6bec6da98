"""Flower as an operator starts it, on a world's broker and database."""

import os
import subprocess
from contextlib import suppress
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from job.servers import free_port
from tests.acceptance.world import HERE, die_with_tests, eventually

USER, PASSWORD = "alice", "opensesame"
LOGIN = f"--basic_auth={USER}:{PASSWORD}"


class Site:
    """One `celery -A pipelines flower`, ended by its pid."""

    def __init__(self, world, *words, **env):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = world.folder / f"flower-{self.port}.log"
        command = world.celery("flower", "--address=127.0.0.1", f"--port={self.port}", *words)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=HERE,
                env={**world.env, **env},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_tests,  # noqa: PLW1509 - no thread of ours holds a lock across a start
            )

    def wait_until_ready(self):
        eventually("Flower answers", lambda: self._answers() or self._process.poll() is not None)
        assert self._process.poll() is None, self.log_text()

    def ask(self, path, **headers):
        """What a client without cookies gets: a status and headers."""
        try:
            with urlopen(Request(f"{self.url}{path}", headers=headers), timeout=10) as answer:
                return answer.status, answer.headers
        except HTTPError as refusal:
            return refusal.code, refusal.headers

    def signal(self, number):
        os.kill(self._process.pid, number)

    def log_text(self):
        return self.log.read_text(errors="replace")

    def close(self):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait()

    def _answers(self):
        with suppress(URLError, OSError):
            return bool(self.ask("/containers"))
        return False

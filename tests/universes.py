"""Universes for tests: real processes of the fleet's own server, each on a port that it keeps."""

import json
import signal
import sys
import tempfile
import time
from pathlib import Path

import httpx

from job.processes import Process
from workers.fleet.client import Client, register
from workers.fleet.errors import Unreachable
from workers.fleet.settings import Settings

READY_WITHIN = 30.0  # seconds


class UniverseServer:
    """Options are those of `python -m workers.fleet.universe`; unless `rate` is one, its limit is out of the way."""

    def __init__(self, redis_url="redis://127.0.0.1:1/0", **options):
        self.redis_url, self.options = redis_url, {"rate": 10_000, "compression": 1_000, **options}
        self._folder = tempfile.TemporaryDirectory(prefix="universe-")
        self._starts, self.url, self.process = 0, None, None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        """Begins anew: a universe remembers nothing of the one before, but its port."""
        self._starts += 1
        log = Path(self._folder.name, f"{self._starts}.log")
        words = [word for name, value in self.options.items() for word in (f"--{name}", str(value))]
        self.process = Process("universe", [sys.executable, "-m", "workers.fleet.universe", *words], log)
        self.process.start()
        end = time.monotonic() + READY_WITHIN
        while not (self.process.log.exists() and self.process.log.read_text().startswith("http")):
            assert self.process.alive, log.read_text()
            assert time.monotonic() < end, f"no universe within {READY_WITHIN} s: {log.read_text()}"
            time.sleep(0.02)
        self.url = log.read_text().split()[0]
        self.options["port"] = httpx.URL(self.url).port

    def stop(self):
        """Its exit code."""
        self.process.signal(signal.SIGTERM)
        if not self.process.wait(5):
            self.process.kill()
        return self.process.exit_code

    def close(self):
        self.stop()
        self._folder.cleanup()

    def register(self, symbol="TORWINDO"):
        """The new agent's token, as soon as the universe's limit lets it in."""
        end = time.monotonic() + READY_WITHIN
        while True:
            try:
                return register(self.url, symbol)["token"]
            except Unreachable:
                assert time.monotonic() < end, f"no agent within {READY_WITHIN} s"
                time.sleep(0.1)

    def settings(self, token, **options):
        given = {"redis_url": self.redis_url, "rate": 10_000, "burst": 1_000, "patience": 0.05, **options}
        return Settings(url=self.url, token=token, **given)

    def client(self, token=None, **options):
        """A client of an agent; of a new one without a token."""
        return Client(self.settings(token or self.register(), **options))

    def fault(self, method, path, **fault):
        """The next calls of that kind go wrong: see workers/fleet/universe/fault.py."""
        httpx.post(self._ours("faults"), json={"method": method, "path": f"/v2{path}", **fault}).raise_for_status()

    def faults(self):
        """Those that have not struck yet."""
        return httpx.get(self._ours("faults")).json()["data"]

    def calls(self, method="", path=""):
        """What was called so far, the oldest first, and how it was answered."""
        calls = json.loads(httpx.get(self._ours("calls")).text)["data"]
        return [call for call in calls if call["method"].startswith(method) and call["path"].endswith(path)]

    def _ours(self, name):
        return self.url.removesuffix("/v2") + f"/universe/{name}"

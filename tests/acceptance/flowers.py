"""Real Flower processes, and a client that sends what it is told to."""

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

from job.servers import free_port
from tests.acceptance.world import HERE, PATIENCE, die_with_tests, eventually

JSON = {"Content-Type": "application/json"}


class Stay(HTTPRedirectHandler):
    """A redirect is an answer, too."""

    def redirect_request(self, *_):
        return None


CLIENT = build_opener(Stay)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: object
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        assert self.headers["Content-Type"].startswith("application/json"), self.body[:200]
        return json.loads(self.body)

    @property
    def code(self):
        return self.json["error"]["code"]


class Flower:
    """One `celery flower` on a port of its own; closed by its pid."""

    def __init__(self, folder, env, *words, app="pipelines", cwd=HERE, prefix="", login=None):
        self.port, self.prefix, self.login = free_port(), f"/{prefix}" if prefix else "", login
        self.log = folder / f"flower-{secrets.token_hex(2)}.log"
        options = ["--address=127.0.0.1", f"--port={self.port}", f"--db={folder / 'flower'}", *words]
        options += [f"--url_prefix={prefix}"] if prefix else []
        options += [f"--basic_auth={login}"] if login else []
        named = ["-A", app] if app else ["--broker", env["BROKER_URL"]]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", *named, "flower", *options],
                cwd=cwd,
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_tests,  # noqa: PLW1509 - no thread of ours holds a lock across a start
            )
        eventually("Flower", lambda: self.is_up or self.process.poll() is not None, 2 * PATIENCE)
        assert self.process.poll() is None, self.said

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    @property
    def said(self):
        return self.log.read_text(errors="replace")

    @property
    def is_up(self):
        with suppress(URLError, OSError):
            return self.send("GET", "/healthcheck").status == 200

    def send(self, method, path, body=None, headers=None, login=None):
        """One request, with the login unless another is given; `login=""` is none."""
        headers = dict(headers or {})
        login = self.login if login is None else login
        if login:
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        request = Request(self.url + path, body, headers, method=method)
        try:
            with CLIENT.open(request, timeout=PATIENCE) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def get(self, path, **how):
        return self.send("GET", path, **how)

    def post(self, path, body=None, headers=None, **how):
        return self.send("POST", path, json.dumps(body or {}).encode(), {**JSON, **(headers or {})}, **how)

    def of(self, container_id, verb=""):
        """The path of a container in the API."""
        return f"/api/containers/{quote(container_id, safe='')}{verb and '/' + verb}"

    def close(self):
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

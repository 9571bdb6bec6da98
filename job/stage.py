"""Where the main job plays: one job a folder, a broker, a database, and what a second terminal needs to reach them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kombu import Connection

from job.processes import Process
from job.servers import Valkey

VAR = Path("var")  # relative like every path here: the job runs in the project's folder
LOCK = VAR / "lock"
ENV = VAR / "env"
OWN_DATABASE = f"sqlite:///{VAR}/lifecycle.db"
BROKER_ANSWERS_WITHIN = 3.0


class Refusal(Exception):
    """Why the job does not run or cannot go on, in one line."""


@contextmanager
def alone() -> Iterator[None]:
    """One job a folder; the lock goes with the process, however it goes."""
    VAR.mkdir(exist_ok=True)
    with LOCK.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Refusal(f"another run is going on in this folder (pid {lock.read()}): stop it first") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def broker() -> Iterator[list[Process]]:
    """REDIS_URL if it is set, else a Valkey of our own, named there for all that follow; yields what must live on."""
    if given := os.environ.get("REDIS_URL"):
        check_broker(given)
        yield []
        return
    with Valkey() as server:
        os.environ["REDIS_URL"] = server.url
        yield [server.process]


def check_broker(url: str) -> None:
    try:
        with Connection(url, connect_timeout=BROKER_ANSWERS_WITHIN) as connection:
            connection.ensure_connection(max_retries=1, timeout=BROKER_ANSWERS_WITHIN)
    except Exception as error:  # noqa: BLE001 - kombu passes on whatever a transport raises
        raise Refusal(f"the broker at REDIS_URL does not answer: {error}") from None


@contextmanager
def environment() -> Iterator[None]:
    """The database's URL, and both URLs in a file for a second terminal; only its owner may read it."""
    os.environ.setdefault("LIFECYCLE_DATABASE_URL", OWN_DATABASE)
    names = ("REDIS_URL", "LIFECYCLE_DATABASE_URL")
    ENV.unlink(missing_ok=True)
    ENV.touch(mode=0o600)
    ENV.write_text("".join(f"{name}={os.environ[name]}\n" for name in names))
    try:
        yield
    finally:
        ENV.unlink(missing_ok=True)


def has_own_database() -> bool:
    """Whether every container in the database is ours to stop."""
    return os.environ["LIFECYCLE_DATABASE_URL"] == OWN_DATABASE

"""Debian's Redis and RabbitMQ as servers of the tests, in the manner of `job.servers`; apt brings both."""

import base64
import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import amqp

from job.binaries import ServerMissing
from job.servers import Server, Valkey, free_port

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # that on PATH becomes another user, and logs elsewhere
SALT = 4  # bytes
HOSTS = 48  # each costs it time at its start
LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"
# In the session of the server, so that it ends with it: a server would start one that outlives it.
WITH_EPMD = 'epmd & until epmd -names >/dev/null 2>&1; do sleep 0.02; done; exec "$0"'
CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
load_definitions = {home}/definitions.json
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 512MB
log.file = false
log.console = true
log.console.level = error
"""


class Redis(Valkey):
    """Redis itself: Debian's `redis-server`."""

    name = "redis"

    def _prepare(self) -> None:
        found = shutil.which("redis-server")
        if found is None:
            raise ServerMissing("No Redis here: apt-get install redis-server")
        self._binary = Path(found)


class RabbitMQ(Server):
    """RabbitMQ with a virtual host where a Redis has a database; alone, with an epmd of its own, on the loopback."""

    name = "rabbitmq"
    user = "tests"
    ready_within = 120.0  # on a loaded machine; alone it takes four
    stops_within = 30.0

    def __init__(self, hosts: int = HOSTS, **advanced: int) -> None:
        super().__init__()
        self._hosts, self._advanced = hosts, advanced

    @property
    def url(self) -> str:
        return self.url_of(0)

    def url_of(self, host: int) -> str:
        """One of its virtual hosts."""
        return f"amqp://{self.user}:{self.password}@127.0.0.1:{self.port}/{host}"

    @property
    def data(self) -> Path:
        """All it knows but users and virtual hosts."""
        return self.home / "mnesia"

    def _prepare(self) -> None:
        if not RABBITMQ.is_file():
            raise ServerMissing("No RabbitMQ here: apt-get install rabbitmq-server")
        self._write(".erlang.cookie", self.password, mode=0o400)
        self._write("plugins", "[].")
        settings = ", ".join(f"{{{name}, {value}}}" for name, value in self._advanced.items())
        self._write("advanced.config", f"[{{rabbit, [{settings}]}}].")
        self._write("definitions.json", json.dumps(definitions(self.user, self.password, self._hosts)))

    def _command(self) -> list[str]:
        self._write("rabbitmq.conf", CONFIG.format(port=self.port, home=self.home))
        return ["/bin/sh", "-c", WITH_EPMD, str(RABBITMQ)]

    def _environment(self) -> dict[str, str]:
        home = str(self.home)
        return {
            "HOME": home,
            "ERL_CRASH_DUMP_SECONDS": "0",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{home}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_LOG_BASE": home,
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_NODENAME": "tests@localhost",
            "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": LOOPBACK,
            "RUNNING_UNDER_SYSTEMD": "true",  # no shell between us and the server: our signals reach it
        }

    def _ready(self) -> bool:
        with suppress(OSError, amqp.exceptions.AMQPError):
            last = str(self._hosts - 1)
            address = f"127.0.0.1:{self.port}"
            with amqp.Connection(address, self.user, self.password, virtual_host=last, connect_timeout=1):
                return True
        return False

    def _write(self, name: str, text: str, mode: int = 0o600) -> None:
        path = self.home / name
        path.touch(mode=0o600)
        path.write_text(text)
        path.chmod(mode)


def definitions(user: str, password: str, hosts: int) -> dict[str, list[dict[str, str]]]:
    """What it reads at each start: one user, who may do all on each virtual host."""
    salt = os.urandom(SALT)
    digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    names = [str(number) for number in range(hosts)]
    all_of_it = {"configure": ".*", "write": ".*", "read": ".*"}
    return {
        "users": [
            {
                "name": user,
                "password_hash": digest,
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "administrator",
            }
        ],
        "vhosts": [{"name": name} for name in names],
        "permissions": [{"user": user, "vhost": name, **all_of_it} for name in names],
    }


def forget(server: Server) -> None:
    """Kill it, at once; when it starts again it knows no message any more."""
    server.process.kill()
    (server.home / "dump.rdb").unlink(missing_ok=True)
    if isinstance(server, RabbitMQ):
        shutil.rmtree(server.data, ignore_errors=True)


def main_process(server: Server) -> int:
    """The pid of the server itself, below its guard."""
    guard = server.process._guard.pid
    (pid,) = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
    return int(pid)


BROKERS = {kind.name: kind for kind in (Valkey, Redis, RabbitMQ)}

"""A Docker engine of the tests' own: Debian's dockerd in namespaces of its own, so that it leaves nothing behind.

Its bridges, firewall rules, mounts and processes are all inside; when its first process dies, the kernel ends the rest.
"""

import ctypes
import importlib.util
import os
import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from job.binaries import ServerMissing
from job.servers import Server

NEEDED = ("dockerd", "containerd", "runc", "iptables", "busybox", "unshare")
INSTALL = "apt-get install docker.io iptables busybox-static"
INSIDE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
BRIDGE = "10.214.0.1/24"
NETWORKS = "base=10.213.0.0/16,size=24"
CLONE_NEWNET = 0x40000000
CGROUPS = Path("/sys/fs/cgroup")
GROUP = "lifecycle-"


class Engine(Server):
    """One dockerd on a socket in its own folder."""

    name = "dockerd"
    ready_within = 60.0  # on a loaded machine; alone it takes a third of a second

    @property
    def socket(self) -> Path:
        return self.home / "socket"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def client(self, timeout: float = 60) -> Any:
        import docker

        return docker.DockerClient(base_url=self.url, timeout=timeout)

    def loopback(self, port: int) -> "Loopback":
        """What listens on our loopback at this port listens on the engine's, too, for services on its host network."""
        return Loopback(self._first_process(), port)

    def stop(self) -> None:
        """At once, with all it runs; a restart finds its data, and its services exited."""
        if self._process:
            self._process.kill()
            remove_groups(self._group)

    @property
    def _group(self) -> str:
        return f"{GROUP}{self.home.name.encode().hex()}"  # a namespace takes no name that ends in "_"

    def _prepare(self) -> None:
        if importlib.util.find_spec("docker") is None:
            raise ServerMissing("No Docker client here: pip install docker")
        if missing := [word for word in NEEDED if shutil.which(word) is None]:
            raise ServerMissing(f"No {' and no '.join(missing)} here: {INSTALL}")
        if os.geteuid() != 0:
            raise ServerMissing("A Docker engine of the tests' own needs root")
        (self.home / "daemon.json").write_text("{}")
        sweep_groups()

    def _command(self) -> list[str]:
        home = self.home
        for stale in ("pid", "socket"):
            (home / stale).unlink(missing_ok=True)
        options = {
            "data-root": home / "data",
            "exec-root": home / "exec",
            "pidfile": home / "pid",
            "config-file": home / "daemon.json",
            "host": self.url,
            "bip": BRIDGE,
            "default-address-pool": NETWORKS,
            "exec-opt": "native.cgroupdriver=cgroupfs",
            "cgroup-parent": f"/{self._group}",
            "containerd-namespace": self._group,
            "containerd-plugins-namespace": f"{self._group}-plugins",
            "log-level": "error",
        }
        words = " ".join(f"--{name}={value}" for name, value in options.items())
        return [*INSIDE, "sh", "-c", f"busybox ifconfig lo up && exec dockerd {words}"]

    def _ready(self) -> bool:
        from docker.errors import DockerException

        with suppress(DockerException, OSError):
            client = self.client()
            try:
                return bool(client.ping())
            finally:
                client.close()
        return False

    def _first_process(self) -> int:
        """The pid, as we see it, of dockerd; it is 1 in its own namespace."""
        wanted = str(self.home / "data")
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = entry.read_bytes().split(b"\0")
                if words[0].endswith(b"dockerd") and any(wanted in word.decode() for word in words):
                    return int(entry.parent.name)
        raise ServerMissing("dockerd has gone")


class Loopback:
    """A port of the engine's loopback that leads to the same port of ours."""

    def __init__(self, pid: int, port: int) -> None:
        self._port = port
        opened: list[socket.socket] = []
        opener = threading.Thread(target=lambda: opened.append(listening_in(pid, port)))  # it stays in that namespace
        opener.start()
        opener.join()
        if not opened:
            raise ServerMissing(f"no port {port} in the engine's network")
        self._listener = opened[0]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(inner,), daemon=True).start()

    def _join(self, inner: socket.socket) -> None:
        try:
            outer = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            inner.close()
            return
        threading.Thread(target=pour, args=(outer, inner), daemon=True).start()
        pour(inner, outer)


def listening_in(pid: int, port: int) -> socket.socket:
    """A socket belongs to the network namespace in which it was made."""
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


def pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def remove_groups(name):
    """Those of the dead, deepest first."""
    for folder in [*CGROUPS.glob(name), *CGROUPS.glob(f"*/{name}")]:
        for group in [*sorted((entry for entry in folder.rglob("*") if entry.is_dir()), reverse=True), folder]:
            with suppress(OSError):
                group.rmdir()


def sweep_groups():
    """What tests that were killed have left: groups of engines whose folder is gone."""
    for name in {entry.name for pattern in (f"{GROUP}*", f"*/{GROUP}*") for entry in CGROUPS.glob(pattern)}:
        with suppress(ValueError):
            if not Path(tempfile.gettempdir(), bytes.fromhex(name.removeprefix(GROUP)).decode()).exists():
                remove_groups(name)

"""Services as Compose would make them, on the tests' own engine, and what became of them."""

import io
import shutil
import subprocess
import tarfile
import uuid
from contextlib import suppress

MARK = "lifecycle.test"
IMAGE = "lifecycle-test:busybox"
PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
DEPENDS_ON = "com.docker.compose.depends_on"
ONEOFF = "com.docker.compose.oneoff"
NUMBER = "com.docker.compose.container-number"
LASTING = "trap 'exit 143' TERM; sleep 100000 & wait"  # a first process ignores a signal that it does not handle
DEAF = "trap '' TERM; sleep 100000 & wait"
FAST = 200_000_000  # nanoseconds
HEALTH = {"Test": ["CMD", "test", "-e", "/healthy"], "Interval": FAST, "Timeout": 10 * FAST, "Retries": 1}


def import_image(client):
    """Busybox alone: no registry is asked."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.add(shutil.which("busybox"), "bin/busybox")
        for name in subprocess.check_output(["busybox", "--list"], text=True).split():
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            if name != "busybox":
                archive.addfile(link)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(folder)
    repository, tag = IMAGE.split(":")
    client.api.import_image_from_data(data.getvalue(), repository=repository, tag=tag)


class Scene:
    """One Compose project and its network; `close` removes whatever bears its mark."""

    def __init__(self, client):
        self.client, self.api = client, client.api
        self.project = f"t{uuid.uuid4().hex[:8]}"
        self.network = self.client.networks.create(f"{self.project}_default", labels={MARK: self.project}).name
        self.mark = {MARK: self.project}

    def close(self):
        from docker.errors import NotFound

        for service in self.listed():
            with suppress(NotFound):
                self.api.remove_container(service["Id"], force=True, v=True)
        for network in self.client.networks.list(filters={"label": f"{MARK}={self.project}"}):
            network.remove()
        for volume in self.client.volumes.list(filters={"label": f"{MARK}={self.project}"}):
            volume.remove(force=True)

    def create(self, service, script=LASTING, *, project=None, depends_on="", labels=None, host=None, **config):
        """One service container, not started. `depends_on` as in Compose's label; `host` is its HostConfig."""
        host = {"NetworkMode": self.network, "Init": False, **(host or {})}
        project = project or self.project
        body = {
            "Image": IMAGE,
            "Cmd": ["sh", "-c", script],
            "Labels": {
                **self.mark,
                PROJECT: project,
                SERVICE: service,
                DEPENDS_ON: depends_on,
                NUMBER: "1",
                ONEOFF: "False",
                **(labels or {}),
            },
            "HostConfig": host,
            **config,
        }
        return self.api.create_container_from_config(body, f"{project}-{service}-1")["Id"]

    def up(self, service, script=LASTING, **options):
        """The same, and started."""
        service_id = self.create(service, script, **options)
        self.api.start(service_id)
        return service_id

    def sharing(self, parent_id, kind="NetworkMode"):
        return {kind: f"container:{parent_id}"} if kind == "NetworkMode" else self._with(kind, parent_id)

    def _with(self, kind, parent_id):
        return {"NetworkMode": self.network, kind: f"container:{parent_id}"}

    def name(self, service):
        return f"{self.project}-{service}-1"

    def seen(self, service):
        """What the engine says of it, by its name; None where there is none."""
        from docker.errors import NotFound

        try:
            return self.api.inspect_container(self.name(service))
        except NotFound:
            return None

    def state(self, service):
        return self.seen(service)["State"]

    def id(self, service):
        return self.seen(service)["Id"]

    def started(self, service):
        return self.state(service)["StartedAt"]

    def interfaces(self, service):
        """Those that it sees; none while it does not run, is not there, or is being made again."""
        from docker.errors import APIError

        seen = self.seen(service)
        if not seen or not seen["State"]["Running"]:
            return []
        with suppress(APIError):
            return self._run(seen["Id"], "ls", "/sys/class/net").split()
        return []

    def run_in(self, service, *words):
        return self._run(self.id(service), *words)

    def _run(self, service_id, *words):
        made = self.api.exec_create(service_id, list(words))
        return self.api.exec_start(made["Id"]).decode()

    def listed(self):
        """All that bears this scene's mark, stopped ones too."""
        return self.api.containers(all=True, filters={"label": f"{MARK}={self.project}"})

    def names(self):
        return sorted(name.removeprefix("/") for listed in self.listed() for name in listed["Names"])

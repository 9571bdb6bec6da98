"""Compose, the first or the second, with docker-compose.yml and our paces on top of it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from job.binaries import ServerMissing

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / "docker-compose.yml", Path(__file__).with_name("fast.yml")]
PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"


def find_compose() -> str:
    """The command, named by TEST_COMPOSE or installed."""
    if named := os.environ.get("TEST_COMPOSE"):
        return named
    probe = ["docker", "compose", "version"]
    if shutil.which("docker") and not subprocess.run(probe, capture_output=True, check=False).returncode:
        return "docker compose"
    if found := shutil.which("docker-compose"):
        return found
    raise ServerMissing("No Docker Compose here: apt-get install docker-compose")


class Stack:
    """One project of it."""

    def __init__(self, client, project):
        self.client, self.project = client, project

    def compose(self, *words, files=FILES, check=True):
        """What it prints."""
        named = [word for each in files for word in ("-f", str(each))]
        command = [*os.environ["STACK_COMPOSE"].split(), "-p", self.project, *named, *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert not check or not done.returncode, f"{' '.join(command)}\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
        return done.stdout

    def containers(self, service=None):
        """Docker's, of one service or of all; stopped ones too."""
        labels = [f"{PROJECT}={self.project}", *([f"{SERVICE}={service}"] if service else [])]
        return self.client.containers.list(all=True, filters={"label": labels})

    def one(self, service):
        """The first of a service."""
        return self.containers(service)[-1]

    def health(self, service):
        """Of each of a service."""
        return [each.attrs["State"].get("Health", {}).get("Status") for each in self.containers(service)]

    def run(self, service, *words, **env):
        """What a command prints in the first of a service."""
        code, (said, trouble) = self.one(service).exec_run([*words], demux=True, environment=env)
        assert not code, f"{words} ended with {code}: {said} {trouble}"
        return (said or b"").decode()

    def container(self, *words, where="beat"):
        """What a verb of `celery container` says."""
        return self.run(where, "celery", "-A", "workers", "container", *words)

    def sql(self, query):
        """Rows as JSON has them, without the seconds that a verb takes to start."""
        words = ["psql", "-h", "127.0.0.1", "-U", "lifecycle", "-Atc", f"SELECT json_agg(q) FROM ({query}) q"]
        return json.loads(self.run("postgres", *words, PGPASSWORD="lifecycle") or "null") or []

    def crawl(self, folder):
        """Start one; its id."""
        return self.container("start", "CRAWL_COORDINATOR", folder).strip()

    def tree(self, root):
        """It and all below it."""
        columns = "id, status, container_type, parent_container_id, stopped_at, stop_reason, epoch"
        return self.sql(f"SELECT {columns} FROM containers WHERE root_id = '{root}'")

    def running(self, root, node=""):
        """What of it runs now, on one node or on any."""
        where = f"root_id = '{root}' AND status = 'RUNNING' AND node LIKE '{node}%'"
        return self.sql(f"SELECT id, epoch, node FROM containers WHERE {where}")

    def let_go(self, lost):
        """When each of these executions, by id and epoch, was known to be lost: seconds since 1970."""
        pairs = ", ".join(f"('{id_}', {epoch})" for id_, epoch in lost.items())
        lost_now = "from_status = 'RUNNING' AND to_status IN ('INTERRUPTED', 'STOPPING')"
        query = f"SELECT extract(epoch FROM at) AS at FROM transitions WHERE (container_id, epoch) IN ({pairs})"
        return [row["at"] for row in self.sql(f"{query} AND {lost_now}")]

    def left(self):
        """Whatever of it there is, by kind."""
        mine = {"label": f"{PROJECT}={self.project}"}
        kinds = {
            "containers": self.containers(),
            "networks": self.client.networks.list(filters=mine),
            "volumes": self.client.volumes.list(filters=mine),
        }
        return {kind: [each.name for each in found] for kind, found in kinds.items() if found}

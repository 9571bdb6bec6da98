"""Where containers and services meet: a node that runs in a Docker container, and is killed with it."""

import time

import pytest

from lifecycle.domain.status import Status
from tests.acceptance.scene import Scene as Containers
from tests.acceptance.truth import changed_at, epochs, goes_on, overlaps
from tests.acceptance.world import World, eventually, migrate
from tests.docker import image
from tests.docker.test_recovery import BOTH
from tests.docker.ward import PACE, Ward

pytestmark = [pytest.mark.docker, pytest.mark.postgres]

HEARTBEAT, LEASE = 0.5, 3.0
TOLD = 2.0  # seconds: what is promised, beyond lease and margin
SLACK = 3  # times so much on a loaded machine
QUEUE, ELSEWHERE = "docked", "somewhere-else"
LOST = ["PENDING", "RUNNING", "INTERRUPTED", "PENDING", "RUNNING", "COMPLETED"]


@pytest.fixture
def world(scene, engine, valkey, postgres_url, tmp_path):
    """A broker and a database that both sides reach, and a node outside that nothing happens to."""
    migrate(postgres_url)
    pace = {"heartbeat": HEARTBEAT, "lease": LEASE, "restart_backoff": "0.1,0.2,0.3"}
    docker = {"docker": "true", "docker_url": engine.url, "docker_projects": scene.project}
    docker |= {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in PACE.items()}
    world = World(tmp_path / "world", valkey.url_of(63), postgres_url, grace=5, log_flush=0.3, **pace, **docker)
    ports = [engine.loopback(port) for port in (valkey.port, int(postgres_url.rpartition(":")[2].partition("/")[0]))]
    world.start("keeper", queues="keeper", slots=2)
    yield world
    world.close()
    for port in ports:
        port.close()


@pytest.fixture
def containers(world):
    containers = Containers(world)
    yield containers
    containers.clear()
    containers.check()
    assert overlaps(world) == []


@pytest.fixture
def ward(scene, engine, world):
    ward = Ward(scene, engine.url, world.env["LIFECYCLE_DATABASE_URL"])
    yield ward
    ward.close()


def dock(scene, world):
    """Start the service that is a node; its id."""
    ours = ("LIFECYCLE_", "PIPELINES_", "BROKER_URL", "REDIS_URL")
    env = {name: value for name, value in world.env.items() if name.startswith(ours)}
    env["PYTHONPATH"] = f"{image.APP}:{image.PACKAGES}"
    worker = ["worker", "-c", "2", "-Q", QUEUE, "-n", "docked@%h", "-l", "INFO", "--without-gossip", "--without-mingle"]
    return scene.up(
        "node",
        Image=image.IMAGE,
        Cmd=[image.PYTHON, "-m", "celery", "-A", "pipelines", *worker],
        WorkingDir=image.APP,
        Env=[f"{name}={value}" for name, value in env.items()],
        Hostname=ELSEWHERE,
        labels={"lifecycle.recover": "true"},
        host={"NetworkMode": "host", "Binds": [f"{world.folder}:{world.folder}"]},
    )


def docked(world):
    """Ids of nodes of the service that live."""
    return {row.id for row in world.living_nodes() if ELSEWHERE in row.hostname}


def test_the_work_of_a_killed_node_is_done_by_its_successor(scene, world, containers, ward, node_image):
    """Issue line 7: INTERRUPTED in time, the service repaired, the work finished, once at a time."""
    go_on = world.folder / "go-on"
    service = dock(scene, world)
    with ward.watching():
        (first,) = eventually("the node is up", lambda: docked(world))
        eventually("it is watched", lambda: ward.remembered("node").verdict == "well")
        containers.run(containers.plan("work", queue=QUEUE, until=str(go_on)))
        killed_at = time.time()
        scene.api.kill(service, "KILL")
        goes_on(containers, "work", 2)
        late = changed_at(containers, "work", Status.INTERRUPTED) - killed_at
        eventually("a new node is up", lambda: docked(world) - {first})
        go_on.touch()
        containers.ended("work")
    assert late <= LEASE * 1.1 + TOLD * SLACK
    assert containers.history("work") == LOST
    assert epochs(containers.marks("work")) == [1, 2]
    assert scene.id("node") == service
    assert scene.state("node")["Running"]
    assert ward.remembered("node").recoveries == 1


def test_beat_and_a_watch_recover_a_service_once(scene, world, ward, tmp_path):
    """Two triggers, one state: a node next to the engine does what beat asks for, while a watch listens."""
    parent = scene.up("parent")
    scene.up("child", host=scene.sharing(parent))
    beat = ("-B", "-s", str(tmp_path / "schedule"))
    warden = world.start("warden", queues=world.lifecycle.settings.docker_queue, slots=1, more=beat)
    eventually("beat had them looked at", lambda: ward.remembered("child").verdict == "well")
    scene.api.restart(parent, timeout=1)
    eventually("repaired by beat", lambda: scene.interfaces("child") == BOTH)
    with ward.watching():
        for restarts in (2, 3):
            eventually("well", lambda: ward.remembered("child").verdict == "well")
            scene.api.restart(parent, timeout=1)
            eventually("repaired", lambda: scene.interfaces("child") == BOTH)
            eventually("counted", lambda restarts=restarts: ward.remembered("child").recoveries == restarts)
    assert "restart done" in warden.log_text()
    assert scene.id("parent") == parent

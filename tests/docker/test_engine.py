"""What we read from a real engine, and what its failures are taken for."""

import threading
import time
from datetime import timedelta

import pytest

from lifecycle.domain.service import Dependency, Health, Policy, Share, State
from lifecycle.errors import (
    DaemonTrouble,
    DependencyDown,
    DependencyMissing,
    EngineMissing,
    EngineRefused,
    ServiceGone,
    ServiceMisconfigured,
    ServiceRemoving,
)
from lifecycle.services.engine import Engine
from lifecycle.services.inspected import canonical
from lifecycle.settings import Settings
from tests.docker import image
from tests.docker.scene import DEAF, HEALTH
from tests.docker.waiting import eventually

pytestmark = pytest.mark.docker


def service_of(seam, service_id):
    return seam.snapshot().services[service_id]


def test_all_that_is_said_of_a_container_is_read(scene, seam):
    parent = scene.up("parent")
    child = scene.create(
        "child",
        "exit 3",
        depends_on="parent:service_healthy:true,job:service_completed_successfully:false,old",
        host={
            "NetworkMode": f"container:{parent}",
            "VolumesFrom": [f"{parent}:ro"],
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "AutoRemove": False,
        },
        StopTimeout=7,
    )
    read = service_of(seam, child)
    assert (read.name, read.key) == (scene.name("child"), f"{scene.project}/child")
    assert (read.state, read.started_at, read.stop_timeout) == (State.CREATED, None, 7)
    assert (read.policy, read.max_retries, read.health) == (Policy.ON_FAILURE, 2, Health.NONE)
    assert (read.shares, read.volumes_from) == ({Share.NETNS: parent}, (parent,))
    assert read.depends_on == (
        Dependency("parent", "service_healthy", restart=True),
        Dependency("job", "service_completed_successfully", restart=False),
        Dependency("old", "service_started", restart=None),
    )
    scene.api.start(child)
    eventually(lambda: service_of(seam, child).state is State.RESTARTING or service_of(seam, child).restart_count == 2)
    assert service_of(seam, child).exit_code == 3


def test_times_are_by_the_engines_clock_and_health_is_read(scene, seam):
    service_id = scene.up("one", Healthcheck=HEALTH)
    eventually(lambda: service_of(seam, service_id).health is Health.UNHEALTHY)
    snapshot = seam.snapshot()
    read = snapshot.services[service_id]
    assert read.created_at <= read.started_at <= snapshot.taken_at
    assert (snapshot.taken_at - read.started_at).total_seconds() < 60
    assert snapshot.engine


def test_a_link_does_not_take_the_name_of_whom_it_leads_to(scene, seam):
    """T18"""
    target = scene.up("target", host={"NetworkMode": "bridge"})
    child = scene.up("child", host={"NetworkMode": "bridge", "Links": [f"{scene.name('target')}:alias"]})
    names = next(listed["Names"] for listed in scene.listed() if listed["Id"] == target)
    assert len(names) == 2
    assert canonical(sorted(names)) == canonical(sorted(names, reverse=True)) == scene.name("target")
    assert service_of(seam, target).name == scene.name("target")
    assert service_of(seam, child).links == (scene.name("target"),)


def test_what_goes_while_it_is_listed_is_left_out(scene, seam):
    """T18"""
    stays = scene.up("stays")
    over = threading.Event()

    def churn():
        while not over.is_set():
            scene.api.remove_container(scene.create("brief"), force=True)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(20):
            assert stays in seam.snapshot().services
    finally:
        over.set()
        thread.join()


def test_one_that_is_gone(scene, seam):
    service = service_of(seam, scene.up("one"))
    scene.api.remove_container(service.id, force=True)
    with pytest.raises(ServiceGone):
        seam.restart(service)
    assert seam.look(service.id) is None


@pytest.mark.parametrize("kind", ["NetworkMode", "IpcMode", "PidMode"])
def test_one_whose_parent_is_gone(scene, seam, kind):
    parent = scene.up("parent", host={"IpcMode": "shareable"})
    child = service_of(seam, scene.up("child", host=scene.sharing(parent, kind)))
    scene.api.remove_container(parent, force=True)
    with pytest.raises(DependencyMissing) as found:
        seam.restart(child)
    assert found.value.reference == parent
    with pytest.raises(DependencyMissing):
        seam.start(child.id)


def test_one_whose_parent_is_stopped(scene, seam):
    parent = scene.up("parent")
    child = service_of(seam, scene.up("child", host=scene.sharing(parent)))
    scene.api.stop(parent)
    with pytest.raises(DependencyDown) as found:
        seam.restart(child)
    assert found.value.reference == parent


def test_one_that_is_removed_while_it_is_restarted(scene, seam):
    """T13"""
    deaf = service_of(seam, scene.up("deaf", DEAF, StopTimeout=2))
    remover = threading.Timer(0.5, scene.api.remove_container, [deaf.id], {"force": True})
    remover.start()
    with pytest.raises((ServiceGone, ServiceRemoving)):
        seam.restart(deaf)
    remover.join()


def test_one_that_the_engine_cannot_start(scene, seam):
    missing = scene.create("missing", Cmd=["/no/such/command"])
    with pytest.raises(ServiceMisconfigured):
        seam.start(missing)
    network = scene.client.networks.create(f"{scene.project}_gone")
    lost = scene.create("lost", host={"NetworkMode": network.name})
    network.remove()
    with pytest.raises(ServiceMisconfigured):
        seam.start(lost)


def test_its_own_time_to_stop_is_kept(scene, seam):
    quick = service_of(seam, scene.up("quick", DEAF, StopTimeout=1))
    began = time.monotonic()
    seam.stop(quick)
    assert time.monotonic() - began < 8
    assert scene.state("quick")["ExitCode"] == 137
    slow = service_of(seam, scene.up("slow", "trap 'sleep 1.5; exit 9' TERM; sleep 1000 & wait", StopTimeout=9))
    Engine(Settings(docker_url=seam._connection._url, docker_timeout=1)).restart(slow)
    died = scene.api.events(since=0, until=time.time() + 1, filters={"event": "die", "container": slow.id}, decode=True)
    assert [event["Actor"]["Attributes"]["exitCode"] for event in died] == ["9"]


def test_a_proxy_that_forbids_is_told_from_an_engine_that_cannot(scene, seam, proxy):
    service = service_of(seam, scene.up("one"))
    proxy.refuses = lambda method, path: method == "POST" or path.endswith("/info")
    behind = Engine(Settings(docker_url=proxy.url))
    assert service.id in behind.snapshot().services
    assert behind.snapshot().engine == ""
    for refused in (lambda: behind.restart(service), lambda: behind.create("none", {"HostConfig": {}})):
        with pytest.raises(EngineRefused):
            refused()
    proxy.refuses = lambda method, path: True
    with pytest.raises(EngineRefused):
        Engine(Settings(docker_url=proxy.url)).snapshot()
    with pytest.raises(EngineRefused):
        behind.snapshot()


def test_an_engine_that_once_does_not_say_who_it_is_is_not_another(proxy):
    proxy.says = lambda method, path: (500, "try again") if path.endswith("/info") else None
    with pytest.raises(DaemonTrouble, match="try again"):
        Engine(Settings(docker_url=proxy.url)).snapshot()


def test_all_who_look_may_know_an_engine_by_a_name(proxy):
    named = Engine(Settings(docker_url=proxy.url, docker_engine="east"))
    assert named.snapshot().engine == "east"
    proxy.refuses = lambda method, path: path.endswith("/info")
    assert named.snapshot().engine == "east"


def test_one_that_cannot_be_read_does_not_hide_the_others(scene, proxy):
    broken = scene.up("broken", host=scene.sharing(scene.up("parent")))
    proxy.says = lambda method, path: (500, "RWLayer is unexpectedly nil") if f"{broken}/json" in path else None
    behind = Engine(Settings(docker_url=proxy.url))
    services = behind.snapshot().services
    assert services[scene.id("parent")].started_at is not None
    read = services[broken]
    assert (read.key, read.state, read.started_at) == (f"{scene.project}/broken", State.RUNNING, None)
    assert read.shares == {Share.NETNS: scene.id("parent")}
    proxy.says = lambda method, path: (404, "No such container") if f"{broken}/json" in path else None
    assert broken not in behind.snapshot().services


def test_one_that_hangs_the_engine_does_not_hide_the_others(scene, proxy):
    hanging, other = scene.up("hanging"), scene.up("other")
    behind = Engine(Settings(docker_url=proxy.url, docker_timeout=0.5))
    proxy.silences = lambda method, path: f"{hanging}/json" in path
    services = behind.snapshot().services
    assert services[hanging].started_at is None
    assert services[other].started_at is not None
    proxy.silences = lambda method, path: f"{hanging}/json" in path or path.endswith("/version")
    with pytest.raises(DaemonTrouble):
        behind.snapshot()


def test_with_an_engine_that_was_exchanged_a_version_is_agreed_upon_anew(scene, proxy):
    behind = Engine(Settings(docker_url=proxy.url))
    behind.snapshot()
    too_old = "client version 1.41 is too old. Minimum supported API version is 1.44"
    proxy.says = lambda method, path: (400, too_old)
    with pytest.raises(DaemonTrouble):
        behind.snapshot()
    proxy.says = lambda method, path: None
    proxy.asked.clear()
    behind.snapshot()
    assert proxy.asked[0] == ("GET", "/version")


def test_an_engine_that_is_silent_or_away(scene, seam, proxy, tmp_path):
    service = service_of(seam, scene.up("one"))
    behind = Engine(Settings(docker_url=proxy.url, docker_timeout=0.5))
    assert behind.look(service.id)
    proxy.silences = lambda method, path: True
    with pytest.raises(DaemonTrouble):
        behind.look(service.id)
    with pytest.raises(DaemonTrouble):
        behind.snapshot()
    with pytest.raises(EngineMissing):
        Engine(Settings(docker_url=f"unix://{tmp_path}/nothing")).snapshot()
    with pytest.raises(EngineMissing):
        Engine(Settings(docker_url="carrier-pigeon://coop")).snapshot()


def test_what_happens_is_heard_from_the_call_on(scene, seam):
    heard = seam.events(seconds=2)
    service_id = scene.up("one")
    scene.api.kill(service_id, "KILL")
    events = [event for event in heard if event.id == service_id]
    assert [event.action for event in events] == ["create", "start", "kill", "die"]
    assert {event.name for event in events} == {scene.name("one")}
    assert events[2].attributes["signal"] == "9"
    assert abs(events[3].at - time.time()) < 60


def test_a_stream_that_breaks_off_or_falls_silent_is_known(scene, seam, proxy):
    """T14"""
    behind = Engine(Settings(docker_url=proxy.url))
    heard = behind.events(seconds=30)
    cutting = threading.Timer(0.2, proxy.cut)
    cutting.start()
    with pytest.raises(DaemonTrouble):
        list(heard)
    cutting.join()
    heard = behind.events(seconds=0.5)
    proxy.silences = lambda method, path: True
    with pytest.raises(DaemonTrouble):
        list(heard)


def test_a_stream_that_ends_before_its_time_is_known(seam):
    class Behind(Engine):
        def _clock(self):
            at, engine = super()._clock()
            return at - timedelta(hours=1), engine

    with pytest.raises(DaemonTrouble):
        list(Behind(Settings(docker_url=seam._connection._url)).events(seconds=30))


ASK = """
from lifecycle.services.engine import Engine
from lifecycle.settings import Settings
print("own", Engine(Settings(docker_url="unix:///engine")).snapshot().own)
"""


@pytest.mark.parametrize("network", ["own", "shared"])
def test_who_runs_in_a_container_knows_in_which(scene, engine, seam, node_image, network):
    """R4, also with the host name of another container."""
    parent = scene.up("parent")
    mode = scene.network if network == "own" else f"container:{parent}"
    asking = scene.up(
        "asking",
        Image=image.IMAGE,
        Cmd=[image.PYTHON, "-c", ASK],
        Env=[f"PYTHONPATH={image.PACKAGES}"],
        host={"NetworkMode": mode, "Binds": [f"{engine.socket}:/engine"]},
    )
    scene.api.wait(asking)
    assert scene.api.logs(asking).decode().split() == ["own", asking]
    assert seam.snapshot().own is None

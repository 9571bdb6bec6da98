"""One action on one container, and that nothing is lost when it fails or is cut off."""

import multiprocessing
import os
import signal

import pytest

from lifecycle.domain.service import SET_ASIDE, Action, Kind, Share
from lifecycle.errors import (
    DependencyDown,
    DependencyMissing,
    EngineRefused,
    NotVerified,
    ServiceGone,
    ServiceMisconfigured,
    ServiceTaken,
)
from lifecycle.services.engine import Engine
from lifecycle.services.recipe import RECREATED
from lifecycle.services.repair import perform
from lifecycle.settings import Settings
from tests.docker.scene import IMAGE, LASTING
from tests.docker.waiting import eventually

pytestmark = pytest.mark.docker

CONTENT = "echo kept > /data/file; "


def do(seam, kind, service_id, snapshot=None, **shares):
    snapshot = snapshot or seam.snapshot()
    service = snapshot.services[service_id]
    action = Action(kind=kind, key=service.key, id=service_id, name=service.name, reason="a test", shares=shares)
    return perform(seam, action, snapshot)


def replaced(scene):
    """A child whose parent is another container of the same name now; returns the child's id and the new parent's."""
    old = scene.up("parent")
    child = scene.up(
        "child",
        CONTENT + LASTING,
        host={**scene.sharing(old), "Tmpfs": {"/fast": ""}, "Binds": ["/proc/version:/version:ro"]},
        labels={"colour": "blue"},
        Env=["SHAPE=round"],
        Volumes={"/data": {}},
        StopTimeout=1,
    )
    scene.api.remove_container(old, force=True)
    return child, scene.up("parent")


def test_a_restart_brings_a_dependent_back_into_its_parents_network(scene, seam):
    """T2, its executor"""
    parent = scene.up("parent")
    child = scene.up("child", host=scene.sharing(parent))
    scene.api.restart(parent, timeout=1)
    before = scene.started("parent")
    assert do(seam, Kind.RESTART, child) == child
    assert scene.interfaces("child") == ["eth0", "lo"]
    assert (scene.id("child"), scene.started("parent")) == (child, before)


def test_nothing_is_restarted_that_would_only_lose_what_it_has(scene, seam):
    child, _ = replaced(scene)
    with pytest.raises(DependencyMissing):
        do(seam, Kind.RESTART, child)
    assert scene.state("child")["Running"]


def test_what_somebody_did_meanwhile_is_left_as_it_is(scene, seam):
    service_id = scene.up("one")
    snapshot = seam.snapshot()
    scene.api.stop(service_id)
    assert do(seam, Kind.RESTART, service_id, snapshot) == service_id
    assert not scene.state("one")["Running"]


def test_a_container_that_does_not_stay_up_was_not_repaired(scene, seam):
    brief = scene.up("brief", "test -e /tmp/again && exit 5; touch /tmp/again; " + LASTING)
    with pytest.raises(NotVerified, match="exit code 5"):
        do(seam, Kind.RESTART, brief)


def test_a_restart_of_which_no_word_came_back_was_done(scene, proxy):
    """T15"""
    one = scene.up("one", StopTimeout=1)
    before = scene.started("one")
    behind = Engine(Settings(docker_url=proxy.url, docker_settle=0.1, docker_timeout=2))
    proxy.swallows = lambda method, path: "/restart" in path
    assert do(behind, Kind.RESTART, one) == one
    assert scene.started("one") != before


def test_who_is_left_behind_again_meanwhile_was_not_repaired(scene, seam):
    parent = scene.up("parent")
    child = scene.up("child", host=scene.sharing(parent))

    class Raced(Engine):
        def restart(self, service):
            super().restart(service)
            scene.api.restart(parent, timeout=1)

    with pytest.raises(NotVerified, match="left behind"):
        do(Raced(Settings(docker_url=url_of(seam), docker_settle=0.1)), Kind.RESTART, child)


def test_a_stopped_one_is_started(scene, seam):
    one = scene.up("one")
    scene.api.stop(one)
    assert do(seam, Kind.START, one) == one
    assert scene.state("one")["Running"]
    scene.api.remove_container(one, force=True)
    with pytest.raises(KeyError):
        do(seam, Kind.START, one)


def test_a_dependent_is_made_again_with_all_it_had(scene, seam):
    """T1, its executor"""
    child, parent = replaced(scene)
    before = scene.seen("child")
    new = do(seam, Kind.RECREATE, child, **{Share.NETNS: parent})
    after = scene.seen("child")
    assert (scene.id("child"), scene.interfaces("child")) == (new, ["eth0", "lo"])
    assert new != child
    assert after["Config"]["Labels"] == before["Config"]["Labels"] | {RECREATED: child}
    for key in ("Env", "Cmd", "Image", "StopTimeout", "Volumes"):
        assert after["Config"][key] == before["Config"][key]
    changed = {key for key, value in after["HostConfig"].items() if value != before["HostConfig"][key]}
    assert changed == {"NetworkMode", "Binds"}  # its anonymous volume has a name now
    assert scene.run_in("child", "cat", "/data/file") == "kept\n"
    assert {mount["Name"] for mount in after["Mounts"] if mount["Type"] == "volume"} == {
        mount["Name"] for mount in before["Mounts"] if mount["Type"] == "volume"
    }
    assert scene.names() == [scene.name("child"), scene.name("parent")]


def test_one_with_networks_of_its_own_keeps_them(scene, seam):
    more = scene.client.networks.create(f"{scene.project}_more", labels=scene.mark).name
    old = scene.up("parent", host={"IpcMode": "shareable"})
    child = scene.create(
        "child",
        host={"NetworkMode": scene.network, "IpcMode": f"container:{old}"},
        NetworkingConfig={"EndpointsConfig": {scene.network: {"Aliases": ["childish"]}}},
        Hostname="chosen",
        ExposedPorts={"80/tcp": {}},
    )
    scene.client.networks.get(more).connect(child, aliases=["second"])
    scene.api.start(child)
    scene.api.remove_container(old, force=True)
    parent = scene.up("parent", host={"IpcMode": "shareable"})
    do(seam, Kind.RECREATE, child, **{Share.IPC: parent})
    after = scene.seen("child")
    joined = after["NetworkSettings"]["Networks"]
    assert set(joined) == {scene.network, more}
    assert "childish" in joined[scene.network]["Aliases"]
    assert "second" in joined[more]["Aliases"]
    assert child[:12] not in joined[scene.network]["Aliases"] + joined[more]["Aliases"]
    assert after["Config"]["Hostname"] == "chosen"
    assert scene.interfaces("child") == ["eth0", "eth1", "lo"]


def test_a_fixed_address_and_a_port_are_free_for_the_new_one(scene, seam):
    from docker.types import IPAMConfig, IPAMPool

    pool = IPAMConfig(pool_configs=[IPAMPool(subnet="10.215.0.0/24")])
    fixed = scene.client.networks.create(f"{scene.project}_fixed", ipam=pool, labels=scene.mark).name
    old = scene.up("parent", host={"IpcMode": "shareable"})
    child = scene.up(
        "child",
        host={
            "NetworkMode": fixed,
            "IpcMode": f"container:{old}",
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]},
        },
        NetworkingConfig={"EndpointsConfig": {fixed: {"IPAMConfig": {"IPv4Address": "10.215.0.77"}}}},
        ExposedPorts={"80/tcp": {}},
    )
    scene.api.remove_container(old, force=True)
    do(seam, Kind.RECREATE, child, **{Share.IPC: scene.up("parent", host={"IpcMode": "shareable"})})
    after = scene.seen("child")["NetworkSettings"]
    assert after["Networks"][fixed]["IPAddress"] == "10.215.0.77"
    assert after["Ports"]["80/tcp"][0]["HostPort"] == "18080"


def test_one_on_the_engines_own_bridge(scene, seam):
    old = scene.up("parent", host={"IpcMode": "shareable"})
    child = scene.up("child", host={"NetworkMode": "default", "IpcMode": f"container:{old}"})
    scene.api.remove_container(old, force=True)
    new = do(seam, Kind.RECREATE, child, **{Share.IPC: scene.up("parent", host={"IpcMode": "shareable"})})
    assert scene.interfaces("child") == ["eth0", "lo"]
    assert scene.seen("child")["Config"]["Hostname"] == new[:12]


def test_a_volume_that_was_made_for_a_mount_is_mounted_again(scene, seam):
    old = scene.up("parent")
    mounts = [{"Type": "volume", "Target": "/data/"}, {"Type": "tmpfs", "Target": "/fast"}]
    child = scene.up("child", host={**scene.sharing(old), "Mounts": mounts})

    def volumes():
        return [mount["Name"] for mount in scene.seen("child")["Mounts"] if mount["Type"] == "volume"]

    before = volumes()
    scene.api.remove_container(old, force=True)
    do(seam, Kind.RECREATE, child, **{Share.NETNS: scene.up("parent")})
    assert volumes() == before


def test_its_image_stays_the_same_though_its_tag_has_moved(scene, seam):
    tag = f"lifecycle-test:{scene.project}"
    other = scene.api.commit(scene.create("other"))["Id"]
    scene.api.tag(IMAGE, *tag.split(":"))
    old = scene.up("parent")
    child = scene.up("child", host=scene.sharing(old), Image=tag)
    before = scene.seen("child")["Image"]
    scene.api.tag(other, *tag.split(":"))
    scene.api.remove_container(old, force=True)
    do(seam, Kind.RECREATE, child, **{Share.NETNS: scene.up("parent")})
    assert scene.seen("child")["Image"] == before
    scene.api.remove_image(tag, force=True)


def test_what_it_had_from_a_container_that_is_gone_it_keeps(scene, seam):
    source = scene.up("source", CONTENT + LASTING, Volumes={"/data": {}})
    old = scene.up("parent")
    child = scene.up("child", host={**scene.sharing(old), "VolumesFrom": [source]})
    eventually(lambda: scene.run_in("child", "cat", "/data/file") == "kept\n")
    scene.api.remove_container(source, force=True)
    scene.api.remove_container(old, force=True)
    do(seam, Kind.RECREATE, child, **{Share.NETNS: scene.up("parent")})
    assert scene.run_in("child", "cat", "/data/file") == "kept\n"


def test_a_name_that_is_taken_changes_nothing(scene, seam):
    """T12"""
    child, parent = replaced(scene)
    scene.api.rename(scene.up("other"), scene.name("child") + SET_ASIDE)
    with pytest.raises(ServiceMisconfigured):
        do(seam, Kind.RECREATE, child, **{Share.NETNS: parent})
    assert (scene.id("child"), scene.state("child")["Running"]) == (child, True)


def test_an_image_that_is_gone_leaves_the_old_one_running(scene, seam):
    """T12"""
    child, parent = replaced(scene)
    pid = scene.state("child")["Pid"]

    class Forgetful(Engine):
        def create(self, name, body):
            return super().create(name, {**body, "Image": "lifecycle-test:nothing"})

    with pytest.raises(ServiceMisconfigured, match="No such image"):
        do(Forgetful(Settings(docker_url=url_of(seam))), Kind.RECREATE, child, **{Share.NETNS: parent})
    assert (scene.id("child"), scene.state("child")["Pid"]) == (child, pid)
    assert scene.names() == [scene.name("child"), scene.name("parent")]


@pytest.mark.parametrize("forbidden", ["/rename", "/create"])
def test_a_refusal_leaves_the_old_one_running(scene, seam, proxy, forbidden):
    """T12"""
    child, parent = replaced(scene)
    pid = scene.state("child")["Pid"]
    proxy.refuses = lambda method, path: forbidden in path
    with pytest.raises(EngineRefused):
        do(Engine(Settings(docker_url=proxy.url)), Kind.RECREATE, child, **{Share.NETNS: parent})
    assert (scene.id("child"), scene.state("child")["Pid"]) == (child, pid)
    assert scene.names() == [scene.name("child"), scene.name("parent")]


def test_a_parent_that_does_not_run_is_waited_for(scene, seam):
    child, parent = replaced(scene)
    scene.api.stop(parent)
    with pytest.raises(DependencyDown):
        do(seam, Kind.RECREATE, child, **{Share.NETNS: parent})
    assert (scene.id("child"), scene.state("child")["Running"]) == (child, True)


def test_a_new_one_that_does_not_stay_up_goes_and_the_old_one_returns(scene, seam):
    """T12"""
    old = scene.up("parent")
    child = scene.up("child", "test -e /tmp/mine || exit 7; " + LASTING, host=scene.sharing(old), labels={"try": "1"})
    eventually(lambda: scene.state("child")["ExitCode"] == 7)
    scene.api.remove_container(old, force=True)
    parent = scene.up("parent")
    with pytest.raises(NotVerified, match="exit code 7"):
        do(seam, Kind.RECREATE, child, **{Share.NETNS: parent})
    assert (scene.id("child"), scene.state("child")["Running"]) == (child, False)
    assert scene.names() == [scene.name("child"), scene.name("parent")]


def test_an_old_one_that_can_runs_again(scene, seam):
    """T12"""
    child = scene.up("child", host=scene.sharing(scene.up("parent")))
    other = scene.up("other")

    class Spoiling(Engine):
        def create(self, name, body):
            return super().create(name, {**body, "Cmd": ["sh", "-c", "exit 8"]})

    with pytest.raises(NotVerified, match="exit code 8"):
        do(Spoiling(Settings(docker_url=url_of(seam), docker_settle=0.2)), Kind.RECREATE, child, **{Share.NETNS: other})
    assert (scene.id("child"), scene.state("child")["Running"]) == (child, True)
    assert scene.interfaces("child") == ["eth0", "lo"]


def test_one_that_is_removed_when_it_ends_is_made_again_so(scene, seam, caplog):
    old = scene.up("parent")
    child = scene.up("child", host={**scene.sharing(old), "AutoRemove": True}, StopTimeout=1)
    scene.api.remove_container(old, force=True)
    do(seam, Kind.RECREATE, child, **{Share.NETNS: scene.up("parent")})
    assert scene.seen("child")["HostConfig"]["AutoRemove"]
    assert scene.interfaces("child") == ["eth0", "lo"]
    assert caplog.messages == []


def test_who_is_replaced_by_somebody_else_meanwhile_leaves_them_the_name(scene, seam):
    child, parent = replaced(scene)

    class Raced(Engine):
        def stop(self, service):
            scene.api.remove_container(service.id, force=True)
            super().stop(service)

    with pytest.raises(ServiceGone):
        do(Raced(Settings(docker_url=url_of(seam))), Kind.RECREATE, child, **{Share.NETNS: parent})
    assert scene.names() == [scene.name("parent")]


@pytest.mark.parametrize("moment", ["create", "stop", "start", "remove"])
def test_a_recreation_that_was_killed_is_ended_by_who_comes_after(scene, seam, moment):
    """T20"""
    child, parent = replaced(scene)
    process = multiprocessing.get_context("spawn").Process(
        target=recreate_until, args=(url_of(seam), child, parent, moment)
    )
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    (aside,) = [service for service in seam.snapshot() if service.is_set_aside]
    assert aside.id == child
    now = do(seam, Kind.TIDY, child)
    assert scene.names() == [scene.name("child"), scene.name("parent")]
    assert now == scene.id("child")
    if moment in ("create", "stop", "start"):
        assert now == child
        do(seam, Kind.RECREATE, child, **{Share.NETNS: parent})
    assert scene.interfaces("child") == ["eth0", "lo"]


@pytest.mark.parametrize(("script", "stays"), [("sleep 1000", True), ("sleep 0.1; exit 4", False)])
def test_a_successor_that_ended_stays_if_somebody_stopped_it(scene, seam, script, stays):
    """T20"""
    child, parent = replaced(scene)
    scene.api.rename(child, scene.name("child") + SET_ASIDE)
    successor = scene.up("child", script, host=scene.sharing(parent), labels={RECREATED: child})
    if stays:
        scene.api.stop(successor, timeout=1)
    eventually(lambda: scene.state("child")["Status"] == "exited")
    assert do(seam, Kind.TIDY, child) == (successor if stays else child)
    assert scene.names() == [scene.name("child"), scene.name("parent")]
    assert do(seam, Kind.TIDY, scene.id("child")) == scene.id("child")


@pytest.mark.parametrize("moment", ["before", "set aside", "made", "stopped"])
def test_who_lost_the_service_meanwhile_leaves_all_as_it_is(scene, seam, moment):
    """T20: another has taken over, and ends what was begun."""
    child, parent = replaced(scene)
    reached = {
        "before": lambda: True,
        "set aside": lambda: scene.name("child") + SET_ASIDE in scene.names(),
        "made": lambda: len(scene.names()) > 2,
        "stopped": lambda: len(scene.names()) > 2 and not scene.api.inspect_container(child)["State"]["Running"],
    }

    def guard():
        if reached[moment]():
            raise ServiceTaken("in another hand")

    seam.guard = guard
    with pytest.raises(ServiceTaken):
        do(seam, Kind.RECREATE, child, **{Share.NETNS: parent})
    seam.guard = lambda: None
    assert len(scene.names()) == 2 + (moment in ("made", "stopped"))
    if moment != "before":
        do(seam, Kind.TIDY, child)
    assert scene.id("child") == child
    assert scene.names() == [scene.name("child"), scene.name("parent")]


@pytest.mark.parametrize("up", ["up", "create"])
def test_a_stranger_of_the_same_name_is_no_successor(scene, seam, up):
    """T20"""
    child, parent = replaced(scene)
    scene.api.rename(child, scene.name("child") + SET_ASIDE)
    stranger = getattr(scene, up)("child", host=scene.sharing(parent))
    with pytest.raises(ServiceMisconfigured, match="another container"):
        do(seam, Kind.TIDY, child)
    assert scene.id("child") == stranger
    assert scene.names() == [scene.name("child"), scene.name("child") + SET_ASIDE, scene.name("parent")]


def test_a_name_is_not_taken_for_the_beginning_of_an_id(scene, seam):
    """T20: between the rename and the create nobody has the name, and an engine finds containers by less."""
    child, bystander = scene.up("child"), scene.up("bystander")
    short = bystander[:8]
    scene.api.rename(child, short + SET_ASIDE)
    assert do(seam, Kind.TIDY, child) == child
    assert scene.names() == sorted([short, scene.name("bystander")])
    assert seam.look(bystander[:9]) is None


def recreate_until(url, child, parent, moment):
    """In a process of its own, which is killed when it comes to that call."""

    def killed(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    seam = Engine(Settings(docker_url=url, docker_settle=0.1))
    setattr(seam, moment, killed)
    do(seam, Kind.RECREATE, child, **{Share.NETNS: parent})


def url_of(seam):
    return seam._connection._url

"""Recovery by a watch: what the engine tells is acted on at once, and what nobody heard is found."""

import threading
import time

import pytest

from lifecycle.store import services
from tests.docker.scene import LASTING
from tests.docker.test_recovery import BOTH, CRASHING, LEAVES
from tests.docker.waiting import eventually

pytestmark = pytest.mark.docker

UPDATES = 20
SELDOM = {"docker_every": 300.0}  # seconds: then only events bring a pass


@pytest.fixture
def pair(scene):
    """A parent and who has its network."""
    scene.up("child", host=scene.sharing(scene.up("parent")))
    return scene


def both(scene):
    """The child has its parent's network."""
    return scene.interfaces("child") == BOTH


def looked(ward):
    """A watch has been at work."""
    eventually(lambda: ward.remembered("child").verdict == "well")


def test_a_restart_is_heard_of(pair, new_ward):
    ward = new_ward(**SELDOM)
    with ward.watching():
        looked(ward)
        pair.api.restart(pair.id("parent"), timeout=1)
        eventually(lambda: both(pair))
    assert ward.remembered("child").recoveries == 1


def test_a_crash_is_told_from_a_stop_by_what_was_heard(scene, new_ward):
    """R39: both end with exit code 143, and neither has a policy."""
    ward = new_ward(**SELDOM)
    scene.up("parent", CRASHING.replace("exit 3", "exit 143"))
    scene.up("child", depends_on="parent:service_started:true")
    with ward.watching():
        looked(ward)
        scene.run_in("parent", "touch", "/crash")
        eventually(lambda: ward.remembered("parent").recoveries == 1)
        eventually(lambda: ward.remembered("child").recoveries == 1)
        scene.api.stop(scene.id("parent"))
        eventually(lambda: ward.remembered("parent").verdict == "stopped")
    ward.calm()
    assert not scene.state("parent")["Running"]


def test_a_stop_right_after_our_own_action_holds(scene, new_ward):
    """Within the time in which the echo of that one may come; with an exit code that says nothing."""
    ward = new_ward(**SELDOM)
    parent = scene.up("parent")
    child = scene.up("child", LEAVES.format(0), host=scene.sharing(parent), labels={"lifecycle.recover": "true"})
    with ward.watching():
        looked(ward)
        scene.api.restart(parent, timeout=1)
        eventually(lambda: ward.remembered("child").recoveries == 1)
        scene.api.stop(child)
        eventually(lambda: ward.remembered("child").verdict == "stopped")
    ward.calm()
    assert not scene.state("child")["Running"]


def test_a_stop_while_a_dead_hand_holds_the_service_holds(scene, new_ward):
    ward = new_ward(docker_every=0.2)
    child = scene.up("child", LEAVES.format(0), labels={"lifecycle.recover": "true"})
    with ward.watching():
        looked(ward)
        with ward.database.begin() as connection:
            engine = ward.engine.snapshot().engine
            row = ward.remembered("child")
            assert services.lock(connection, engine, row.key, row.version, by="who died", seconds=2.0)
        scene.api.stop(child)
        eventually(lambda: ward.remembered("child").verdict == "stopped")
    ward.calm()
    assert not scene.state("child")["Running"]


def test_an_updater_is_not_disturbed(pair, new_ward):
    """T5"""
    from docker.errors import APIError

    ward = new_ward(docker_quiet=2.0)
    refused = []
    with ward.watching():
        looked(ward)
        for _ in range(UPDATES):
            try:
                parent = pair.id("parent")
                pair.api.stop(parent)
                pair.api.remove_container(parent)
                pair.up("parent")
            except APIError as error:
                refused.append(error)
        eventually(lambda: both(pair), within=60)
    assert refused == []
    assert ward.remembered("child").recoveries == 1
    assert pair.names() == [pair.name("child"), pair.name("parent")]


def test_what_happens_while_the_stream_is_broken_is_found(pair, new_ward, proxy):
    """T14"""
    ward = new_ward(docker_url=proxy.url, **SELDOM)
    with ward.watching():
        looked(ward)
        streams = len(heard(proxy))
        proxy.cut()
        pair.api.restart(pair.id("parent"), timeout=1)
        eventually(lambda: len(heard(proxy)) > streams)
        eventually(lambda: both(pair))


def test_a_stream_whose_other_side_is_gone_is_noticed(pair, new_ward, proxy):
    """T14"""
    ward = new_ward(docker_url=proxy.url, docker_every=1.0)
    with ward.watching():
        looked(ward)
        eventually(lambda: heard(proxy))
        proxy.silences = lambda method, path: "/events" in path
        streams = len(heard(proxy))
        eventually(lambda: len(heard(proxy)) > streams)
        proxy.silences = lambda method, path: False
        streams = len(heard(proxy))
        eventually(lambda: len(heard(proxy)) > streams)
        pair.api.restart(pair.id("parent"), timeout=1)
        eventually(lambda: both(pair))


def test_one_that_gets_healthy_late_has_its_dependents_follow(scene, new_ward):
    """R40, H9"""
    ward = new_ward(**SELDOM)
    health = {"Test": ["CMD", "test", "-e", "/healthy"], "Interval": 200_000_000, "Retries": 1}
    scene.up("parent", "touch /healthy; " + LASTING, Healthcheck={**health, "StartPeriod": 60_000_000_000})
    scene.up("child", depends_on="parent:service_healthy:true")
    with ward.watching():
        looked(ward)
        eventually(lambda: ward.remembered("parent").verdict == "well")
        before = scene.started("child")
        scene.run_in("parent", "rm", "/healthy")
        eventually(lambda: ward.remembered("parent").recoveries == 1)
        eventually(lambda: scene.started("child") != before)


def test_a_watch_that_is_told_to_stop_ends_at_once(pair, new_ward):
    ward = new_ward(**SELDOM)
    with ward.watching() as watch:
        looked(ward)
        began = time.monotonic()
        threading.Timer(0.1, watch.stop).start()
    assert time.monotonic() - began < SELDOM["docker_every"]


def heard(proxy):
    """The streams of events that were asked for."""
    return [path for _, path in proxy.asked if "/events" in path]

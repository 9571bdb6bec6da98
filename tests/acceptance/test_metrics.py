"""Metrics as they are scraped: of two nodes and of Flower, which tell the same of what commands did that are gone."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from job.servers import free_port
from tests.acceptance.conftest import CALM, played
from tests.acceptance.flowers import Flower
from tests.acceptance.world import eventually

pytest.importorskip("flower")
pytestmark = pytest.mark.acceptance
PREFIX = "spacetraders_"
STOPS = f"{PREFIX}container_cascade_stops_total"


def scraped(port):
    """Every sample that is told there now, by its name and the values of its labels; nothing if nobody answers."""
    with suppress(URLError, ConnectionError), urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            (each.name, *(value for _, value in sorted(each.labels.items()))): each.value
            for family in families
            for each in family.samples
        }
    return {}


def told(port, name, *labels):
    return scraped(port).get((name, *labels))


@pytest.fixture(scope="module")
def ports():
    """Of two nodes."""
    return [free_port() for _ in range(2)]


@pytest.fixture(scope="module")
def metered_world(new_world, ports):
    world = new_world(**CALM, metrics_prefix=PREFIX, metrics_every=0.2)
    for name, port in zip(("one", "two"), ports, strict=False):
        world.start(name, slots=6, env={"LIFECYCLE_METRICS_PORT": str(port)})
    yield world
    world.close()


@pytest.fixture(scope="module")
def flower(metered_world, tmp_path_factory):
    """The port of a Flower with our metrics on its own page."""
    flower = Flower(tmp_path_factory.mktemp("flower"), metered_world.env)
    yield flower.port
    flower.close()


@pytest.fixture
def scene(metered_world):
    yield from played(metered_world)


def test_what_three_commands_stopped_is_three_wherever_it_is_asked(scene, ports, flower):
    before = {port: told(port, STOPS, "2") for port in (*ports, flower)}
    for number in range(3):
        scene.run(scene.plan(f"coord-{number}", scene.plan(f"worker-{number}")))
    with ThreadPoolExecutor(3) as pool:
        done = list(
            pool.map(lambda number: scene.world.command("stop", scene.id(f"coord-{number}"), "--yes"), range(3))
        )
    assert [each.returncode for each in done] == [0, 0, 0], [each.stderr for each in done]
    for port in (*ports, flower):
        eventually(f"three stops at {port}", lambda port=port: told(port, STOPS, "2") == before[port] + 3)
        found = scraped(port)
        assert found[f"{PREFIX}container_cascade_stop_duration_seconds_count", "2"] == before[port] + 3
        assert found[f"{PREFIX}container_endings_total", "STOPPED", "WORKER"] >= 3
        assert found[f"{PREFIX}container_nodes_live",] == 2
        assert not [name for name, *_ in found if name.startswith("lifecycle_")]


def test_five_workers_of_a_type_are_five(scene, ports, flower):
    scene.run(scene.plan("coord", *(scene.plan(f"w{number}") for number in range(5))))
    for port in (*ports, flower):
        eventually(
            f"five at {port}", lambda port=port: told(port, f"{PREFIX}container_active_total", "1", "WORKER") == 5
        )
        assert told(port, f"{PREFIX}container_active_total", "0", "COORDINATOR") == 1


def test_what_cannot_be_stopped_in_time_is_told(scene, ports):
    """Killed at its deadline: nobody waits for it, and its node tells."""
    name = f"{PREFIX}container_stop_failures_total"
    before = told(ports[0], name, "context_canceled")
    scene.run(scene.plan("deaf", kind="STUBBORN", grace=0.5))
    scene.stop("deaf", wait=False)
    scene.ended("deaf")
    eventually("one that was cut off", lambda: told(ports[1], name, "context_canceled") == before + 1)


def test_a_port_in_use_is_no_reason_not_to_start(scene, ports):
    node = scene.world.start("third", queues="third", slots=1, env={"LIFECYCLE_METRICS_PORT": str(ports[0])})
    assert f"metrics not served host=127.0.0.1 port={ports[0]}" in node.log_text()
    node.end()
    assert scraped(ports[0]), "the first serves on"


def test_a_node_that_ends_gives_its_port_back_though_its_pool_child_lives_on(scene):
    port = free_port()
    node = scene.world.start("fourth", queues="fourth", slots=2, env={"LIFECYCLE_METRICS_PORT": str(port)})
    eventually("served", lambda: scraped(port))
    children = node.children()
    assert children
    assert listening(port)
    held = {str(entry.readlink()) for pid in children for entry in Path(f"/proc/{pid}/fd").iterdir()}
    assert not held & listening(port), "a child holds the port"
    node.end()
    assert scraped(port) == {}


def listening(port):
    """The sockets that listen there, as a process's descriptors name them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_every_pool_serves(scene, pool):
    port = free_port()
    node = scene.world.start(pool, pool=pool, queues=pool, slots=1, env={"LIFECYCLE_METRICS_PORT": str(port)})
    eventually("read", lambda: told(port, f"{PREFIX}container_metrics_up") == 1)
    scene.start(scene.plan(f"at-{pool}", kind="ATTENTIVE", queue=pool))
    eventually("at work", lambda: told(port, f"{PREFIX}container_active_total", "0", "ATTENTIVE") == 1)
    scene.stop(f"at-{pool}")
    node.end()

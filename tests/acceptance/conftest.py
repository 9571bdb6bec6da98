"""The worlds that acceptance tests share, and a scene for each test."""

import shutil

import pytest

from job.servers import Valkey
from tests.acceptance.scene import Scene
from tests.acceptance.world import World, migrate

LOG_TAIL = 8_000  # characters of each node's log in the report of a failed test
CALM = {"heartbeat": 1, "lease": 10, "grace": 5, "log_flush": 0.3}
NERVOUS = {"heartbeat": 0.5, "lease": 3, "grace": 5, "log_flush": 0.3}  # a lost node is noticed within four seconds


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what its nodes said."""
    report = (yield).get_result()
    if report.failed:
        worlds = {value.world: None for value in item.funcargs.values() if isinstance(value, Scene)}
        worlds |= {value: None for value in item.funcargs.values() if isinstance(value, World)}
        for node in [node for world in worlds for node in world.nodes]:
            report.sections.append((f"node {node.name}", node.log_text()[-LOG_TAIL:]))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "lifecycle.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def new_world(tmp_path_factory, sqlite_template, valkey):
    """Makes worlds on fresh databases; each has a database of the broker to itself too."""
    worlds = []

    def make(broker=None, database_url=None, **settings):
        folder = tmp_path_factory.mktemp("world")
        if database_url is None:
            database_url = f"sqlite:///{shutil.copy(sqlite_template, folder)}"
        broker = broker or valkey.url.removesuffix("/0") + f"/{len(worlds)}"
        worlds.append(World(folder, broker, database_url, **settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture(scope="session")
def calm_world(new_world):
    """One prefork node for all tests that leave it as they found it."""
    world = new_world(**CALM)
    world.start(slots=14)
    return world


@pytest.fixture
def scene(calm_world):
    yield from played(calm_world)


@pytest.fixture(scope="session")
def threads_node(calm_world):
    """Its executions can neither be signalled nor killed."""
    return calm_world.start("threads", pool="threads", queues="threads")


@pytest.fixture(scope="session")
def narrow_node(calm_world):
    """One process, so that what runs next runs there."""
    return calm_world.start("narrow", queues="narrow", slots=1)


@pytest.fixture(scope="module")
def nervous_world(new_world):
    """Nodes die here: each test starts its own, and one that nothing happens to looks after them."""
    world = new_world(**NERVOUS)
    world.start("watcher", queues="watcher", slots=1)
    return world


@pytest.fixture
def nervous_scene(nervous_world):
    yield from played(nervous_world)


@pytest.fixture(scope="session")
def postgres_world(new_world, postgres):
    url = postgres.create_database("acceptance")
    migrate(url)
    world = new_world(database_url=url, **CALM)
    world.start(slots=10)
    return world


@pytest.fixture
def postgres_scene(postgres_world):
    yield from played(postgres_world)


@pytest.fixture
def brokerless_scene(new_world):
    """A world with a broker of its own, which the test may stop."""
    with Valkey() as broker:
        world = new_world(broker=broker.url, **CALM)
        world.start()
        yield from ((scene, broker) for scene in played(world))
        world.close()


def played(world):
    scene = Scene(world)
    yield scene
    scene.clear()
    scene.check()

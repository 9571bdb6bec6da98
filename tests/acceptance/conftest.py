"""The worlds that acceptance tests share, and a scene for each test."""

import shutil
from itertools import count

import pytest

from job.servers import Valkey
from tests.acceptance.doorway import Doors
from tests.acceptance.scene import Scene
from tests.acceptance.world import World, migrate
from tests.conftest import started
from tests.servers import BROKERS, RabbitMQ

LOG_TAIL = 8_000  # characters of each node's log in the report of a failed test
CALM = {"heartbeat": 1, "lease": 10, "grace": 5, "log_flush": 0.3}
ELSEWHERE = {  # what is about messages; Valkey has told of all the rest, and Redis speaks as Valkey does
    "redis": {"brokers", "dispatch", "outage"},
    "rabbitmq": {
        "backlog",
        "batches",
        "brokers",
        "crashes",
        "dispatch",
        "doors",
        "outage",
        "revokes",
        "shutdown",
        "stop",
    },
}
NERVOUS = {"heartbeat": 0.5, "lease": 3, "grace": 5, "log_flush": 0.3}  # a lost node is noticed within four seconds


def pytest_collection_modifyitems(config, items):
    """What a broker cannot do is not asked of it, and what is not about messages runs on one of them."""
    chosen = config.getoption("--broker")
    for item in items:
        for mark in item.iter_markers("only_on"):
            if chosen not in mark.args:
                item.add_marker(pytest.mark.skip(reason=f"only {' and '.join(mark.args)} can do it"))
        name = item.path.stem.removeprefix("test_")
        if name not in ELSEWHERE.get(chosen, {name}):
            item.add_marker(pytest.mark.skip(reason="not about messages"))


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
def kind_of_broker(pytestconfig):
    """The class of the server that was asked for."""
    return BROKERS[pytestconfig.getoption("--broker")]


@pytest.fixture(scope="session")
def shared_broker(kind_of_broker, valkey):
    """The broker of all worlds that do nothing to it."""
    if kind_of_broker is Valkey:
        yield valkey
        return
    server = started(kind_of_broker())
    yield server
    server.close()


@pytest.fixture
def own_broker(kind_of_broker):
    """A broker for one test, which may do with it what it likes."""
    server = started(RabbitMQ(hosts=1) if kind_of_broker is RabbitMQ else kind_of_broker())
    yield server
    server.close()


@pytest.fixture(scope="session")
def new_place(request, valkey):
    """Gives where messages and results of a world go, and nobody else's; what is no Redis keeps no results."""
    numbers = count()

    def give(broker=None):
        number = next(numbers)
        broker = broker or request.getfixturevalue("shared_broker").url_of(number)
        keeps_results = broker.startswith("redis:")
        return {"broker": broker, "results": broker if keeps_results else valkey.url_of(number)}

    return give


@pytest.fixture(scope="session")
def new_world(tmp_path_factory, sqlite_template, new_place):
    """Makes worlds on fresh databases; each has a place of its own on the broker too."""
    worlds = []

    def make(broker=None, database_url=None, **settings):
        folder = tmp_path_factory.mktemp("world")
        if database_url is None:
            database_url = f"sqlite:///{shutil.copy(sqlite_template, folder)}"
        worlds.append(World(folder, database_url=database_url, **new_place(broker), **settings))
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


@pytest.fixture(scope="session")
def doors(tmp_path_factory, sqlite_template, new_place):
    """A node that runs the app of the doors."""
    folder = tmp_path_factory.mktemp("doors")
    database_url = f"sqlite:///{shutil.copy(sqlite_template, folder)}"
    world = Doors(folder, database_url=database_url, **new_place(), heartbeat=1, lease=10, log_flush=0.3)
    world.start(queues="celery,side", slots=6)
    yield world
    world.close()


@pytest.fixture(scope="session")
def armadas(tmp_path_factory, sqlite_template, new_place):
    """Makes fleets, each in a universe of its own and on a fresh database; who asks closes it."""
    pytest.importorskip("httpx_retries", reason="the fleet needs the extra `fleet`")
    from tests.acceptance.armada import Armada

    def make(database_url=None, universe=None, player=None, **settings):
        folder = tmp_path_factory.mktemp("armada")
        if database_url is None:
            database_url = f"sqlite:///{shutil.copy(sqlite_template, folder)}"
        how = {"universe": universe, "player": player, "database_url": database_url, **CALM, **settings}
        return Armada(folder, **how, **new_place())

    return make


@pytest.fixture
def new_armada(armadas):
    """Makes fleets for one test."""
    made = []

    def make(*arguments, **options):
        made.append(armadas(*arguments, **options))
        return made[-1]

    yield make
    for armada in made:
        armada.close()


@pytest.fixture(scope="module")
def armada(armadas):
    """One for all tests of a file that leave it at rest; scouts have been everywhere once."""
    made = armadas(universe={"ships": 1, "probes": 2}, player=12)
    made.start(slots=3)
    made.survey()
    yield made
    made.close()


@pytest.fixture(scope="session")
def world(calm_world):
    """Where a test's scene is, unless its file has a world of its own."""
    return calm_world


@pytest.fixture
def scene(world):
    yield from played(world)


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
    yield world
    world.close()


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
def brokerless_scene(new_world, own_broker):
    """A world with a broker of its own, which the test may stop."""
    world = new_world(broker=own_broker.url, **CALM)
    world.start()
    yield from ((scene, own_broker) for scene in played(world))
    world.close()


def played(world):
    scene = Scene(world)
    yield scene
    scene.clear()
    scene.check()

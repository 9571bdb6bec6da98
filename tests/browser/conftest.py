"""A browser, a Flower with a login, and the nodes behind it; each test visits with a session of its own."""

import shutil

import pytest

from tests.acceptance.scene import Scene
from tests.acceptance.world import World, migrate
from tests.browser.chromium import Chromium
from tests.browser.site import LOGIN, PASSWORD, USER, Site
from tests.conftest import started

CALM = {"heartbeat": 1, "lease": 10, "grace": 5, "log_flush": 0.2}
TOLD = {"PIPELINES_CONF": '{"worker_send_task_events": true}'}  # Flower asks for that only every few seconds
LOG_TAIL = 6_000  # characters of each log in the report of a failed test


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what Flower and the nodes said."""
    report = (yield).get_result()
    if report.failed:
        for value in item.funcargs.values():
            if isinstance(value, Site):
                report.sections.append(("flower", value.log_text()[-LOG_TAIL:]))
            if isinstance(value, Scene):
                report.sections.append(("nodes", value.world.log()[-LOG_TAIL:]))


@pytest.fixture(scope="session")
def chromium():
    browser = started(Chromium())
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A migrated database, to be copied."""
    path = tmp_path_factory.mktemp("template") / "lifecycle.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def new_world(tmp_path_factory, template, valkey):
    """Makes worlds, each with a place of its own on the broker."""
    worlds = []

    def make(database_url=None, **settings):
        folder = tmp_path_factory.mktemp("world")
        if database_url is None:
            database_url = f"sqlite:///{shutil.copy(template, folder)}"
        broker = valkey.url_of(len(worlds))
        worlds.append(World(folder, broker=broker, database_url=database_url, **{**CALM, **settings}))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture(scope="session")
def new_site(chromium):
    """Starts Flowers; without a browser there is no need of one."""
    sites = []

    def make(world, *words, **env):
        sites.append(Site(world, *words, **env))
        sites[-1].wait_until_ready()
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture(scope="session")
def world(new_world, chromium):
    """A node with processes, and one with threads, which nobody can kill."""
    world = new_world()
    world.start(slots=8, env=TOLD)
    world.start("threads", pool="threads", queues="threads")
    return world


@pytest.fixture(scope="session")
def site(world, new_site):
    return new_site(world, LOGIN)


@pytest.fixture(scope="session")
def still_world(new_world, chromium):
    """No node is here: what its rows say stays as it is."""
    return new_world()


@pytest.fixture(scope="session")
def still_site(still_world, new_site):
    return new_site(still_world, LOGIN)


@pytest.fixture
def scene(world):
    scene = Scene(world)
    yield scene
    scene.clear()
    scene.check()


@pytest.fixture
def new_visitor(chromium):
    """Comes with a login and any options of a browser's session; what went wrong fails the test."""
    visitors = []

    def make(site, login=(USER, PASSWORD), **options):
        visitors.append(chromium.visitor(site, login, **options))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.close()
    for visitor in visitors:
        visitor.check()


@pytest.fixture
def visitor(site, new_visitor):
    return new_visitor(site)


@pytest.fixture
def page(visitor):
    return visitor.page

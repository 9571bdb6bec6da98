"""One engine for all tests of it, a project of its own for each."""

import shutil

import pytest

from tests.conftest import started


@pytest.fixture(scope="session")
def engine():
    from tests.docker.engine import Engine

    engine = started(Engine())
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def client(engine):
    from tests.docker.scene import import_image

    client = engine.client()
    import_image(client)
    yield client
    client.close()


@pytest.fixture(scope="session")
def node_image(client):
    from tests.docker.image import import_node

    import_node(client)


@pytest.fixture
def scene(client):
    from tests.docker.scene import Scene

    scene = Scene(client)
    yield scene
    scene.close()


@pytest.fixture
def seam(engine, client):
    """Ours: what the monitor speaks to the engine through."""
    from lifecycle.services.engine import Engine
    from lifecycle.settings import Settings

    seam = Engine(Settings(docker_url=engine.url, docker_settle=0.2, docker_timeout=20))
    yield seam
    seam.close()


@pytest.fixture
def proxy(engine, tmp_path):
    from tests.docker.proxy import Proxy

    proxy = Proxy(engine.socket, tmp_path)
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    from lifecycle.store import schema
    from lifecycle.store.engine import Database

    path = tmp_path_factory.mktemp("template") / "lifecycle.db"
    database = Database(f"sqlite:///{path}")
    schema.migrate(database)
    database.dispose()
    return path


@pytest.fixture
def new_ward(scene, engine, migrated, tmp_path):
    """Gives recovery over the scene, with other settings where a test wants them."""
    from tests.docker.ward import Ward

    wards = []
    path = tmp_path / "lifecycle.db"
    shutil.copy(migrated, path)

    def give(**settings):
        wards.append(Ward(scene, settings.pop("docker_url", engine.url), f"sqlite:///{path}", **settings))
        return wards[-1]

    yield give
    for ward in wards:
        ward.close()


@pytest.fixture
def ward(new_ward):
    return new_ward()

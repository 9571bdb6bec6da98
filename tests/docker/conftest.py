"""One engine for all tests of it, a project of its own for each."""

import pytest

from tests.conftest import started


@pytest.fixture(scope="session")
def engine():
    pytest.importorskip("docker")
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

"""Real servers for every test that wants one; see CONTRIBUTING.md."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from job.binaries import ServerMissing
from job.servers import Postgres, Server, Valkey
from tests.servers import BROKERS

AnyServer = TypeVar("AnyServer", bound=Server)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--broker", choices=sorted(BROKERS), default="valkey", help="what acceptance tests send through")


def started(server: AnyServer) -> AnyServer:
    """At a desk a missing part skips with its reason; in CI it fails."""
    try:
        server.start()
    except ServerMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    return server


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    server = started(Valkey())
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = started(Postgres())
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A fresh database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'lifecycle.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")

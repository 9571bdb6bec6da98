"""The parts of pytest-celery's setup, taken from the stack that Compose made, on images that were made here."""

import os

import pytest

if "STACK_COMPOSE" in os.environ and "DOCKER_HOST" in os.environ:
    from pytest_celery import (
        CeleryBackendCluster,
        CeleryBrokerCluster,
        CeleryTestWorker,
        CeleryWorkerCluster,
        CeleryWorkerContainer,
        RedisContainer,
        RedisTestBackend,
        RedisTestBroker,
    )

    class Redis(RedisContainer):
        """Reached by its address, for it publishes no port."""

        @property
        def port(self):
            return 6379

        @property
        def host_url(self):
            return f"redis://{self.ips.primary}:6379/0"

    class Node(CeleryWorkerContainer):
        @classmethod
        def worker_name(cls):
            return "celery"

else:
    collect_ignore_glob = ["test_*.py"]  # `python3 -m tests.stack` runs them, where all of it is

PROJECT = "smoke"
NODES = 3


@pytest.fixture(scope="session")
def stack():
    """Up, with three nodes; whatever is left of it at the end is removed."""
    import docker

    from tests.stack.compose import Stack

    client = docker.from_env(timeout=120)
    stack = Stack(client, PROJECT)
    try:
        stack.compose("up", "--detach", "--build", "--scale", f"node={NODES}")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "10", check=False)
        client.close()


@pytest.fixture
def celery_broker_cluster(stack):
    return CeleryBrokerCluster(RedisTestBroker(Redis(stack.one("redis")), None))


@pytest.fixture
def celery_backend_cluster(stack):
    return CeleryBackendCluster(RedisTestBackend(Redis(stack.one("redis")), None))


@pytest.fixture
def celery_worker_cluster(stack):
    return CeleryWorkerCluster(*(CeleryTestWorker(Node(each), None) for each in stack.containers("node")))

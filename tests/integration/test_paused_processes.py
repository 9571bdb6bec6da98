"""A process that is paused, or whose machine is gone, in the middle of a transaction holds nobody up for long."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lifecycle.errors import StoreUnreachable
from lifecycle.store import nodes, runs
from lifecycle.store.engine import Database
from lifecycle.trees import sweep

pytestmark = pytest.mark.postgres
SOON = 0.5  # seconds; a lease on a real node
PATIENCE = 10.0


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def paused(postgres_grove):
    """The database as a process of a dead node has it."""
    database = Database(postgres_grove.database.url.render_as_string(hide_password=False), idle_timeout=SOON)
    yield database
    database.dispose()


@pytest.mark.parametrize("doing", ["renewal", "ending"])
def test_its_node_is_swept_all_the_same(postgres_grove, paused, pool, doing):
    grove = postgres_grove
    for n in range(3):
        grove.run(f"worker-{n}")
    grove.silence()
    with pytest.raises(StoreUnreachable):
        pauses(paused, grove, doing, lambda: pool.submit(sweep_until, grove, "worker-1").result(PATIENCE))
    assert grove.status("worker-0", "worker-1", "worker-2") == ["INTERRUPTED"] * 3


def sweep_until(grove, lost):
    """A pass leaves what is locked to the next one."""
    while grove.status(lost) != "INTERRUPTED":
        sweep.sweep_nodes(grove.database)


def pauses(database, grove, doing, meanwhile):
    """In a transaction; what follows then cannot go on with it."""
    with database.begin() as connection:
        if doing == "renewal":
            nodes.renew(connection, grove.node, expires_in=60, timeout=5)
        else:
            runs.lock(connection, "worker-1")
        meanwhile()
        runs.lock(connection, "worker-1")

"""Migrated, empty databases, and a grove: containers moved by the calls that really move them."""

import shutil
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from lifecycle.domain.container import Container
from lifecycle.domain.ending import completed
from lifecycle.store import containers, endings, nodes, runs, schema, transitions
from lifecycle.store.clock import later, now
from lifecycle.store.engine import Database
from lifecycle.store.tables import assignments, identity, metadata
from lifecycle.store.tables import containers as table
from lifecycle.trees import end, interrupt, recover, spawn, stop, sweep
from lifecycle.trees.interrupt import Cut

KEPT_EMPTY = sorted(set(metadata.tables) - {identity.name})
END_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
     WHERE datname = current_database() AND pid != pg_backend_pid() AND backend_type = 'client backend'
"""
PLANTED = {
    "container_type": "WORK",
    "status": "PENDING",
    "depth": 0,
    "epoch": 0,
    "node": None,
    "outcome": None,
    "parent_container_id": None,
    "wake_at": None,
    "grace": 30.0,
}


class NoBroker:
    """The doorbell of a caller that reaches no broker: nobody hears it; it remembers who was said to be revoked."""

    def __init__(self):
        self.told = []
        self.failures = {}

    def ring(self, root_id, depth):
        return False

    def publish(self, container_id, message):
        raise ConnectionError("no broker")

    def revoked(self, container_ids, reason):
        self.told += container_ids

    def failed(self, container_id, reason):
        self.failures[container_id] = reason


@dataclass
class Grove:
    """One database, one node that has registered, and short words for what happens to containers in tests."""

    database: Database
    node: str = "node-1"

    def __post_init__(self):
        self.doorbell = NoBroker()
        self.register(self.node)

    def register(self, node, expires_in=3600.0):
        about = {"id": node, "hostname": "host", "pid": 1, "pool": "prefork", "concurrency": 1, "version": "1"}
        with self.database.begin() as connection:
            nodes.register(connection, about, expires_in=expires_in)

    def silence(self, node=None):
        """The node's lease has run out; nobody has noticed yet."""
        with self.database.begin() as connection:
            of_node = nodes.nodes.update().where(nodes.n.id == (node or self.node))
            connection.execute(of_node.values(expires_at=later(now(), -1)))

    def birth(self, container_id, parent=None, **values):
        if isinstance(parent, Container):
            parent = spawn.Parent(id=parent.id, epoch=parent.epoch)
        elif parent is not None:
            parent = spawn.Parent(id=parent)
        return spawn.Birth(**{"id": container_id, "container_type": "WORK", "by": "test", "parent": parent, **values})

    def spawn(self, container_id, parent=None, **values):
        return spawn.spawn(self.database, self.birth(container_id, parent, **values))

    def claim(self, container_id, node=None):
        with self.database.begin() as connection:
            return runs.claim(connection, container_id, node=node or self.node, pid=1, pid_started=1)

    def run(self, container_id, parent=None, **values):
        """Spawned and executing."""
        self.spawn(container_id, parent, **values)
        return self.claim(container_id)

    def rest(self, container_id, seconds=3600.0):
        with self.database.begin() as connection:
            return runs.rest(connection, container_id, self.get(container_id).epoch, until=seconds)

    def end(self, container_id, ending=None):
        return end.end(self.database, container_id, self.get(container_id).epoch, ending or completed())

    def lose(self, container_id, why="node lost", **how):
        held = self.get(container_id)
        return interrupt.lose(self.database, held.id, held.epoch, node=held.node, cut=Cut(why), **how)

    def interrupt(self, container_id, why="node shut down", wait=0.0, **how):
        """As its own execution does that is to go on."""
        held = self.get(container_id)
        return interrupt.interrupt(self.database, held.id, held.epoch, Cut(why, wait=wait, **how))

    def sweep(self):
        return sweep.sweep(self.database, self.doorbell)

    def recover(self):
        return recover.recover(self.database, self.doorbell)

    def give_up(self, container_id, why="does not stop", node=None):
        with self.database.begin() as connection:
            return endings.give_up(connection, container_id, self.get(container_id).epoch, why, node=node or self.node)

    def mark(self, container_id, **request):
        """What `stop` does first, and all that a caller does who dies then."""
        return stop.mark(self.database, request_for(container_id, **request))[0]

    def stop(self, container_id, *, wait=True, patience=10.0, **request):
        request = request_for(container_id, **request)
        return stop.stop(self.database, self.doorbell, request, wait=wait, patience=patience)

    def get(self, container_id):
        with self.database.read() as connection:
            return containers.get(connection, container_id)

    def status(self, *container_ids):
        found = [str(self.get(container_id).status) for container_id in container_ids]
        return found[0] if len(found) == 1 else found

    def children(self, container_id, live=None):
        with self.database.read() as connection:
            return [child.id for child in containers.children(connection, container_id, live)]

    def history(self, container_id):
        """Its statuses, oldest first."""
        return [change.to_status for change in self.changes(container_id)]

    def changes(self, container_id):
        with self.database.read() as connection:
            return transitions.history(connection, container_id)

    def held(self):
        """Who holds what now."""
        query = sa.select(assignments.c.resource, assignments.c.container_id).where(assignments.c.released_at.is_(None))
        with self.database.read() as connection:
            return dict(connection.execute(query).all())

    def edit(self, container_id, **values):
        """An operator's hand-made UPDATE."""
        with self.database.begin() as connection:
            connection.execute(table.update().where(table.c.id == container_id).values(values))

    def plant(self, rows):
        """Many rows at once, as spawn and claim would have left them: parents before their children."""
        with self.database.begin() as connection:
            at = connection.execute(sa.select(now())).scalar_one()
            planted = [{**PLANTED, "created_at": at, "updated_at": at, "dispatched_at": at, **row} for row in rows]
            assert all(row.keys() == planted[0].keys() for row in planted)
            connection.execute(table.insert(), planted)


def request_for(container_id, by="test", **request):
    return stop.Request(container_id=container_id, by=by, **request)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "lifecycle.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_url(postgres):
    """One database for many tests: to empty it takes a sixth of the time to make another."""
    url = postgres.create_database("migrated")
    migrate(url)
    return url


@pytest.fixture
def sqlite_database(sqlite_template, tmp_path):
    database = Database(f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}")
    yield database
    database.dispose()


@pytest.fixture
def postgres_database(migrated_url):
    database = Database(migrated_url)
    with database.begin() as connection:
        connection.execute(sa.text(END_OTHERS))
        connection.execute(sa.text(f"TRUNCATE {', '.join(KEPT_EMPTY)} RESTART IDENTITY"))
    yield database
    database.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request):
    return request.getfixturevalue("sqlite_database" if request.param == "sqlite" else "postgres_database")


@pytest.fixture(scope="module")
def planted_grove(request, tmp_path_factory):
    """Makes the grove of a whole module, by its dialect; nothing else is in its database."""

    def make(dialect):
        if dialect == "sqlite":
            template = request.getfixturevalue("sqlite_template")
            return Grove(Database(f"sqlite:///{shutil.copy(template, tmp_path_factory.mktemp('planted'))}"))
        url = request.getfixturevalue("postgres").create_database(f"planted_{request.path.stem}")
        migrate(url)
        return Grove(Database(url))

    return make


@pytest.fixture
def grove(database):
    return Grove(database)


@pytest.fixture
def sqlite_grove(sqlite_database):
    return Grove(sqlite_database)


@pytest.fixture
def postgres_grove(postgres_database):
    return Grove(postgres_database)


def migrate(url):
    database = Database(url)
    schema.migrate(database)
    database.dispose()

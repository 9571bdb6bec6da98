"""Containers recorded in a caller's own transaction, on the caller's own engine."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from celery import Celery, signals
from sqlalchemy.orm import Session

from lifecycle import ContainerTask, Lifecycle
from lifecycle.errors import ContainerExists, InvalidArgument, InvalidParent, PlayerMismatch, ResourceHeld
from lifecycle.store import dispatches, schema
from lifecycle.store.engine import Database
from tests.integration.conftest import Grove
from tests.integration.test_races import beside

ORDERS = sa.Table("orders", sa.MetaData(), sa.Column("id", sa.Integer))
GONE = sa.text("DROP TABLE IF EXISTS orders")


def task_on(database):
    """A container task of an app whose broker is in this process."""
    app = Celery("orders", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.lifecycle_database_url = database.url.render_as_string(hide_password=False)
    app.conf.lifecycle_database_schema = database.schema
    Lifecycle(app)

    @app.task(name="orders.ship_it", base=ContainerTask, container_type="SHIP_IT")
    def ship_it(order):
        """Never run here."""

    return ship_it


@pytest.fixture
def engine(database):
    """The caller's: plain, with a table of the caller's beside ours."""
    engine = sa.create_engine(database.url)
    with engine.begin() as connection:
        connection.execute(GONE)
        connection.execute(sa.text("CREATE TABLE orders (id INTEGER PRIMARY KEY)"))
    yield engine
    with engine.begin() as connection:
        connection.execute(GONE)
    engine.dispose()


@pytest.fixture
def ship_it(database):
    task = task_on(database)
    yield task
    task.lifecycle.database.dispose()


@pytest.fixture
def published():
    """Every message that left this process."""
    seen = []

    def note(sender=None, **_):
        seen.append(sender)

    signals.after_task_publish.connect(note)
    yield seen
    signals.after_task_publish.disconnect(note)


def order(connection, number):
    connection.execute(ORDERS.insert(), {"id": number})


def orders(engine):
    with engine.connect() as connection:
        return list(connection.execute(sa.select(ORDERS.c.id).order_by(ORDERS.c.id)).scalars())


def ids(grove):
    with grove.database.read() as connection:
        return sorted(connection.execute(sa.text("SELECT id FROM containers")).scalars())


def due(grove):
    with grove.database.begin() as connection:
        return [container_id for container_id, _ in dispatches.take_due(connection, 10)]


def test_a_row_is_there_and_due_once_its_caller_has_committed(grove, engine, ship_it, published):
    with engine.connect() as connection:
        order(connection, 7)
        container = ship_it.spawn([7], resources=["order:7"], connection=connection)
        assert (ids(grove), grove.held()) == ([], {})
        connection.commit()
    assert container.refresh().status == "PENDING"
    assert grove.held() == {"order:7": container.id}
    assert due(grove) == [container.id]
    assert (orders(engine), published) == ([7], [])


def test_a_rollback_leaves_nothing(grove, engine, ship_it, published):
    with engine.connect() as connection:
        order(connection, 7)
        ship_it.spawn_many([([7], {}), ([8], {})], resources=[["order:7"], []], connection=connection)
        connection.rollback()
    assert (ids(grove), grove.held(), due(grove), orders(engine), published) == ([], {}, [], [], [])


REFUSALS = {
    ResourceHeld: {"resources": ["ship:1"]},
    ContainerExists: {"container_id": "coord-123"},
    InvalidParent: {"parent_container_id": "nobody"},
    PlayerMismatch: {"parent_container_id": "coord-123", "player_id": 13},
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_leaves_the_callers_transaction_as_it_was(grove, engine, ship_it, refusal):
    grove.run("coord-123", player_id=12, resources=["ship:1"])
    grove.edit("coord-123", player_id=12)
    asked = {"player_id": 12, **REFUSALS[refusal]}
    with engine.begin() as connection:
        order(connection, 1)
        with pytest.raises(refusal):
            ship_it.spawn([1], tags={"a": "b"}, connection=connection, **asked)
        order(connection, 2)
        ship_it.spawn([2], container_id="worker-2", connection=connection)
        order(connection, 3)
    assert (orders(engine), ids(grove)) == ([1, 2, 3], ["coord-123", "worker-2"])
    assert grove.held() == {"ship:1": "coord-123"}


def test_many_are_refused_together_and_leave_the_callers_transaction_as_it_was(grove, engine, ship_it):
    grove.run("coord-123", resources=["ship:30"])
    with engine.begin() as connection:
        order(connection, 1)
        with pytest.raises(ResourceHeld, match="ship:30 is held by container coord-123"):
            ship_it.spawn_many(
                [([n], {}) for n in range(50)], resources=[[f"ship:{n}"] for n in range(50)], connection=connection
            )
        order(connection, 2)
    assert (orders(engine), ids(grove), grove.held()) == ([1, 2], ["coord-123"], {"ship:30": "coord-123"})


def test_a_spawn_may_be_the_first_statement_of_a_transaction(grove, engine, ship_it):
    """On SQLite the driver itself would begin none, and the release of a savepoint would commit."""
    with engine.connect() as connection:
        ship_it.spawn([7], connection=connection)
        connection.rollback()
        assert ids(grove) == []
        ship_it.spawn([8], container_id="worker-8", connection=connection)
        connection.commit()
    assert ids(grove) == ["worker-8"]


def test_a_time_of_its_own_is_kept(grove, engine, ship_it):
    with engine.begin() as connection:
        container = ship_it.spawn([7], countdown=3600, connection=connection)
    assert (due(grove), container.refresh().activity[:14]) == ([], "sleeping until")


@pytest.mark.parametrize("refused", [False, True])
def test_the_callers_connection_keeps_its_options(grove, engine, ship_it, refused):
    grove.run("coord-123", resources=["ship:1"])
    with engine.connect() as connection:
        connection.execution_options(schema_translate_map={"elsewhere": None}, logging_token="shop")
        before = dict(connection.get_execution_options())
        if refused:
            with pytest.raises(ResourceHeld):
                ship_it.spawn([7], resources=["ship:1"], connection=connection)
        else:
            ship_it.spawn([7], connection=connection)
        assert dict(connection.get_execution_options()) == before
        connection.execute(sa.select(ORDERS.to_metadata(sa.MetaData(), schema="elsewhere")))


# What is no connection of this database


def test_a_connection_to_another_installation_is_refused(grove, ship_it, tmp_path):
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    schema.migrate(other)
    with other.begin() as connection, pytest.raises(InvalidArgument, match=r"^the connection is not to "):
        ship_it.spawn([7], connection=connection)
    assert (ids(grove), ids(Grove(other))) == ([], [])
    other.dispose()


def test_a_connection_to_a_database_of_other_software_is_refused(grove, ship_it, tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with engine.begin() as connection, pytest.raises(InvalidArgument, match=r"^the connection is not to "):
        ship_it.spawn([7], connection=connection)
    engine.dispose()


@pytest.mark.parametrize("where", ["connection", "engine"])
def test_a_connection_that_commits_by_itself_is_refused(grove, engine, ship_it, where):
    options = {"isolation_level": "AUTOCOMMIT"}
    with (engine.execution_options(**options) if where == "engine" else engine).connect() as connection:
        if where == "connection":
            connection.execution_options(**options)
        with pytest.raises(InvalidArgument, match=r"^the connection commits each statement by itself"):
            ship_it.spawn([7], connection=connection)
    assert ids(grove) == []


def test_a_connection_of_an_engine_that_always_commits_is_refused(grove, database, ship_it):
    engine = sa.create_engine(database.url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection, pytest.raises(InvalidArgument, match=r"^the connection commits each"):
            ship_it.spawn([7], connection=connection)
    finally:
        engine.dispose()


def test_a_session_is_refused_and_its_connection_is_taken(grove, engine, ship_it):
    with Session(engine) as session:
        for given in (session, engine, "sqlite://", sa.inspect(engine)):
            with pytest.raises(InvalidArgument, match=r"^connection is SQLAlchemy's Connection; of a Session give"):
                ship_it.spawn([7], connection=given)
        container = ship_it.spawn([7], connection=session.connection())
        session.commit()
    assert ids(grove) == [container.id]


# PostgreSQL


@pytest.mark.postgres
def test_in_a_schema_of_our_own_the_caller_stays_in_its_own(postgres_url):
    database = Database(postgres_url, schema="fleet")
    schema.migrate(database)
    ship_it, grove, engine = task_on(database), Grove(database), sa.create_engine(database.url)
    grove.run("coord-123", resources=["ship:1"])
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE orders (id INTEGER PRIMARY KEY)"))
        order(connection, 1)
        with pytest.raises(ResourceHeld):
            ship_it.spawn([1], resources=["ship:1"], connection=connection)
        worker = ship_it.spawn([1], parent_container_id="coord-123", connection=connection)
        order(connection, 2)
        assert connection.execute(sa.text("SELECT count(*) FROM fleet.containers")).scalar() == 2
        assert "containers" not in sa.inspect(connection).get_table_names()
    assert orders(engine) == [1, 2]
    assert grove.children("coord-123") == [worker.id]
    for each in (engine, database, ship_it.lifecycle.database):
        each.dispose()


@pytest.mark.postgres
def test_a_stop_of_the_parent_waits_for_the_callers_commit(postgres_grove):
    grove = postgres_grove
    ship_it, engine = task_on(grove.database), sa.create_engine(grove.database.url)
    grove.run("coord-123")
    with ThreadPoolExecutor(1) as pool, engine.connect() as connection:
        worker = ship_it.spawn([7], parent_container_id="coord-123", connection=connection)
        marking = beside(pool, grove, grove.mark, "coord-123")
        assert not marking.done()
        connection.commit()
        assert marking.result(timeout=10).count == 2
    assert grove.status("coord-123", worker.id) == ["STOPPING", "STOPPED"]
    for each in (engine, ship_it.lifecycle.database):
        each.dispose()

"""Databases that others use too: their tables are theirs, a schema holds all of ours, installations do not mix."""

import pytest
import sqlalchemy as sa

from lifecycle.domain.ending import completed, failed, stopped
from lifecycle.domain.recovery import Unrestartable
from lifecycle.domain.service import Action, Kind
from lifecycle.errors import StoreError
from lifecycle.store import containers, dispatches, logs, passes, recoveries, schema, services, totals, unrestartables
from lifecycle.store.clock import now
from lifecycle.store.engine import Database
from lifecycle.store.tables import VERSION_TABLE, identity, metadata
from lifecycle.trees import sweep
from tests.integration.conftest import Grove

OURS = sorted(metadata.tables)
ROW = (7, "theirs")


@pytest.fixture
def connect():
    """Open databases, and close them after the test."""
    opened = []

    def connect(url, **options):
        opened.append(Database(url, **options))
        return opened[-1]

    yield connect
    for database in opened:
        database.dispose()


@pytest.fixture
def database(connect, database_url):
    return connect(database_url)


def run_sql(database, *statements):
    with database.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def occupy(database, name):
    """A table of other software with a row in it."""
    run_sql(database, f'CREATE TABLE "{name}" (id INTEGER, name TEXT)', f"INSERT INTO \"{name}\" VALUES (7, 'theirs')")


def everything(database):
    """Every table and view that a connection sees by its bare name, with its rows."""
    with database.read() as connection:
        inspector = sa.inspect(connection)
        names = [*inspector.get_table_names(), *inspector.get_view_names()]
        return {name: connection.execute(sa.text(f'SELECT * FROM "{name}"')).all() for name in names}


def refused(database):
    """What `migrate` says to a database that it will not touch."""
    before = everything(database)
    with pytest.raises(StoreError) as refusal:
        schema.migrate(database)
    assert everything(database) == before
    said = str(refusal.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("name", OURS)
def test_a_table_of_that_name_that_is_not_ours_is_refused_and_kept(database, name):
    occupy(database, name)
    assert refused(database).endswith(
        f" has tables of other software named {name}; give containers a database or a schema of their own"
    )
    assert everything(database) == {name: [ROW]}


def test_all_names_taken_are_in_the_one_line(database):
    for name in OURS:
        occupy(database, name)
    assert f"named {', '.join(OURS)};" in refused(database)


def test_a_view_of_that_name_is_refused_and_kept(database):
    occupy(database, "orders")
    run_sql(database, "CREATE VIEW containers AS SELECT id FROM orders")
    assert "tables of other software named containers;" in refused(database)


def test_an_index_of_that_name_is_refused_and_nothing_is_left_behind(database):
    occupy(database, "orders")
    run_sql(database, "CREATE INDEX idx_containers_due ON orders (id)")
    assert "idx_containers_due" in refused(database)
    assert everything(database) == {"orders": [ROW]}


def test_a_version_table_of_others_is_refused_and_kept(database):
    occupy(database, VERSION_TABLE)
    assert refused(database).endswith(f"has a {VERSION_TABLE} of other software: give containers their own")


def test_our_tables_without_their_version_are_refused_too(database):
    """A copy of a few tables, or a version table emptied by hand: nobody knows what state they are in."""
    schema.migrate(database)
    run_sql(database, f"DELETE FROM {VERSION_TABLE}")
    assert "tables of other software" in refused(database)


# A schema of its own


@pytest.fixture
def two(connect, postgres_url):
    """Two installations in one database: in `public`, where an unqualified name ends, and in a schema."""
    public, fleet = connect(postgres_url), connect(postgres_url, schema="fleet")
    for each in (public, fleet):
        schema.migrate(each)
    return Grove(public), Grove(fleet)


def rows_of(database):
    with database.read() as connection:
        return {
            name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
            if name != identity.name
        }


def use(grove):
    """A life with everything in it: a tree stopped, one dispatched, one failed, one lost; a pass; all counted."""
    grove.run("coord-123", resources=("ship:1",), tags={"fleet": "haulers"}, player_id=12)
    grove.run("worker-1", "coord-123", resources=("ship:2",))
    grove.spawn("queued", "coord-123")
    with grove.database.begin() as connection:
        line = {"container_id": "worker-1", "epoch": 1, "level": "INFO", "logger": "l", "message": "m", "count": 1}
        connection.execute(logs.container_logs.insert().values(at=now(), **line))
    grove.mark("coord-123", reason="lunch")
    for container_id in ("worker-1", "coord-123"):
        grove.end(container_id, stopped())
    grove.spawn("due", wake_in=-1)
    with grove.database.begin() as connection:
        assert [row[0] for row in dispatches.take_due(connection, 10)] == ["due"]
    grove.claim("due")
    grove.end("due", completed(7))
    grove.run("broken", resources=("ship:3",))
    grove.end("broken", failed(ValueError("no such ship")))
    grove.run("lost")
    grove.lose("lost")
    grove.spawn("live")
    swept = grove.sweep()
    grove.recover()
    with grove.database.begin() as connection:
        assert passes.begin(connection, "sweep", by="test", at_most_every=300)
        passes.done(connection, "sweep", swept.found)
        assert totals.fold(connection, 100)
    recover_service(grove.database)


def recover_service(database):
    """A Docker service is restarted in vain."""
    with database.begin() as connection:
        memory, _ = services.recall(connection, "engine", within=60.0)
        (version,) = services.save(connection, "engine", {"shop/db": {"name": "db"}}, memory).values()
        assert services.lock(connection, "engine", "shop/db", version, by="test", seconds=60.0)
        restart = Action(kind=Kind.RESTART, key="shop/db", id="c1", name="db", reason="unhealthy")
        number = recoveries.begin(connection, "engine", restart, by="test")
        unrestartables.note(connection, "engine", Unrestartable(id="c1", name="db", reason="gone"), set())
        recoveries.end(connection, number, error="gone", charged=True)
        assert services.unlock(connection, "engine", "shop/db", by="test", values={})
        assert services.pause(connection, "engine", "shop/db", paused=True)
        assert not recoveries.forget(connection, "engine", older_than=60.0)


def test_a_life_in_a_schema_leaves_public_empty(connect, postgres_url):
    fleet, public = connect(postgres_url, schema="fleet"), connect(postgres_url)
    schema.migrate(fleet)
    use(Grove(fleet))
    assert everything(public) == {}
    assert all(rows_of(fleet).values()), rows_of(fleet)


def test_a_life_in_a_schema_is_not_seen_in_public_nor_the_other_way_round(two):
    """Where both have the tables, a statement that forgot the schema would not even fail."""
    public, fleet = two
    before = rows_of(public.database)
    use(fleet)
    assert rows_of(public.database) == before
    assert fleet.status("coord-123", "worker-1", "queued") == ["STOPPED"] * 3
    assert fleet.status("due", "lost", "live") == ["COMPLETED", "INTERRUPTED", "PENDING"]
    in_fleet = rows_of(fleet.database)
    use(public)
    assert rows_of(fleet.database) == in_fleet
    assert rows_of(public.database) == in_fleet


def test_a_stop_and_a_sweep_stay_in_their_schema(two):
    public, fleet = two
    for grove in two:
        grove.run("coord-123")
        grove.run("worker-1", "coord-123")
        grove.silence()
    sweep.sweep_nodes(fleet.database)
    assert fleet.status("coord-123", "worker-1") == ["INTERRUPTED"] * 2
    assert public.status("coord-123", "worker-1") == ["RUNNING"] * 2
    assert fleet.stop("coord-123").stopped == ("worker-1", "coord-123")
    assert public.status("coord-123", "worker-1") == ["RUNNING"] * 2
    with public.database.read() as connection:
        assert [row.id for row in containers.find(connection, status="RUNNING")] == ["worker-1", "coord-123"]


def test_each_schema_is_a_database_of_its_own_to_messages(two):
    public, fleet = two
    assert public.database.id != fleet.database.id


def test_one_schema_goes_down_alone(two):
    public, fleet = two
    use(public)
    before = rows_of(public.database)
    schema.downgrade(fleet.database, "base")
    assert rows_of(public.database) == before
    assert schema.check(public.database) is None


def test_who_may_not_create_a_schema_uses_the_one_that_is_there(connect, postgres_url):
    """The owner of the database makes it; the role of the nodes has no rights anywhere else."""
    owner = connect(postgres_url)
    run_sql(
        owner,
        "CREATE ROLE fleet_role LOGIN PASSWORD 'x'",
        "CREATE SCHEMA fleet AUTHORIZATION fleet_role",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    )
    url = sa.make_url(postgres_url).set(username="fleet_role", password="x").render_as_string(hide_password=False)
    fleet = connect(url, schema="fleet")
    try:
        schema.migrate(fleet)
        use(Grove(fleet))
        assert everything(owner) == {}
    finally:
        fleet.dispose()
        run_sql(owner, "DROP OWNED BY fleet_role CASCADE", "DROP ROLE fleet_role")

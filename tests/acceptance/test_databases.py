"""Real nodes on a schema of their own, and on a database that a newer version has migrated."""

import pytest
import sqlalchemy as sa

from lifecycle.store import schema
from lifecycle.store.engine import Database
from tests.acceptance.scene import Scene
from tests.acceptance.world import migrate

pytestmark = pytest.mark.acceptance


def test_a_node_and_the_commands_in_a_schema_leave_public_empty(new_world, postgres):
    url = postgres.create_database("shared")
    world = new_world(database_url=url, database_schema="fleet", heartbeat=1, lease=10)
    assert world.command("migrate").stdout.split() == list(schema.revisions())
    world.start()
    scene = Scene(world)
    scene.run(scene.plan("coord-123", scene.plan("worker-1", resources=["ship:1"])))
    stopped = world.command("stop", scene.id("coord-123"), "--grace", "3")
    assert stopped.returncode == 0, stopped.stderr
    assert scene.status("worker-1", "coord-123") == ["STOPPED"] * 2
    scene.check()
    world.close()
    public = Database(url)
    with public.read() as connection:
        assert sa.inspect(connection).get_table_names(schema="public") == []
        assert sa.inspect(connection).has_table("containers", schema="fleet")
    public.dispose()


def test_a_node_runs_on_a_newer_schema_and_warns_once(new_world, sqlite_url):
    """A newer version only adds: a table, a column that may be empty, and its revision."""
    migrate(sqlite_url)
    newer = Database(sqlite_url)
    with newer.begin() as connection:
        connection.execute(sa.text("ALTER TABLE containers ADD COLUMN of_tomorrow TEXT"))
        connection.execute(sa.text("CREATE TABLE tomorrow (id INTEGER PRIMARY KEY)"))
        connection.execute(schema.version.update().values(version_num="9999"))
    newer.dispose()
    world = new_world(database_url=sqlite_url, heartbeat=1, lease=10)
    node = world.start()
    scene = Scene(world)
    scene.start(scene.plan("worker-1", kind="ANSWER", value="found"))
    assert scene.ended("worker-1").result == "found"
    assert node.log_text().count("is at revision 9999, newer than this version") == 1
    assert world.command("migrate").stdout == "already up to date\n"
    world.close()


def test_a_node_refuses_an_older_schema_and_says_what_to_run(new_world, sqlite_url):
    older = Database(sqlite_url)
    schema.migrate(older, schema.revisions()[-2])
    older.dispose()
    failed = new_world(database_url=sqlite_url).failing_start()
    assert failed.returncode == 1
    (said,) = (failed.stdout + failed.stderr).strip().splitlines()
    assert said.startswith("Error: the database sqlite:")
    assert said.endswith("; run: celery -A <app> container migrate")

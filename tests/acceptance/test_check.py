"""Each check of `container check`, by breaking what it looks at: real nodes, brokers and databases."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from celery import VERSION

from lifecycle.runtime.check import examine
from lifecycle.store import passes, schema
from lifecycle.store.clock import later
from lifecycle.store.engine import Database
from lifecycle.store.tables import nodes
from lifecycle.store.tables import passes as table
from lifecycle.trees.spawn import Birth, spawn
from tests.acceptance.world import Node, World, die_with_tests, eventually, migrate

pytestmark = pytest.mark.acceptance

ALL = ["settings", "database", "schema", "broker", "clock", "nodes", "identity", "versions", "types", "queues", "pools"]
ALL += ["passes", "prefetch", "acks_late"]
FAKE_CLOCK = "import time; real = time.time; time.time = lambda: real() - 60"
GREEDY = """
from lifecycle.runtime import hooks
hooks.DEFAULTS |= {"worker_disable_prefetch": False, "worker_prefetch_multiplier": 4}
"""
FETCHES = {
    "redis": "fetches 4 a slot before it can run them: set worker_disable_prefetch = True",
    "amqp": "fetches 4 a slot: set worker_prefetch_multiplier = 1",
}
if VERSION < (5, 6):  # Celery cannot do it on Redis either
    FETCHES["redis"] = FETCHES["amqp"]
FAKE_VERSIONS = "import celery, lifecycle; celery.__version__ = '5.0.1'; lifecycle.__version__ = '0.0.9'"


class Checked(World):
    """A world that can be checked."""

    def check(self):
        """Each check's level and message."""
        return {each.check: (str(each.level), each.message) for each in examine(self.lifecycle)}

    def finds(self, check, level, *said):
        """True once a check says so."""
        found = self.check()[check]
        return found[0] == level and all(text in found[1] for text in said)

    @contextmanager
    def node(self, name, **options):
        """One more node, for a while."""
        node = Node(self, name, **options)
        try:
            yield node
        finally:
            node.end()

    def edit_node(self, node, **values):
        with self.lifecycle.database.begin() as connection:
            connection.execute(nodes.update().where(nodes.c.id == node.row.id).values(values))


@pytest.fixture(scope="module")
def new_checked(tmp_path_factory, sqlite_template, new_place):
    """Makes worlds that each have a place of their own on the broker: strangers come to some."""
    worlds = []

    def make(database_url=None, **settings):
        folder = tmp_path_factory.mktemp("checked")
        url = database_url or f"sqlite:///{shutil.copy(sqlite_template, folder)}"
        worlds.append(Checked(folder, database_url=url, **new_place(), **settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture(scope="module")
def world(new_checked):
    """One node, with which all is well."""
    made = new_checked()
    made.main = made.start(slots=1)
    return made


def test_all_is_well(world):
    ran = world.command("check")
    assert (ran.returncode, ran.stderr) == (0, "")
    *lines, total = ran.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", name] for name in ALL]
    assert total == "14 ok"


def test_a_node_that_hangs(world):
    os.kill(world.main.pid, signal.SIGSTOP)
    try:
        level, said = world.check()["nodes"]
    finally:
        os.kill(world.main.pid, signal.SIGCONT)
    assert (level, said) == (
        "FAIL",
        f"{world.main.row.id} lives but does not answer: it hangs, or is on another broker",
    )
    eventually("it answers again", lambda: world.finds("nodes", "ok"))


def test_a_solo_node_at_work_is_no_failure(world):
    with world.node("solo", pool="solo", queues="alone") as node:
        node.wait_until_ready()
        body = world.lifecycle.start("BLOCKING", {"seconds": 60}, queue="alone")
        eventually("it works", lambda: body.refresh().node)
        found = world.check()["nodes"]
        assert found == ("warn", f"{node.row.id} does not answer: on solo it cannot while it runs a task")
        node.kill()
        world.lifecycle.stop(body.id, wait=False)  # nobody is to go on with it


def test_a_node_that_was_declared_dead(world):
    with world.node("dead") as node:
        node.wait_until_ready()

        def is_found():
            if node.row is not None:
                world.edit_node(node, dead=True)
            return world.finds("nodes", "warn", "dead@", "answers but was declared dead")

        eventually("it is found", is_found)


def test_a_worker_without_a_lifecycle(world):
    words = [sys.executable, "-m", "celery", "-b", world.env["BROKER_URL"], "worker", "-c", "1", "-n", "stranger@%h"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    stranger = subprocess.Popen(
        [*words, "-Q", "elsewhere"],
        env=world.env,
        preexec_fn=die_with_tests,  # noqa: PLW1509 - one libc call
        **quiet,
    )
    try:
        eventually("it is found", lambda: world.finds("nodes", "warn", "stranger@", "runs no Lifecycle"))
    finally:
        stranger.terminate()
        stranger.wait(30)


def test_a_node_on_another_database(world, tmp_path, sqlite_template):
    url = f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}"
    migrate(url)
    other = Database(url)
    with other.begin() as connection:
        connection.execute(sa.text("UPDATE lifecycle_identity SET id = 'another'"))
    with world.node("other", env={"LIFECYCLE_DATABASE_URL": url}):
        said = "is on another database (another): give all one lifecycle_database_url"
        eventually("it is found", lambda: world.finds("identity", "FAIL", "other@", said))
        eventually("the others are well", lambda: world.finds("nodes", "ok"))
    other.dispose()


def customized(folder, code):
    """The environment of a node whose Python begins with some code."""
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


def test_a_node_of_other_versions(world, tmp_path):
    with world.node("old", env=customized(tmp_path, FAKE_VERSIONS)):
        said = ("has celery 5.0.1, this is", "has celery-lifecycle 0.0.9, this is")
        eventually("it is found", lambda: world.finds("versions", "warn", "old@", *said))


def test_a_node_with_a_wrong_clock(world, tmp_path):
    with world.node("late", env=customized(tmp_path, FAKE_CLOCK)):
        eventually("it is found", lambda: world.finds("clock", "warn", "late@", "behind this machine's"))


@pytest.mark.postgres
def test_a_database_with_a_wrong_clock(new_checked, postgres):
    url = postgres.create_database("skewed")
    migrate(url)
    database = Database(url)
    with database.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA skewed"))
        clock = "CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ {} $$"
        connection.execute(sa.text(clock.format("SELECT pg_catalog.clock_timestamp() + interval '10 minutes'")))
        connection.execute(sa.text("ALTER DATABASE skewed SET search_path = public, skewed, pg_catalog"))
    database.dispose()
    level, said = new_checked(database_url=url).check()["clock"]
    assert level == "warn"
    assert said.startswith("the database's clock is 600.0 s ahead of this machine's")


def test_a_type_that_no_node_has(world):
    spawn(world.lifecycle.database, Birth(id="ghost", container_type="GHOST", by="test"))
    try:
        level, said = world.check()["types"]
        assert (level, said) == ("FAIL", "no node has type GHOST, of which 1 live: start one whose app has it")
    finally:
        world.lifecycle.stop("ghost")


def test_a_type_of_this_app_that_is_newer_than_all_nodes(world):
    before = list(world.main.row.types)
    world.edit_node(world.main, types=[each for each in before if each != "QUICK"])
    try:
        level, said = world.check()["types"]
        assert (level, said) == ("warn", "no node has type QUICK of this app: restart nodes that are older than it")
    finally:
        world.edit_node(world.main, types=before)


def test_a_queue_that_no_node_consumes(world):
    lost = world.lifecycle.start("QUICK", queue="nowhere")
    try:
        level, said = world.check()["queues"]
        where = "1 waiting in queue nowhere, which no node consumes: start one with -Q nowhere"
        assert (level, said) == ("FAIL", where)
    finally:
        world.lifecycle.stop(lost.id)


def test_a_node_that_was_told_to_leave_a_queue(world):
    with world.node("leaver", queues="left") as node:
        node.wait_until_ready()
        waits = world.lifecycle.start("QUICK", queue="left", countdown=600)
        assert world.check()["queues"][0] == "ok"
        world.app.control.cancel_consumer("left")
        eventually("it is found", lambda: world.finds("queues", "FAIL", "1 waiting in queue left"))
        world.lifecycle.stop(waits.id)


def test_a_pool_that_cannot_be_killed(world):
    with world.node("threads", pool="threads") as node:
        node.wait_until_ready()
        assert world.finds("pools", "warn", f"{node.row.id} is on threads: a body stops only at checkpoint()")


def test_a_node_that_fetches_more_than_it_can_run(world, tmp_path):
    with world.node("greedy", env=customized(tmp_path, GREEDY)):
        said = FETCHES[world.env["BROKER_URL"].partition(":")[0]]
        eventually("it is found", lambda: world.finds("prefetch", "warn", "greedy@", said))


def test_a_pass_that_nobody_runs(new_checked):
    world = new_checked()
    assert world.finds("passes", "ok", "sweep not yet, recover not yet, prune not yet")
    with world.lifecycle.database.begin() as connection:
        passes.begin(connection, "sweep", by="gone", at_most_every=0)
        passes.done(connection, "sweep", 0)
    assert world.finds("passes", "ok", "sweep ", " s ago, recover not yet")
    with world.lifecycle.database.begin() as connection:
        connection.execute(table.update().values(begun_at=later(table.c.begun_at, -47 * 60)))
    found = world.check()["passes"]
    assert found == ("warn", "sweep: last run 47 min ago, not every 5 min: start a node, or beat")
    world.start(slots=1)
    eventually("a node runs it", lambda: world.finds("passes", "ok", "sweep ", "recover ", "prune ", " s ago"))


def test_no_node_and_then_a_lost_one(new_checked):
    world = new_checked(heartbeat=0.5, lease=3)
    found = world.check()
    assert found["nodes"] == ("warn", "no node lives, so nothing runs: start a Celery worker of this app")
    assert {name for name, (level, _) in found.items() if level == "skip"} == {
        "identity",
        "versions",
        "types",
        "pools",
        "prefetch",
    }
    node = world.start(slots=1)
    name = node.row.id
    node.kill()
    eventually("it is found", lambda: world.finds("nodes", "FAIL", f"{name} is lost: its lease ran out"))


def test_a_schema_that_is_missing_older_or_newer(new_checked, tmp_path):
    world = new_checked(database_url=f"sqlite:///{tmp_path / 'lifecycle.db'}")
    database = world.lifecycle.database
    assert world.finds("schema", "FAIL", "has no tables yet; run: celery -A <app> container migrate")
    schema.migrate(database, schema.revisions()[-2])
    assert world.finds("schema", "FAIL", f"is at revision {schema.revisions()[-2]}, not {schema.head()}; run: celery")
    schema.migrate(database)
    assert world.finds("schema", "ok")
    with database.begin() as connection:
        connection.execute(sa.text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    assert world.finds("schema", "warn", "is at revision 9999, newer than this version")


@pytest.mark.postgres
def test_no_database(new_checked):
    world = new_checked(database_url="postgresql://me:hunter2@127.0.0.1:1/x")
    ran = world.command("check")
    assert (ran.returncode, ran.stderr) == (1, "")
    assert [line.split()[1] for line in ran.stdout.splitlines()[:-1]] == ALL
    assert "FAIL  database   the database postgresql+psycopg2://me:***@127.0.0.1:1/x cannot be used" in ran.stdout
    assert "hunter2" not in ran.stdout


def test_no_broker(new_checked):
    world = new_checked()
    world.env["BROKER_URL"] = "redis://127.0.0.1:1/0"
    ran = world.command("check", "--json")
    assert (ran.returncode, ran.stderr) == (1, "")
    found = {each["check"]: each for each in json.loads(ran.stdout)}
    assert found["broker"]["level"] == "FAIL"
    assert "redis://:**@127.0.0.1:1/0 cannot be used, so nothing new starts: " in found["broker"]["message"]
    assert [each["check"] for each in found.values() if each["level"] == "FAIL"] == ["broker"]


def test_a_broker_that_never_answers_costs_seconds(new_checked):
    world = new_checked()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        world.app.conf.broker_url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        start = time.monotonic()
        found = world.check()
    assert found["broker"][0] == "FAIL"
    assert "no answer within 5 s" in found["broker"][1]
    assert time.monotonic() - start < 15

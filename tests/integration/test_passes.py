"""Who may run a periodic pass, and the thread that runs what nobody began in time."""

import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from lifecycle.errors import StoreUnreachable
from lifecycle.runtime.page import Page
from lifecycle.runtime.passes import NAMES, Passes, periods, run
from lifecycle.settings import Settings
from lifecycle.store import passes
from lifecycle.store.clock import later
from lifecycle.store.engine import Database
from lifecycle.store.tables import passes as table
from tests.acceptance.world import eventually
from tests.integration.test_forks import in_child

SETTINGS = Settings(sweep_every=300, recover_every=60, prune_every=86_400, supervise_every=0.05)
WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def begin(database, name="sweep", by="one", at_most_every=100.0):
    with database.begin() as connection:
        return passes.begin(connection, name, by=by, at_most_every=at_most_every)


def done(database, name="sweep", found=0):
    with database.begin() as connection:
        passes.done(connection, name, found)


def last(database):
    with database.read() as connection:
        return passes.last(connection)


def put_back(database, name, seconds):
    """As if it had begun so much earlier."""
    with database.begin() as connection:
        connection.execute(
            table.update().where(table.c.name == name).values(begun_at=later(table.c.begun_at, -seconds))
        )


def row(database, name="sweep"):
    with database.read() as connection:
        return connection.execute(sa.select(table).where(table.c.name == name)).one_or_none()


# The guard


def test_the_first_may_begin_and_the_second_may_not(database):
    assert [begin(database, by=by) for by in ("one", "two")] == [True, False]
    assert row(database).ran_by == "one"


def test_each_pass_has_a_guard_of_its_own(database):
    assert begin(database, "sweep")
    assert begin(database, "prune")


@pytest.mark.parametrize(("seconds", "may"), [(90, False), (110, True)])
def test_time_opens_the_guard(database, seconds, may):
    begin(database)
    put_back(database, "sweep", seconds)
    before = row(database).begun_at
    assert begin(database, by="two") is may
    assert row(database).ran_by == ("two" if may else "one")
    assert (row(database).begun_at > before) is may
    assert not begin(database, by="three")


def test_it_may_always_be_run_by_hand(database):
    assert begin(database)
    assert begin(database, by="hand", at_most_every=0)


def test_a_transaction_that_fails_has_begun_nothing(database):
    with database.engine.connect() as connection, connection.begin() as transaction:
        assert passes.begin(connection, "sweep", by="one", at_most_every=100)
        transaction.rollback()
    assert begin(database, by="two")


def test_what_was_found_is_counted(database):
    for found in (3, 4):
        begin(database, at_most_every=0)
        done(database, found=found)
    ran = row(database)
    assert (ran.found, ran.runs, ran.total_found) == (4, 2, 7)
    assert ran.ended_at >= ran.begun_at


def test_the_time_since_each_began(database):
    begin(database)
    begin(database, "prune")
    put_back(database, "prune", 5_000)
    found = last(database)
    assert set(found) == {"sweep", "prune"}
    assert 0 <= found["sweep"] < 1_000
    assert 5_000 <= found["prune"] < 6_000


def test_the_end_is_that_of_the_last_that_came_to_one(database):
    begin(database)
    with database.read() as connection:
        assert passes.runs(connection)["sweep"].ended is None
    done(database)
    put_back(database, "sweep", 200)
    begin(database, by="two")
    with database.read() as connection:
        found = passes.runs(connection)["sweep"]
    assert found.ended >= found.begun


def test_of_many_at_once_one_begins(database):
    with ThreadPoolExecutor(8) as pool:
        began = list(pool.map(lambda number: begin(database, by=str(number)), range(16)))
    assert sum(began) == 1


@pytest.mark.postgres
@pytest.mark.parametrize("ran_before", [True, False])
@pytest.mark.parametrize("commits", [True, False])
def test_one_that_waits_for_another_begins_only_if_that_fails(postgres_database, ran_before, commits):
    database = postgres_database
    if ran_before:
        begin(database, by="before")
        put_back(database, "sweep", 1_000)
    with ThreadPoolExecutor(1) as pool, database.engine.connect() as first:
        transaction = first.begin()
        assert passes.begin(first, "sweep", by="one", at_most_every=100)
        second = pool.submit(begin, database, by="two")
        eventually("the second waits", lambda: waiting(database) or second.done())
        assert not second.done()
        if commits:
            transaction.commit()
        else:
            transaction.rollback()
        assert second.result() is not commits
    assert row(database).ran_by == ("one" if commits else "two")


def waiting(database):
    with database.read() as connection:
        return connection.execute(sa.text(WAITING)).scalar()


@pytest.mark.postgres
def test_a_schema_of_its_own(postgres_database):
    with postgres_database.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA aside"))
        connection.execute(sa.text("CREATE TABLE aside.passes (LIKE public.passes INCLUDING ALL)"))
    aside = Database(postgres_database.url.render_as_string(hide_password=False), schema="aside")
    try:
        assert [begin(aside), begin(aside)] == [True, False]
        put_back(aside, "sweep", 1_000)
        assert begin(aside)
        assert row(postgres_database) is None
    finally:
        aside.dispose()
        with postgres_database.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA aside CASCADE"))


# A run


class Work:
    """A stand-in for the passes: what ran, and what each is to do."""

    def __init__(self):
        self.ran, self.does = [], dict.fromkeys(NAMES, lambda: None)

    def calls(self):
        return {name: lambda name=name: self.call(name) for name in NAMES}

    def call(self, name):
        self.ran.append(name)
        self.does[name]()
        return SimpleNamespace(found=2)


@pytest.fixture
def work():
    return Work()


def test_a_run_tells_what_it_found(database, work):
    ran = [run(database, "sweep", work.calls()["sweep"], by=by, at_most_every=100) for by in ("one", "two")]
    assert ran == [2, None]
    assert work.ran == ["sweep"]
    assert (row(database).runs, row(database).found) == (1, 2)


def test_a_run_holds_no_transaction_while_it_works(database, work):
    work.does["sweep"] = lambda: begin(database, "prune")
    assert run(database, "sweep", work.calls()["sweep"], by="one", at_most_every=100) == 2


def test_a_run_that_fails_has_begun_but_not_ended(database, work):
    work.does["sweep"] = raising(RuntimeError("broken"))
    with pytest.raises(RuntimeError):
        run(database, "sweep", work.calls()["sweep"], by="one", at_most_every=100)
    assert (row(database).runs, row(database).ended_at) == (0, None)
    assert not begin(database, by="two")


def raising(error):
    def work():
        raise error

    return work


# A node's thread


def new(database, work, node="node-1", settings=SETTINGS):
    page = Page()
    page.node = node
    return Passes(database, page, settings, work.calls())


@contextmanager
def running(node):
    node.start()
    try:
        yield node
    finally:
        node.stop()


def begun(database, **ago):
    """Passes that began so many seconds ago, on some other node."""
    for name in NAMES:
        begin(database, name, by="other", at_most_every=0)
        put_back(database, name, ago.get(name, 0))


def test_the_periods_are_those_of_the_settings():
    assert periods(SETTINGS) == {"sweep": 300, "recover": 60, "prune": 86_400}


def test_a_node_runs_what_never_ran(database, work):
    with running(new(database, work)):
        eventually("all ran", lambda: len(work.ran) == 3)
    assert sorted(work.ran) == sorted(NAMES)
    assert {row(database, name).ran_by for name in NAMES} == {"node-1"}


@pytest.mark.parametrize(("seconds", "runs"), [(20, []), (40, ["recover"])])
def test_recover_runs_at_the_start_of_a_node_but_once_for_many(database, work, seconds, runs):
    begun(database, recover=seconds)
    nodes = [new(database, work, node=f"node-{number}") for number in (1, 2)]
    for node in nodes:
        node._look()
    assert work.ran == runs
    for node in nodes:
        node._look()
    assert work.ran == runs


@pytest.mark.parametrize(("periods", "runs"), [(1.45, []), (1.55, ["sweep", "recover", "prune"])])
def test_a_node_runs_what_nobody_began_for_a_period_and_a_half(database, work, periods, runs):
    node = new(database, work)
    begun(database)
    node._look()
    begun(database, sweep=300 * periods, recover=60 * periods, prune=86_400 * periods)
    node._soon.clear()
    node._look()
    assert work.ran == runs


def test_of_two_nodes_that_see_it_overdue_one_runs_it(database, work):
    begun(database, sweep=10_000)
    nodes = [new(database, work, node=f"node-{number}") for number in range(4)]
    together = threading.Barrier(4)

    def look(node):
        together.wait(10)
        node._look()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, nodes))
    assert work.ran == ["sweep"]


def test_one_that_saw_it_overdue_too_late_runs_nothing(database, work):
    begun(database)
    assert new(database, work)._look_after("sweep", math.inf) == 450
    assert work.ran == []


def test_a_node_sleeps_until_something_may_be_overdue(database, work):
    node = new(database, work)
    begun(database, sweep=440, recover=10)
    node._soon.clear()
    assert 0 < node._look() <= 10
    begun(database, sweep=10, recover=10)
    assert 70 < node._look() <= 80
    assert work.ran == []


@pytest.mark.parametrize(("seconds", "pause"), [(0, 0.05), (20, 20), (80, 60), (math.inf, 60)])
def test_a_node_sleeps_neither_too_long_nor_too_short(database, work, seconds, pause):
    assert new(database, work)._pause(seconds) == pause


def test_a_pass_that_fails_is_told_once_and_tried_again_and_the_others_go_on(database, work, caplog):
    settings = Settings(sweep_every=0.2, recover_every=0.2, prune_every=86_400, supervise_every=0.02)
    work.does["sweep"] = raising(StoreUnreachable("the database is away"))
    with caplog.at_level(logging.INFO, "lifecycle.passes"), running(new(database, work, settings=settings)):
        eventually("tried again", lambda: work.ran.count("sweep") > 2)
        eventually("others went on", lambda: work.ran.count("recover") > 2)
        work.does["sweep"] = lambda: None
        eventually("it ran", lambda: "sweep runs again" in caplog.text)
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in told] == [
        "sweep failed node=node-1 error=the database is away",
        "sweep runs again node=node-1",
    ]
    assert not told[0].exc_info


def test_what_failed_is_due_again_after_half_a_period(database, work):
    node = new(database, work)
    begun(database, sweep=1_000)
    work.does["sweep"] = raising(RuntimeError("broken"))
    assert node._look() == 0
    work.does["sweep"] = lambda: None
    assert node._look() <= 150
    put_back(database, "sweep", 150)
    node._look()
    assert work.ran == ["sweep", "sweep"]
    put_back(database, "sweep", 150)
    node._look()
    assert work.ran == ["sweep", "sweep"]


def test_a_database_that_is_away_is_told_once(work, tmp_path, caplog):
    database = Database(f"sqlite:///{tmp_path / 'nowhere' / 'lifecycle.db'}")
    node = new(database, work)
    assert [node._look(), node._look()] == [0, 0]
    assert caplog.text.count("passes not looked at") == 1
    assert work.ran == []
    database.dispose()


def test_a_node_that_stops_begins_nothing(database, work):
    node = new(database, work)
    node.stop()
    node._look()
    assert work.ran == []


def test_a_node_that_sleeps_stops_at_once(database, work):
    begun(database, recover=40)
    node = new(database, work)
    with running(node):
        eventually("it sleeps", lambda: not node._soon)
        assert "lifecycle-passes" in threads()
    assert "lifecycle-passes" not in threads()


def test_no_pool_child_is_made_while_a_pass_is_inside_the_brokers_client(database, work, monkeypatch):
    """As the dispatcher's: the child would inherit the locks that the client holds just then."""
    monkeypatch.setattr("lifecycle.runtime.passes.FORK_WAITS", 10.0)
    inside, over = threading.Event(), threading.Event()

    def rings():
        inside.set()
        over.wait(10)

    work.does["recover"] = rings
    begun(database, recover=40)
    with running(new(database, work)):
        assert inside.wait(10)
        threading.Timer(0.2, over.set).start()
        assert in_child(over.is_set)


def threads():
    return [thread.name for thread in threading.enumerate()]

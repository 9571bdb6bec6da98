"""Retention: what ended long ago goes, leaves first; what lives, and whatever is above a row that stays, stays."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from lifecycle.domain.ending import completed
from lifecycle.errors import InvalidArgument, StoreUnreachable
from lifecycle.store import logs, prunes, stops
from lifecycle.store.clock import later
from lifecycle.store.engine import Database
from lifecycle.store.tables import assignments, container_logs, containers, metadata, nodes, quarantines
from lifecycle.trees.prune import Pruned, preview, prune
from tests.integration.conftest import Grove
from tests.integration.test_queries import plans_of, scans

DAY = 86_400.0
LIMIT = 14 * DAY
OLD, YOUNG = 20 * DAY, 10 * DAY  # seconds ago
OF_A_CONTAINER = ("transitions", "stops", "container_tags", "assignments", "container_logs")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """The pauses asked for, not made."""
    asked = []
    monkeypatch.setattr("lifecycle.trees.prune.time", SimpleNamespace(monotonic=time.monotonic, sleep=asked.append))
    return asked


def age(grove, *container_ids, by=OLD):
    """As if they had ended so many seconds earlier, in the same order."""
    c = containers.c
    with grove.database.begin() as connection:
        earlier = {"stopped_at": later(c.stopped_at, -by), "updated_at": later(c.updated_at, -by)}
        connection.execute(containers.update().where(c.id.in_(container_ids)).values(earlier))


def ended(grove, container_id, parent=None, *, by=OLD, **values):
    grove.run(container_id, parent, **values)
    grove.end(container_id)
    age(grove, container_id, by=by)


def plant_ended(grove, *rows, seconds_ago=OLD):
    """Rows as (id, parent), all ended at the same moment."""
    parents = dict(rows)
    with grove.database.read() as connection:
        at = prunes.time_before(connection, seconds_ago)
    grove.plant(
        {"id": each, "root_id": each, "parent_container_id": parents[each], "status": "COMPLETED", "stopped_at": at}
        for each in parents
    )


def chain(depth, prefix="link"):
    names = [f"{prefix}-{number}" for number in range(depth)]
    return list(zip(names, [None, *names], strict=False))


def left(grove):
    with grove.database.read() as connection:
        return set(connection.execute(sa.select(containers.c.id)).scalars())


def counts(grove):
    with grove.database.read() as connection:
        query = sa.select(sa.func.count())
        return {name: connection.execute(query.select_from(table)).scalar() for name, table in metadata.tables.items()}


def pruned(grove, **how):
    """What a prune did, which a preview has told before without doing it."""
    before = counts(grove)
    told = preview(grove.database, older_than=LIMIT)
    assert counts(grove) == before
    done = prune(grove.database, older_than=LIMIT, **how)
    assert done == told
    return done


# Which containers


def test_only_what_ended_long_ago_goes(grove):
    ended(grove, "old")
    ended(grove, "young", by=YOUNG)
    grove.run("runs")
    grove.spawn("waits")
    grove.run("stops")
    grove.mark("stops")
    for live in ("runs", "waits", "stops"):
        grove.edit(live, created_at=grove.get("old").created_at, updated_at=grove.get("old").stopped_at)
    assert pruned(grove) == Pruned(containers=1)
    assert left(grove) == {"young", "runs", "waits", "stops"}
    assert pruned(grove) == Pruned()


def test_everything_of_a_container_goes_with_it(grove):
    ended(grove, "old", tags={"a": "b"}, resources=("ship:1",))
    write(grove, "old", OLD, "last words")
    grove.stop("old")
    assert all(counts(grove)[table] for table in OF_A_CONTAINER)
    assert pruned(grove) == Pruned(containers=1)
    assert not any(counts(grove)[table] for table in OF_A_CONTAINER)


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_a_chain_goes_in_one_call(grove, batch):
    """Also where all have ended in the same moment, and parents come first by their ids."""
    grove.run("top")
    plant_ended(grove, ("link", "top"), *[(each, parent or "link") for each, parent in chain(5)])
    assert pruned(grove, batch=batch) == Pruned(containers=6)
    assert left(grove) == {"top"}


def test_a_chain_that_fits_in_a_batch_goes_in_one_batch(grove):
    plant_ended(grove, *chain(5))
    told = []
    pruned(grove, on_batch=told.append)
    assert told == [5]


def test_a_chain_that_ended_as_chains_do_goes_in_one_way(grove):
    for name, parent in chain(3):
        grove.run(name, parent)
    for name, _ in reversed(chain(3)):
        grove.end(name)
    for depth, (name, _) in enumerate(chain(3)):
        age(grove, name, by=OLD + depth)
    told = []
    assert pruned(grove, batch=1, on_batch=told.append) == Pruned(containers=3)
    assert told == [1, 1, 1]


def test_no_more_rows_than_a_batch_are_held_at_once(grove):
    plant_ended(grove, *((f"old-{number}", None) for number in range(10)))
    told = []
    assert pruned(grove, batch=4, on_batch=told.append) == Pruned(containers=10)
    assert told == [4, 4, 2]


def test_after_each_batch_it_pauses(grove, no_pauses):
    plant_ended(grove, *((f"old-{number}", None) for number in range(4)))
    pruned(grove, batch=2)
    assert len(no_pauses) == 2
    assert all(pause > 0 for pause in no_pauses)


def test_under_a_live_parent(grove):
    grove.run("coord-123")
    ended(grove, "worker-1", "coord-123")
    grove.run("worker-2", "coord-123")
    assert pruned(grove) == Pruned(containers=1)
    assert grove.children("coord-123") == ["worker-2"]


@pytest.mark.parametrize("status", ["RUNNING", "INTERRUPTED", "STOPPING"])
def test_a_live_descendant_keeps_its_ancestors(grove, status):
    plant_ended(grove, *chain(3), ("link-other", "link-0"))
    grove.plant([{"id": "alive", "root_id": "link-0", "parent_container_id": "link-2", "status": status}])
    assert pruned(grove) == Pruned(containers=1)
    assert left(grove) == {"link-0", "link-1", "link-2", "alive"}
    grove.edit("alive", status="COMPLETED", stopped_at=grove.get("link-0").stopped_at)
    assert pruned(grove, batch=1) == Pruned(containers=4)


def test_a_young_child_keeps_its_old_parent(grove):
    plant_ended(grove, *chain(2))
    plant_ended(grove, ("young", "link-1"), ("another", "young"), seconds_ago=YOUNG)
    assert pruned(grove) == Pruned()
    assert len(left(grove)) == 4


def test_a_detached_child_keeps_its_parent_until_it_is_old_itself(grove):
    grove.run("coord-123")
    grove.run("apart", "coord-123", detached=True)
    grove.end("coord-123")
    age(grove, "coord-123")
    assert pruned(grove) == Pruned()
    grove.end("apart")
    assert grove.get("apart").stopped_at > grove.get("coord-123").stopped_at
    age(grove, "apart")
    assert pruned(grove, batch=1) == Pruned(containers=2)


def test_what_a_hand_ended_without_a_time_goes_by_its_last_change(grove):
    plant_ended(grove, ("parent", None), ("old", "parent"))
    plant_ended(grove, ("another", None), ("young", "another"))
    grove.edit("old", stopped_at=None, updated_at=grove.get("old").stopped_at)
    grove.edit("young", stopped_at=None)
    assert pruned(grove, batch=1) == Pruned(containers=2)
    assert left(grove) == {"another", "young"}


def test_what_a_hand_ended_stays_while_a_living_node_may_run_it(grove):
    long_ago = ended_long_ago(grove)
    grove.run("worker-1")
    grove.edit("worker-1", status="STOPPED", updated_at=long_ago)
    assert pruned(grove) == Pruned()
    bury(grove, "node-1", 0)
    assert pruned(grove) == Pruned(containers=1)


def ended_long_ago(grove, by=OLD):
    with grove.database.read() as connection:
        return prunes.time_before(connection, by)


def test_the_time_is_that_of_the_database(grove):
    ended(grove, "old", by=100)
    assert prune(grove.database, older_than=110) == Pruned()
    assert prune(grove.database, older_than=90) == Pruned(containers=1)


@pytest.mark.parametrize("call", [prune, preview])
@pytest.mark.parametrize("older_than", [-1, float("nan"), float("inf"), None, "14d"])
def test_a_time_that_is_none_is_refused(grove, call, older_than):
    ended(grove, "old")
    with pytest.raises(InvalidArgument, match="older_than is a number of seconds"):
        call(grove.database, older_than=older_than)
    assert left(grove) == {"old"}


# Everything else


def write(grove, container_id, seconds_ago, message):
    with grove.database.begin() as connection:
        at = prunes.time_before(connection, seconds_ago)
        about = {"epoch": 1, "at": at, "level": "INFO", "logger": "test", "count": 1}
        logs.append(connection, [{"container_id": container_id, "message": message, **about}])


def lines(grove):
    with grove.database.read() as connection:
        return list(
            connection.execute(sa.select(container_logs.c.message).order_by(container_logs.c.message)).scalars()
        )


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_old_lines_of_what_stays_go(grove, batch):
    grove.run("coord-123")
    ended(grove, "young", by=YOUNG)
    ended(grove, "old")
    for number in range(3):
        write(grove, "coord-123", OLD, f"old {number}")
    write(grove, "young", OLD, "old 4")
    write(grove, "old", OLD, "goes with its container")
    write(grove, "coord-123", YOUNG, "young")
    assert pruned(grove, batch=batch) == Pruned(containers=1, log_lines=4)
    assert lines(grove) == ["young"]
    assert grove.history("coord-123") == ["PENDING", "RUNNING"]


def test_the_way_through_the_log_ends_where_it_is_young(grove, seen):
    grove.run("coord-123")
    for number in range(9):
        write(grove, "coord-123", YOUNG, f"young {number}")
    seen.clear()
    prune(grove.database, older_than=LIMIT, batch=3)
    assert len([each for each in seen if each.startswith("SELECT container_logs")]) == 1


@pytest.fixture
def seen(database):
    statements = []

    def note(_connection, _cursor, statement, *_):
        statements.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    return statements


@pytest.mark.parametrize("batch", [1, 500])
def test_nodes_that_died_long_ago_go(grove, batch):
    grove.run("coord-123")
    ended(grove, "young", by=YOUNG)
    for node, seconds_ago in {"old-1": OLD, "old-2": OLD, "young": YOUNG, "node-1": OLD}.items():
        if node != "node-1":
            grove.register(node)
        bury(grove, node, seconds_ago)
    grove.register("alive")
    grove.edit("young", node="old-1")
    with grove.database.begin() as connection:
        connection.execute(nodes.update().where(nodes.c.id == "old-2").values(dead_at=None))
        connection.execute(nodes.update().where(nodes.c.id == "alive").values(expires_at=ended_long_ago(grove)))
    assert pruned(grove, batch=batch) == Pruned(nodes=2)
    with grove.database.read() as connection:
        assert set(connection.execute(sa.select(nodes.c.id)).scalars()) == {"node-1", "young", "alive"}


def bury(grove, node, seconds_ago):
    at = ended_long_ago(grove, seconds_ago)
    with grove.database.begin() as connection:
        died = {"dead": True, "dead_at": at, "expires_at": at}
        connection.execute(nodes.update().where(nodes.c.id == node).values(died))


@pytest.mark.parametrize("batch", [1, 500])
def test_quarantines_of_long_ago_go(grove, batch):
    seconds_ago = {"ship:1": OLD, "ship:2": OLD, "ship:3": YOUNG}
    with grove.database.begin() as connection:
        for resource, seconds in seconds_ago.items():
            at = prunes.time_before(connection, seconds)
            about = {"resource": resource, "error": "engine broke", "failures": 3, "failed_at": at}
            connection.execute(quarantines.insert().values(about))
    assert pruned(grove, batch=batch) == Pruned(quarantines=2)
    with grove.database.read() as connection:
        assert list(connection.execute(sa.select(quarantines.c.resource)).scalars()) == ["ship:3"]


def test_one_event_tells_what_went(grove, caplog):
    ended(grove, "old")
    with caplog.at_level(logging.INFO, logger="lifecycle.prune"):
        preview(grove.database, older_than=LIMIT)
        prune(grove.database, older_than=LIMIT)
    (event,) = caplog.records
    assert event.message.startswith("pruned containers=1 log_lines=0 nodes=0 quarantines=0 before=20")


def test_what_was_found_is_all_of_it():
    assert Pruned(containers=1, log_lines=2, nodes=3, quarantines=4).found == 10


# What each statement reads

HISTORY = 20_000


@pytest.fixture
def forest(grove):
    """A live parent with a long history, and a long log."""
    grove.run("coord-123")
    plant_ended(grove, *((f"old-{number}", "coord-123") for number in range(HISTORY)))
    with grove.database.begin() as connection:
        at = prunes.time_before(connection, OLD)
        about = {"container_id": "coord-123", "epoch": 1, "at": at, "level": "INFO", "logger": "test", "message": "old"}
        connection.execute(container_logs.insert(), [about] * HISTORY)
        connection.execute(sa.text("ANALYZE"))
    return grove


def test_a_batch_is_found_by_an_index(forest):
    before = ended_long_ago(forest, LIMIT)

    def batch(connection):  # small: to find one row in forty, PostgreSQL 15 reads them all
        prunes.take(connection, before, after=prunes.UNDATED, limit=100)
        prunes.delete(connection, prunes.take(connection, before, after=prunes.OLDEST, limit=100))
        prunes.delete_lines(connection, before, after=0, limit=100)

    undated, dated, _changes, _stops, leaves, containers_gone, old, lines_gone = plans_of(forest.database, batch)
    assert "idx_containers_ended" in undated
    assert "idx_containers_ended" in dated
    assert "idx_containers_parent_player" in leaves
    for plan in (undated, dated, leaves, containers_gone):
        assert not scans(plan), plan
    for plan in (old, lines_gone):
        assert "Seq Scan" not in plan, plan
        assert plan != "SCAN container_logs", plan


def test_the_report_of_another_stop_reads_no_history(forest):
    """A planner takes each parent to have as many children as the only one it knows."""
    forest.run("lone")
    plans = plans_of(forest.database, lambda on: stops.ended_below(on, 1, "lone"))
    assert not any(scans(plan) for plan in plans), plans


# What else goes on


def test_a_stop_and_spawns_between_two_batches(grove):
    grove.run("coord-123")
    plant_ended(grove, *((f"old-{number}", "coord-123") for number in range(6)))
    reports = []

    def meanwhile(_gone):
        if reports:
            return
        execution = grove.get("coord-123")
        grove.spawn("worker-1", execution)
        grove.claim("worker-1")
        grove.end("worker-1")
        grove.spawn("worker-2", execution)
        reports.append(grove.stop("coord-123", wait=False))

    assert prune(grove.database, older_than=LIMIT, batch=2, on_batch=meanwhile) == Pruned(containers=6)
    assert reports[0].stopped == ("worker-2",)
    grove.end("coord-123", completed())
    assert grove.status("coord-123", "worker-1", "worker-2") == ["COMPLETED", "COMPLETED", "STOPPED"]


@pytest.mark.postgres
def test_a_stop_while_a_batch_is_open(postgres_grove, pool):
    grove = postgres_grove
    grove.run("coord-123")
    grove.spawn("worker-1", "coord-123")
    plant_ended(grove, *((f"old-{number}", "coord-123") for number in range(4)))
    with open_batch(grove, 2):
        report = pool.submit(grove.stop, "coord-123", wait=False).result(timeout=10)
        assert report.stopped == ("worker-1",)
        assert len(report.already_ended) == 4
    assert left(grove) == {"coord-123", "worker-1", "old-2", "old-3"}


@pytest.mark.postgres
def test_two_prunes_share_what_is_old(postgres_grove, pool):
    grove = postgres_grove
    plant_ended(grove, ("z-parent", None), *((f"old-{number}", "z-parent") for number in range(4)))
    for number in range(4):
        write(grove, "z-parent", OLD, f"old {number}")
    with open_batch(grove, 2) as gone:
        other = pool.submit(prune, grove.database, older_than=LIMIT).result(timeout=10)
    assert (gone, other.containers) == (2, 2)
    assert left(grove) == {"z-parent"}
    assert prune(grove.database, older_than=LIMIT) == Pruned(containers=1)


@pytest.mark.postgres
def test_two_prunes_share_lines_nodes_and_quarantines(postgres_grove, pool):
    grove = postgres_grove
    grove.run("coord-123")
    for number in range(4):
        write(grove, "coord-123", OLD, f"old {number}")
        grove.register(f"dead-{number}")
        bury(grove, f"dead-{number}", OLD)
    before = ended_long_ago(grove, LIMIT)
    with grove.database.begin() as connection:
        mine = (
            prunes.delete_lines(connection, before, after=0, limit=2)[0],
            prunes.delete_nodes(connection, before, limit=2),
        )
        other = pool.submit(prune, grove.database, older_than=LIMIT).result(timeout=10)
    assert mine == (2, 2)
    assert (other.log_lines, other.nodes) == (2, 2)


@pytest.mark.postgres
def test_a_row_that_is_just_born_under_an_ended_parent_is_not_waited_for(postgres_grove, pool):
    """Only a hand records one there: spawns are refused."""
    grove = postgres_grove
    plant_ended(grove, ("parent", None), ("old", None))
    at = grove.get("old").stopped_at
    row = {"root_id": "x", "container_type": "WORK", "status": "PENDING", "created_at": at, "updated_at": at}
    with grove.database.begin() as connection:
        connection.execute(containers.insert().values(id="child", parent_container_id="parent", **row))
        assert pool.submit(prune, grove.database, older_than=LIMIT).result(timeout=10) == Pruned(containers=1)
    assert left(grove) == {"parent", "child"}


@pytest.mark.postgres
def test_it_does_not_wait_for_ever_for_a_transaction_left_open(migrated_url, postgres_database):
    hasty = Grove(Database(migrated_url, busy_timeout=0.3))
    ended(hasty, "old", resources=("ship:1",))
    with hasty.database.begin() as connection:
        connection.execute(assignments.update().values(released_why="by hand"))
        with pytest.raises(StoreUnreachable, match="another transaction was in the way, try again"):
            prune(hasty.database, older_than=LIMIT)
    assert prune(hasty.database, older_than=LIMIT) == Pruned(containers=1)
    hasty.database.dispose()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as threads:
        yield threads


@contextmanager
def open_batch(grove, limit):
    """The first batch of a prune, before its commit."""
    before = ended_long_ago(grove, LIMIT)
    with grove.database.begin() as connection:
        yield prunes.delete(connection, prunes.take(connection, before, after=prunes.OLDEST, limit=limit))

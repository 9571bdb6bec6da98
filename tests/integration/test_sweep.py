"""The orphan detector: what it takes, what it never takes, and what it costs. On both databases."""

import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from lifecycle.domain.ending import stopped
from lifecycle.store import assignments, marks, orphans
from lifecycle.store.tables import containers, stops
from lifecycle.trees import sweep

ORPHANED = "Orphaned worker - parent stopped"
BY_CASCADE = "Stopped via cascade (parent container stopped)"
LONG_AGO = datetime(2025, 11, 24, 10, tzinfo=UTC)
MANY = 2_500

SEEDS_QUERY = """
    SELECT w.id FROM containers w
    LEFT JOIN containers c ON w.parent_container_id = c.id
    WHERE w.status = 'RUNNING' AND (c.id IS NULL OR c.status != 'RUNNING') ORDER BY w.id
"""


# What is no orphan


def a_root_that_runs(grove):
    grove.run("root")


def a_root_that_waits(grove):
    grove.spawn("root")
    grove.edit("root", created_at=LONG_AGO, dispatched_at=LONG_AGO)


def a_root_that_is_interrupted(grove):
    grove.run("root")
    grove.lose("root")


def children_of_one_that_runs(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.spawn("worker-2", "coord-123")
    grove.edit("worker-2", created_at=LONG_AGO, dispatched_at=LONG_AGO)


def children_of_one_that_waits_for_them(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.run("worker-2", "coord-123")
    grove.lose("worker-2")
    grove.end("coord-123")


def children_of_one_that_sleeps(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.rest("coord-123")


def children_of_one_that_is_interrupted(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.spawn("worker-2", "coord-123")
    grove.lose("coord-123")


def children_of_one_that_is_interrupted_and_waits_for_its_turn(grove):
    """An earlier run's: they go on beside it."""
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.rest("coord-123", seconds=0)
    grove.claim("coord-123")
    grove.interrupt("coord-123")
    grove.recover()
    assert grove.status("coord-123", "worker-1") == ["PENDING", "RUNNING"]


def detached_children_of_one_that_ended(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123", detached=True)
    grove.run("part-1", "worker-1")
    grove.end("coord-123")


def a_tree_that_is_being_stopped(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.mark("coord-123")
    grove.edit("coord-123", status="STOPPED", node=None)


def one_that_could_not_be_stopped(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.mark("coord-123")
    grove.give_up("worker-1")
    grove.end("coord-123", stopped())
    assert grove.status("coord-123", "worker-1") == ["STOPPED", "STOPPING"]


SPARED = [
    a_root_that_runs,
    a_root_that_waits,
    a_root_that_is_interrupted,
    children_of_one_that_runs,
    children_of_one_that_waits_for_them,
    children_of_one_that_sleeps,
    children_of_one_that_is_interrupted,
    children_of_one_that_is_interrupted_and_waits_for_its_turn,
    detached_children_of_one_that_ended,
    a_tree_that_is_being_stopped,
    one_that_could_not_be_stopped,
]


@pytest.mark.parametrize("spared", SPARED, ids=lambda made: made.__name__)
def test_never_taken(grove, spared):
    spared(grove)
    before = everything(grove)
    assert grove.sweep() == sweep.preview(grove.database) == sweep.Swept()
    assert everything(grove) == before


def test_the_seeds_query_took_every_root_and_what_recovery_was_to_keep(grove):
    """Its two faults, as its own words have them: no parent at all, and a parent that is only interrupted."""
    children_of_one_that_is_interrupted(grove)
    grove.run("fleet-worker")
    with grove.database.read() as connection:
        assert list(connection.execute(sa.text(SEEDS_QUERY)).scalars()) == ["fleet-worker", "worker-1"]
    grove.sweep()
    assert grove.status("fleet-worker", "worker-1", "coord-123") == ["RUNNING", "RUNNING", "INTERRUPTED"]


# What becomes of an orphan


@pytest.mark.parametrize("ended", ["COMPLETED", "FAILED", "STOPPED"])
def test_what_runs_nowhere_is_stopped_at_once_with_all_below(grove, ended, caplog):
    orphaned = ("worker-1", "part-1", "piece-1")
    for parent, container_id in zip(("coord-123", *orphaned), orphaned, strict=False):
        if parent == "coord-123":
            grove.run(parent)
        grove.run(container_id, parent, resources=(f"ship:{container_id}",))
    for container_id in orphaned:
        grove.rest(container_id)
    grove.edit("coord-123", status=ended, node=None)
    with caplog.at_level(logging.INFO, "lifecycle"):
        assert grove.sweep().orphans == ("worker-1",)
    told = [(row.status, row.exit_code, row.exit_message, row.stop_by) for row in map(grove.get, orphaned)]
    assert told == [("STOPPED", 143, message, "sweep") for message in (ORPHANED, BY_CASCADE, BY_CASCADE)]
    assert all(row.stop_reason for row in map(grove.get, orphaned))
    assert grove.held() == {}
    assert sorted(grove.doorbell.told) == sorted(orphaned)
    assert (grove.status("coord-123"), grove.history("coord-123")) == (ended, ["PENDING", "RUNNING"])
    assert [record.getMessage() for record in caplog.records] == [
        "Detected orphaned worker worker-1, cleaning up parent=coord-123",
        "Cleaned up 1 orphaned workers",
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert grove.sweep() == sweep.Swept()


def test_one_that_waits_to_be_run_is_taken_for_its_parent_not_for_waiting(grove):
    grove.run("coord-123")
    grove.spawn("worker-1", "coord-123")
    grove.edit("coord-123", status="STOPPED", node=None)
    assert grove.sweep().orphans == ("worker-1",)
    assert (grove.status("worker-1"), grove.get("worker-1").exit_message) == ("STOPPED", ORPHANED)
    assert grove.claim("worker-1") is None


def test_an_interrupted_orphan_is_stopped_and_does_not_go_on(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.lose("worker-1")
    grove.edit("coord-123", status="COMPLETED", node=None)
    assert grove.sweep().orphans == ("worker-1",)
    assert grove.status("worker-1") == "STOPPED"


def test_what_runs_on_a_living_node_gets_a_stop_with_its_grace(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123", grace=7.0, resources=("ship:1",))
    grove.run("part-1", "worker-1", grace=9.0)
    grove.edit("coord-123", status="COMPLETED", node=None)
    grove.sweep()
    worker, part = grove.get("worker-1"), grove.get("part-1")
    assert [row.status for row in (worker, part)] == ["STOPPING"] * 2
    with grove.database.read() as connection:
        asked_at = connection.execute(sa.select(stops.c.requested_at)).scalar_one()
    assert [(row.stop_deadline - asked_at).total_seconds() for row in (worker, part)] == [9.0, 9.0]
    assert grove.held() == {"ship:1": "worker-1"}
    grove.end("part-1", stopped())
    grove.end("worker-1", stopped())
    assert [grove.get(name).exit_message for name in ("worker-1", "part-1")] == [ORPHANED, BY_CASCADE]
    assert grove.held() == {}


def test_nodes_are_rung_for_orphans_that_run_and_only_then(grove, monkeypatch):
    rung = []
    monkeypatch.setattr(grove.doorbell, "ring", lambda *where: rung.append(where))
    grove.run("coord-123")
    grove.spawn("worker-1", "coord-123")
    grove.edit("coord-123", status="COMPLETED", node=None)
    grove.sweep()
    assert rung == []
    grove.edit("coord-123", status="RUNNING", node=grove.node)
    grove.run("worker-2", "coord-123")
    grove.edit("coord-123", status="COMPLETED", node=None)
    grove.sweep()
    assert rung == [("coord-123", 1)]


def test_orphans_on_several_levels_of_several_trees_are_one_stop(grove):
    """An orphan under another one's tree goes with it, and is told that it lost its own parent."""
    for n in (1, 2):
        for parent, name in ((None, "coord"), ("coord", "worker"), ("worker", "part"), ("part", "piece")):
            grove.run(f"{name}-{n}", parent and f"{parent}-{n}")
    grove.edit("coord-1", status="COMPLETED", node=None)
    grove.edit("part-1", status="FAILED", node=None)
    grove.edit("worker-2", status="STOPPED", node=None)
    grove.silence()
    sweep.sweep_nodes(grove.database)
    assert set(grove.sweep().orphans) == {"worker-1", "piece-1", "part-2"}
    assert {name: grove.get(name).exit_message for name in ("worker-1", "piece-1", "part-2", "piece-2")} == {
        "worker-1": ORPHANED,
        "piece-1": ORPHANED,
        "part-2": ORPHANED,
        "piece-2": BY_CASCADE,
    }
    assert grove.status("coord-2") == "INTERRUPTED"
    assert len(recorded_stops(grove)) == 1


def test_a_parent_above_that_waited_for_an_orphan_is_settled(grove):
    grove.run("root")
    grove.run("coord-123", "root")
    grove.spawn("worker-1", "coord-123")
    grove.end("coord-123")
    grove.end("root")
    grove.edit("coord-123", outcome=None, status="STOPPED")
    assert grove.status("root", "worker-1") == ["RUNNING", "PENDING"]
    grove.sweep()
    assert grove.status("root", "worker-1") == ["COMPLETED", "STOPPED"]


def test_an_orphan_whose_parent_is_missing(sqlite_grove):
    """SQLite keeps no foreign keys for a hand that does not ask for them."""
    sqlite_grove.run("coord-123")
    sqlite_grove.spawn("worker-1", "coord-123")
    sqlite_grove.spawn("free-1", "coord-123", detached=True)
    path = sqlite_grove.database.url.database
    with sqlite3.connect(path) as hand:
        hand.execute("DELETE FROM containers WHERE id = 'coord-123'")
    hand.close()
    assert sweep.preview(sqlite_grove.database).orphans == ("worker-1",)
    assert sqlite_grove.sweep().orphans == ("worker-1",)
    assert (sqlite_grove.status("worker-1", "free-1")) == ["STOPPED", "PENDING"]
    assert sqlite_grove.get("worker-1").exit_message == ORPHANED


# What hands have written


@pytest.mark.parametrize("runs", [True, False])
def test_a_status_stopping_by_hand_becomes_a_stop(grove, runs):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.run("free-1", "coord-123", detached=True)
    if not runs:
        grove.rest("coord-123")
    grove.edit("coord-123", status="STOPPING")
    assert sweep.preview(grove.database).by_hand == grove.sweep().by_hand == ("coord-123",)
    coordinator, worker = grove.get("coord-123"), grove.get("worker-1")
    assert (coordinator.status, worker.status, grove.status("free-1")) == ("STOPPING", "STOPPING", "RUNNING")
    assert coordinator.stop_deadline is not None
    assert coordinator.stop_deadline >= worker.stop_deadline
    assert grove.sweep() == sweep.Swept()
    grove.end("worker-1", stopped())
    if runs:
        grove.end("coord-123", stopped())
    coordinator, worker = grove.get("coord-123"), grove.get("worker-1")
    assert [coordinator.exit_message, worker.exit_message] == ["Stopped by user", BY_CASCADE]
    assert [(row.status, row.stop_by) for row in (coordinator, worker)] == [("STOPPED", "hand")] * 2


def test_a_status_stopping_by_hand_that_nothing_holds_back_ends_at_once(grove):
    grove.spawn("worker-1", resources=("ship:1",))
    grove.edit("worker-1", status="STOPPING")
    assert sweep.preview(grove.database) == grove.sweep() == sweep.Swept(settled=("worker-1",))
    row = grove.get("worker-1")
    assert (row.status, row.exit_code, row.exit_message, grove.held()) == ("STOPPED", 143, "Stopped by user", {})


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "STOPPED"])
def test_what_one_holds_that_a_hand_ended_is_given_back(grove, status, caplog):
    grove.spawn("worker-1", resources=("ship:1", "ship:2"))
    grove.spawn("worker-2", resources=("ship:3",))
    grove.edit("worker-1", status=status)
    assert sweep.preview(grove.database).released == ("ship:1", "ship:2")
    with caplog.at_level(logging.WARNING, "lifecycle.sweep"):
        assert grove.sweep().released == ("ship:1", "ship:2")
    assert grove.held() == {"ship:3": "worker-2"}
    assert caplog.messages == [
        f"resource released, its holder had ended resource={name} container=worker-1" for name in ("ship:1", "ship:2")
    ]
    grove.spawn("worker-3", resources=("ship:1",))


def test_one_who_took_over_meanwhile_is_not_robbed(grove, monkeypatch):
    """The first holder's row was named; by the time it is written, a hand has released it, and another holds it."""
    grove.spawn("worker-1", resources=("ship:1",))
    grove.edit("worker-1", status="STOPPED")
    found = orphans.owed

    def found_and_overtaken(connection, limit):
        rows = found(connection, limit)
        assignments.release(connection, "worker-1", why="by hand")
        connection.execute(assignments.TAKE[connection.dialect.name], {**HELD, "container_id": "worker-2"})
        return rows

    grove.spawn("worker-2")
    monkeypatch.setattr(orphans, "owed", found_and_overtaken)
    assert grove.sweep().released == ()
    assert grove.held() == {"ship:1": "worker-2"}


HELD = {"resource": "ship:1", "player_id": None}


def test_one_whom_a_hand_revives_meanwhile_keeps_what_it_holds(grove, monkeypatch):
    grove.spawn("worker-1", resources=("ship:1",))
    grove.edit("worker-1", status="STOPPED")
    found = orphans.owed

    def found_and_revived(connection, limit):
        rows = found(connection, limit)
        connection.execute(containers.update().where(containers.c.id == "worker-1").values(status="RUNNING"))
        return rows

    monkeypatch.setattr(orphans, "owed", found_and_revived)
    assert grove.sweep().released == ()
    assert grove.held() == {"ship:1": "worker-1"}


# The rest of a sweep


def test_one_sweep_mends_all_there_is(grove):
    grove.register("node-2")
    for name in ("lost", "late", "over", "under"):
        grove.spawn(name, expires_in=3600.0 if name == "late" else None)
    grove.claim("lost", node="node-2")
    grove.silence("node-2")
    grove.edit("late", expires_at=LONG_AGO)
    grove.edit("over", status="RUNNING", outcome="COMPLETED", exit_code=0, epoch=1)
    told = sweep.preview(grove.database)
    assert (told.lost, told.settled) == (("lost",), ("over",))
    swept = grove.sweep()
    assert (swept.lost, set(swept.settled), swept.found) == (("lost",), {"over", "late"}, 3)
    assert grove.status("lost", "late", "over", "under") == ["INTERRUPTED", "STOPPED", "COMPLETED", "PENDING"]
    assert grove.get("late").exit_message == "Expired before it ran"


def test_a_preview_changes_nothing_and_names_what_the_sweep_takes(grove):
    grove.run("coord-123", resources=("ship:1",))
    grove.spawn("worker-1", "coord-123")
    grove.run("stopping")
    grove.edit("coord-123", status="COMPLETED", node=None)
    grove.edit("stopping", status="STOPPING")
    grove.register("node-2")
    grove.spawn("lost")
    grove.claim("lost", node="node-2")
    grove.silence("node-2")
    before = everything(grove)
    told = sweep.preview(grove.database)
    assert everything(grove) == before
    assert told == sweep.Swept(("worker-1",), ("stopping",), ("lost",), (), ("ship:1",))
    assert grove.sweep() == told


def test_a_preview_names_no_row_of_a_node_that_lives(grove):
    grove.run("worker-1")
    assert sweep.preview(grove.database).lost == ()
    grove.silence()
    assert sweep.preview(grove.database).lost == ("worker-1",)
    grove.sweep()
    assert grove.status("worker-1") == "INTERRUPTED"


def test_what_waited_only_for_what_a_hand_stopped_ends_in_the_same_sweep(grove):
    """Nothing of it runs any more: two levels of parents whose bodies are over."""
    for parent, container_id in ((None, "root"), ("root", "coord-123"), ("coord-123", "worker-1")):
        grove.run(container_id, parent)
    grove.spawn("part-1", "worker-1")
    grove.end("root")
    grove.end("coord-123")
    grove.end("worker-1")
    grove.edit("worker-1", status="STOPPING")
    swept = grove.sweep()
    assert (swept.by_hand, set(swept.settled)) == (("worker-1",), {"coord-123", "root"})
    assert grove.status("root", "coord-123", "worker-1", "part-1") == ["COMPLETED", "COMPLETED", "STOPPED", "STOPPED"]


# Two at once, and many


@pytest.mark.postgres
def test_of_two_sweeps_at_once_the_second_finds_nothing(postgres_grove):
    grove = postgres_grove
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.edit("coord-123", status="COMPLETED", node=None)
    with ThreadPoolExecutor(1) as pool, grove.database.begin() as connection:
        found = orphans.orphans(connection, 10, lock=True)
        marks.mark_all(connection, found, by="sweep", message=ORPHANED)
        assert pool.submit(grove.sweep).result(timeout=10) == sweep.Swept()  # and waits for nobody
    once = grove.get("worker-1")
    assert grove.sweep() == sweep.Swept()
    assert grove.get("worker-1") == once
    assert grove.history("worker-1") == ["PENDING", "RUNNING", "STOPPING"]
    assert len(recorded_stops(grove)) == 1


@pytest.mark.postgres
def test_of_two_sweeps_at_once_one_gives_a_hands_stop_its_deadline(postgres_grove):
    grove = postgres_grove
    grove.run("worker-1")
    grove.edit("worker-1", status="STOPPING")
    with ThreadPoolExecutor(1) as pool, grove.database.begin() as connection:
        found = orphans.stopped_by_hand(connection, 10, lock=True)
        marks.mark_all(connection, found, by="hand", message="Stopped by user")
        assert pool.submit(grove.sweep).result(timeout=10) == sweep.Swept()
    assert grove.sweep() == sweep.Swept()
    assert len(recorded_stops(grove)) == 1


def test_statements_do_not_grow_with_the_orphans(grove):
    grove.plant([{"id": "coord-123", "root_id": "coord-123", "status": "COMPLETED"}])
    few = plant_orphans(grove, "few", 5)
    with statements(grove.database) as for_few:
        assert len(grove.sweep().orphans) == 5
    many = plant_orphans(grove, "many", MANY)
    with statements(grove.database) as for_many:
        assert len(grove.sweep().orphans) == MANY
    assert set(grove.status(*few, *many)) == {"STOPPED"}
    assert len(recorded_stops(grove)) == 1 + 3, "a thousand trees a transaction"
    assert len(for_many) <= 3 * len(for_few), (len(for_few), len(for_many))


def plant_orphans(grove, name, number):
    """Half of them queued, half asleep; each with a child."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    kinds = [{"status": "PENDING", "wake_at": None}, {"status": "RUNNING", "wake_at": soon}]
    under = {"root_id": "coord-123", "parent_container_id": "coord-123", "depth": 1}
    orphaned = [f"{name}-{n}" for n in range(number)]
    grove.plant({"id": each, **under, **kinds[n % 2]} for n, each in enumerate(orphaned))
    below = {"root_id": "coord-123", "depth": 2, "status": "PENDING"}
    grove.plant({"id": f"{each}-child", "parent_container_id": each, **below} for each in orphaned)
    return [orphaned[0], f"{orphaned[-1]}-child"]


@contextmanager
def statements(database):
    """What goes to the database meanwhile."""
    seen = []

    def note(_connection, _cursor, statement, *_):
        seen.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(database.engine, "before_cursor_execute", note)


def recorded_stops(grove):
    with grove.database.read() as connection:
        return connection.execute(sa.select(stops)).all()


def everything(grove):
    """All that is recorded."""
    with grove.database.read() as connection:
        names = ("containers", "stops", "transitions", "assignments", "nodes")
        return [connection.execute(sa.text(f"SELECT * FROM {name} ORDER BY id")).all() for name in names]

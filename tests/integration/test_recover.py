"""Recovery: what was interrupted goes on once, after what its cut-off run left. On both databases."""

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from lifecycle.domain.ending import stopped
from lifecycle.store import dispatches, interrupts, runs
from lifecycle.store.tables import containers as table
from lifecycle.store.tables import stops
from lifecycle.trees import recover
from lifecycle.trees.recover import Recovered

SUPERSEDED = "Superseded - parent restarted"
BY_CASCADE = "Stopped via cascade (parent container stopped)"
MANY = 450


def cut_off(grove, container_id):
    """Lost, and its time has come."""
    grove.lose(container_id)
    grove.edit(container_id, wake_at=None)


# Going on


def test_what_was_interrupted_is_published_and_claimed_again(grove):
    grove.run("worker-1")
    grove.interrupt("worker-1")
    assert grove.claim("worker-1") is None
    recovered = grove.recover()
    assert (recovered.resumed, recovered.found, recovered.waiting) == (("worker-1",), 1, ())
    with grove.database.begin() as connection:
        assert [found for found, _ in dispatches.take_due(connection, 10)] == ["worker-1"]
    again = grove.claim("worker-1")
    assert (again.status, again.epoch) == ("RUNNING", 2)
    assert grove.history("worker-1") == ["PENDING", "RUNNING", "INTERRUPTED", "PENDING", "RUNNING"]
    assert [(change.by, change.why) for change in grove.changes("worker-1")][2:4] == [
        ("node-1", "node shut down"),
        ("recovery", None),
    ]


def test_all_that_a_container_is_survives(grove):
    message = {"task": "work", "args": [1], "kwargs": {"n": 2}, "options": {"priority": 7, "queue": "fast"}}
    wanted = {"player_id": 12, "tags": {"fleet": "haulers"}, "resources": ("ship:1",), "grace": 7.0, "message": message}
    grove.run("coord-123", player_id=12)
    grove.run("worker-1", grove.get("coord-123"), **wanted, queue="fast", max_iterations=5, iteration_interval=0.5)
    with grove.database.begin() as connection:
        assert runs.keep_state(connection, "worker-1", 1, {"page": 7})
        assert runs.count_iteration(connection, "worker-1", 1)
    before = grove.get("worker-1")
    grove.lose("worker-1")
    grove.edit("worker-1", wake_at=None)
    grove.recover()
    again = grove.claim("worker-1")
    for kept in ("player_id", "grace", "queue", "max_iterations", "current_iteration", "iteration_interval", "state"):
        assert getattr(again, kept) == getattr(before, kept), kept
    for kept in ("parent_container_id", "parent_epoch", "root_id", "depth", "created_at", "started_at", "max_restarts"):
        assert getattr(again, kept) == getattr(before, kept), kept
    assert (again.state, again.current_iteration) == ({"page": 7}, 1)
    assert grove.held() == {"ship:1": "worker-1"}
    with grove.database.read() as connection:
        assert interrupts_message(connection) == message
    assert tags_of(grove, "worker-1") == {"fleet": "haulers"}


def interrupts_message(connection):
    return connection.execute(sa.select(table.c.message).where(table.c.id == "worker-1")).scalar_one()


def tags_of(grove, container_id):
    with grove.database.read() as connection:
        rows = connection.execute(sa.text("SELECT container_id, key, value FROM container_tags")).all()
    return {key: value for owner, key, value in rows if owner == container_id}


def test_before_its_time_nothing_goes_on(grove):
    grove.run("worker-1")
    grove.lose("worker-1")
    recovered = grove.recover()
    assert (recovered.found, [row.id for row in recovered.waiting]) == (0, ["worker-1"])
    assert grove.status("worker-1") == "INTERRUPTED"


def test_dead_nodes_are_found_first_and_every_loss_is_named(grove):
    grove.run("coord-123")
    grove.run("worker-1", grove.get("coord-123"))
    grove.silence()
    recovered = grove.recover()
    assert sorted(recovered.lost) == ["coord-123", "worker-1"]
    assert (recovered.superseded, recovered.resumed) == (("worker-1",), ())
    assert [(row.id, row.goes_with_parent) for row in recovered.waiting] == [("coord-123", False)]
    assert grove.recover().found == 0


def test_many_go_on_in_one_pass(grove):
    names = [f"worker-{n}" for n in range(MANY)]
    grove.plant({"id": name, "root_id": name, "status": "INTERRUPTED", "epoch": 1} for name in names)
    assert sorted(grove.recover().resumed) == sorted(names)
    assert grove.recover() == Recovered()


def test_what_a_hand_interrupted_does_not_go_on_while_it_runs(grove):
    grove.run("worker-1")
    grove.edit("worker-1", status="INTERRUPTED")
    assert grove.recover().resumed == ()
    grove.end("worker-1")
    assert grove.status("worker-1") == "COMPLETED"


def test_what_it_says_is_what_goes_on(grove, caplog):
    grove.run("worker-1", player_id=12)
    grove.interrupt("worker-1")
    with caplog.at_level(logging.INFO, "lifecycle.recover"):
        grove.recover()
    assert caplog.messages == ["container goes on container=worker-1 parent=None root=worker-1 player=12"]


# What the cut-off run left


def test_its_children_are_stopped_before_it_goes_on(grove):
    grove.run("coord-123", resources=("ship:0",))
    grove.run("worker-1", grove.get("coord-123"), resources=("ship:1",))
    grove.run("part-1", grove.get("worker-1"))
    grove.spawn("worker-2", grove.get("coord-123"), resources=("ship:2",))
    cut_off(grove, "coord-123")
    recovered = grove.recover()
    assert (set(recovered.superseded), recovered.resumed) == ({"worker-1", "part-1", "worker-2"}, ())
    assert grove.status("worker-1", "part-1", "worker-2") == ["STOPPING", "STOPPING", "STOPPED"]
    assert grove.held() == {"ship:0": "coord-123", "ship:1": "worker-1"}
    assert grove.doorbell.told == ["worker-2"]
    grove.end("part-1", stopped())
    assert grove.recover().found == 0
    grove.end("worker-1", stopped())
    assert grove.held() == {"ship:0": "coord-123"}
    assert grove.status("coord-123") == "INTERRUPTED"
    assert grove.recover().resumed == ("coord-123",)
    for name, message in (("worker-1", SUPERSEDED), ("part-1", BY_CASCADE), ("worker-2", SUPERSEDED)):
        row = grove.get(name)
        assert (row.exit_code, row.exit_message) == (143, message)
        assert (row.stop_by, row.stop_reason) == ("recovery", "parent restarted")
    assert grove.get("coord-123").exit_code is None


def test_children_are_stopped_while_it_still_waits_for_its_time(grove):
    grove.run("coord-123")
    grove.run("worker-1", grove.get("coord-123"))
    grove.lose("coord-123")
    assert grove.recover().superseded == ("worker-1",)
    assert grove.status("worker-1", "coord-123") == ["STOPPING", "INTERRUPTED"]


def test_children_of_earlier_runs_go_on(grove):
    grove.run("coord-123")
    grove.run("early-1", grove.get("coord-123"))
    grove.run("early-2", grove.get("coord-123"))
    grove.lose("early-2")
    grove.edit("early-2", wake_at=None)
    grove.rest("coord-123", seconds=0)
    grove.claim("coord-123")
    grove.run("late-1", grove.get("coord-123"))
    cut_off(grove, "coord-123")
    recovered = grove.recover()
    assert (recovered.superseded, recovered.resumed) == (("late-1",), ("early-2",))
    assert grove.status("early-1", "early-2", "late-1") == ["RUNNING", "PENDING", "STOPPING"]
    grove.end("late-1", stopped())
    assert grove.recover().resumed == ("coord-123",)
    assert grove.status("early-1") == "RUNNING"


def test_children_that_ended_or_are_detached_are_left_alone(grove):
    grove.run("coord-123")
    grove.run("done-1", grove.get("coord-123"))
    grove.end("done-1")
    grove.run("free-1", grove.get("coord-123"), detached=True)
    grove.run("free-2", grove.get("coord-123"), detached=True)
    cut_off(grove, "free-2")
    before = [grove.get(name) for name in ("done-1", "free-1")]
    cut_off(grove, "coord-123")
    assert (set(grove.recover().resumed), recorded_stops(grove)) == ({"coord-123", "free-2"}, [])
    assert [grove.get(name) for name in ("done-1", "free-1")] == before


def test_a_child_that_could_not_be_stopped_does_not_hold_it(grove):
    grove.run("coord-123")
    grove.run("worker-1", grove.get("coord-123"))
    cut_off(grove, "coord-123")
    grove.recover()
    grove.give_up("worker-1")
    assert grove.recover().resumed == ("coord-123",)
    assert grove.status("worker-1") == "STOPPING"


def test_children_without_end_below_a_body_that_is_over_go_too(grove):
    """The one between waits for its own child: it ends with it."""
    grove.run("coord-123")
    grove.run("sub-1", grove.get("coord-123"))
    grove.run("worker-1", grove.get("sub-1"))
    grove.end("sub-1")
    cut_off(grove, "coord-123")
    assert set(grove.recover().superseded) == {"sub-1", "worker-1"}
    grove.end("worker-1", stopped())
    assert grove.status("sub-1") == "STOPPED"
    assert grove.recover().resumed == ("coord-123",)


def test_a_child_that_was_lost_with_its_parent_is_left_to_it(grove, caplog):
    grove.run("coord-123")
    grove.run("worker-1", grove.get("coord-123"))
    for name in ("worker-1", "coord-123"):
        cut_off(grove, name)
    told = {row.id: row.goes_with_parent for row in recover.preview(grove.database).waiting}
    assert told == {"coord-123": False, "worker-1": True}
    with caplog.at_level(logging.INFO, "lifecycle.recover"):
        recovered = grove.recover()
    assert (recovered.superseded, recovered.resumed) == (("worker-1",), ("coord-123",))
    row = grove.get("worker-1")
    assert (row.status, row.exit_message) == ("STOPPED", SUPERSEDED)
    assert "Skipping recovery of child worker-1 - parent coord-123 will handle" in caplog.messages
    assert "children of a lost run are stopped container=coord-123 count=1" in caplog.messages
    assert grove.history("worker-1") == ["PENDING", "RUNNING", "INTERRUPTED", "STOPPING", "STOPPED"]


def test_a_child_that_was_lost_with_its_parent_never_goes_on_before_it(grove):
    """Though its own time comes first, and nobody has looked at what the parent left."""
    grove.run("coord-123")
    grove.run("worker-1", grove.get("coord-123"))
    cut_off(grove, "worker-1")
    grove.lose("coord-123")
    assert recover.resume(grove.database) == []
    assert grove.status("coord-123", "worker-1") == ["INTERRUPTED", "INTERRUPTED"]


def test_a_tree_that_lost_its_node_is_spawned_anew_from_its_top(grove):
    chain = ["root", "sub-1", "sub-2", "worker-1"]
    for parent, container_id in zip([None, *chain], chain, strict=False):
        grove.run(container_id, parent and grove.get(parent))
    grove.silence()
    grove.recover()
    grove.edit("root", wake_at=None)
    assert grove.recover().resumed == ("root",)
    assert grove.status(*chain) == ["PENDING", "STOPPED", "STOPPED", "STOPPED"]


def test_statements_do_not_grow_with_the_children(grove):
    for root, number in (("few", 5), ("many", 800)):
        grove.plant([{"id": root, "root_id": root, "status": "INTERRUPTED", "epoch": 1}])
        below = {"root_id": root, "parent_container_id": root, "parent_epoch": 1, "depth": 1}
        grove.plant({"id": f"{root}-{n}", **below} for n in range(number))
        with statements(grove.database) as seen:
            assert len(grove.recover().superseded) == number
        if root == "few":
            for_few = len(seen)
    assert len(seen) == for_few


# Stop beats recovery


def test_one_that_is_stopped_does_not_go_on(grove):
    grove.run("coord-123")
    grove.run("worker-1", grove.get("coord-123"))
    cut_off(grove, "coord-123")
    report = grove.stop("coord-123", wait=False)
    assert grove.status("coord-123", "worker-1") == ["STOPPING", "STOPPING"]
    assert set(report.pending) == {"worker-1", "coord-123"}
    assert grove.recover() == Recovered()
    grove.end("worker-1", stopped())
    assert grove.status("coord-123", "worker-1") == ["STOPPED", "STOPPED"]
    assert grove.get("worker-1").exit_message == BY_CASCADE


def test_what_was_stopped_between_look_and_lock_is_left_alone(grove):
    """Recovery had found it INTERRUPTED; the stop came first."""
    grove.run("coord-123")
    grove.run("worker-1", grove.get("coord-123"))
    cut_off(grove, "coord-123")
    grove.mark("coord-123")
    assert recover.supersede_one(grove.database, "coord-123", 1) == ([], [])
    assert grove.get("worker-1").stop_message == BY_CASCADE


def test_what_went_on_between_look_and_lock_is_left_alone(grove):
    """Another recovery was faster, and its next run has been cut off too: these children are not the next run's."""
    grove.run("coord-123")
    cut_off(grove, "coord-123")
    grove.recover()
    grove.claim("coord-123")
    grove.run("worker-1", grove.get("coord-123"))
    assert recover.supersede_one(grove.database, "coord-123", 2) == ([], [])
    cut_off(grove, "coord-123")
    assert recover.supersede_one(grove.database, "coord-123", 1) == ([], [])
    assert (grove.status("worker-1"), recorded_stops(grove)) == ("RUNNING", [])
    assert recover.supersede_one(grove.database, "coord-123", 2)[0] == ["worker-1"]


# Two at once


def test_who_comes_second_stops_nothing_again(grove):
    """It has looked before the first one's commit, and comes to the lock after it."""
    grove.run("coord-123")
    grove.run("worker-1", grove.get("coord-123"))
    cut_off(grove, "coord-123")
    assert recover.supersede_one(grove.database, "coord-123", 1)[0] == ["worker-1"]
    once = grove.get("worker-1")
    assert recover.supersede_one(grove.database, "coord-123", 1) == ([], [])
    assert grove.get("worker-1") == once
    assert len(recorded_stops(grove)) == 1


@pytest.mark.postgres
def test_of_two_recoveries_at_once_one_lets_it_go_on(postgres_grove):
    grove = postgres_grove
    grove.run("worker-1")
    grove.interrupt("worker-1")
    with ThreadPoolExecutor(1) as pool, grove.database.begin() as connection:
        assert [moved.id for moved in interrupts.resume(connection, 10)] == ["worker-1"]
        assert pool.submit(grove.recover).result(timeout=10).resumed == ()  # and waits for nobody
    assert grove.recover() == Recovered()
    assert grove.history("worker-1") == ["PENDING", "RUNNING", "INTERRUPTED", "PENDING"]


@pytest.mark.postgres
def test_one_that_is_being_stopped_is_not_waited_for(postgres_grove):
    grove = postgres_grove
    grove.run("worker-1")
    grove.interrupt("worker-1")
    with ThreadPoolExecutor(1) as pool, grove.database.begin() as connection:
        runs.lock(connection, "worker-1")
        assert pool.submit(recover.resume, grove.database).result(timeout=10) == []
    assert grove.recover().resumed == ("worker-1",)


@pytest.mark.postgres
def test_one_whose_parent_is_cut_off_just_now_is_left_to_it(postgres_grove):
    """It was found and locked; then its parent's node dies, and the UPDATE asks again."""
    grove = postgres_grove
    grove.run("coord-123")
    grove.run("worker-1", grove.get("coord-123"))
    grove.interrupt("worker-1")

    def lose_parent(*_):
        grove.lose("coord-123")

    with grove.database.begin() as connection:
        sa.event.listen(connection, "after_cursor_execute", lose_parent, once=True)
        assert interrupts.resume(connection, 10) == []
    assert grove.status("coord-123", "worker-1") == ["INTERRUPTED", "INTERRUPTED"]


@pytest.mark.postgres
def test_recoveries_as_they_come(postgres_grove):
    """Forty trees that lost their node, four recoveries at a time, until all go on."""
    grove, trees = postgres_grove, [f"coord-{n}" for n in range(40)]
    at = {"epoch": 1, "parent_epoch": None, "status": "INTERRUPTED"}
    grove.plant({"id": name, "root_id": name, **at} for name in trees)
    below = {"epoch": 0, "parent_epoch": 1, "status": "PENDING", "depth": 1}
    grove.plant({"id": f"{name}-child", "root_id": name, "parent_container_id": name, **below} for name in trees)
    with ThreadPoolExecutor(4) as pool:
        passes = [found.result(timeout=60) for found in [pool.submit(grove.recover) for _ in range(4)]]
    resumed = [name for each in [*passes, grove.recover()] for name in each.resumed]
    assert sorted(resumed) == sorted(trees)
    assert set(grove.status(*trees)) == {"PENDING"}
    assert {tuple(grove.history(f"{name}-child")) for name in trees} == {("STOPPING", "STOPPED")}
    assert len(recorded_stops(grove)) == len(trees)


# Dry run


def test_a_preview_changes_nothing_and_tells_the_next_first(grove):
    for name, seconds in (("worker-1", 5), ("worker-2", 0)):
        grove.run(name)
        grove.interrupt(name, wait=float(seconds), attempt=f"retry {seconds}/9", why="Timeout: none")
    grove.run("coord-123")
    grove.lose("coord-123")
    before = everything(grove)
    told = recover.preview(grove.database)
    assert everything(grove) == before
    assert [row.id for row in told.waiting] == ["worker-2", "worker-1", "coord-123"] or [
        row.id for row in told.waiting
    ] == ["worker-2", "coord-123", "worker-1"]
    assert [(row.attempt, row.exit_message) for row in told.waiting[:1]] == [("retry 0/9", "Timeout: none")]
    assert (told.lost, told.superseded, told.resumed) == ((), (), ())


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

"""Executions take a row, give it back and end it; parents are settled: design, section 3, on both databases."""

import pytest
import sqlalchemy as sa

from lifecycle.domain.ending import completed, failed, stopped
from lifecycle.errors import ExecutionSuperseded
from lifecycle.store import dispatches, endings, nodes, runs
from lifecycle.store.clock import later, now
from lifecycle.store.tables import containers as table
from lifecycle.trees import end, interrupt, sweep
from lifecycle.trees.interrupt import Cut

BY_USER = "Stopped by user"
BY_CASCADE = "Stopped via cascade (parent container stopped)"
ERROR = "RuntimeError: engine broke"
BROKEN = failed(RuntimeError("engine broke"))

# Claim


def test_a_pending_row_is_claimed(grove):
    grove.spawn("worker-1")
    held = grove.claim("worker-1")
    assert (held.status, held.epoch, held.node, held.pid, held.pid_started) == ("RUNNING", 1, "node-1", 1, 1)
    assert held.started_at is not None
    assert held == grove.get("worker-1")
    assert grove.history("worker-1") == ["PENDING", "RUNNING"]


def test_a_woken_row_is_claimed_again(grove):
    first = grove.run("worker-1")
    grove.rest("worker-1", seconds=-1)
    second = grove.claim("worker-1")
    assert (second.epoch, second.node, second.wake_at) == (2, "node-1", None)
    assert second.started_at == first.started_at
    assert grove.history("worker-1") == ["PENDING", "RUNNING"]  # it was RUNNING all the while


@pytest.mark.parametrize("rested", [False, True])
def test_a_row_is_not_claimed_before_its_time(grove, rested):
    if rested:
        grove.run("worker-1")
        grove.rest("worker-1", seconds=3600)
    else:
        grove.spawn("worker-1", wake_in=3600)
    before = grove.get("worker-1")
    assert grove.claim("worker-1") is None
    assert grove.get("worker-1") == before


def test_a_duplicate_message_loses_the_claim(grove):
    grove.run("worker-1")
    before = grove.get("worker-1")
    grove.register("node-2")
    assert grove.claim("worker-1") is None
    assert grove.claim("worker-1", node="node-2") is None
    assert grove.get("worker-1") == before


def test_a_dead_node_claims_nothing(grove):
    grove.spawn("worker-1")
    with grove.database.begin() as connection:
        nodes.retire(connection, grove.node, "shut down")
    assert grove.claim("worker-1") is None
    assert grove.claim("worker-1", node="never-registered") is None
    assert grove.status("worker-1") == "PENDING"


def test_an_expired_row_is_not_claimed(grove):
    grove.spawn("worker-1", expires_in=-1)
    assert grove.claim("worker-1") is None
    grove.spawn("worker-2", expires_in=3600)
    assert grove.claim("worker-2").status == "RUNNING"


def test_a_row_whose_body_is_over_is_not_claimed(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.end("coord-123")
    assert grove.claim("coord-123") is None


@pytest.mark.parametrize("status", ["INTERRUPTED", "STOPPING", "COMPLETED", "FAILED", "STOPPED"])
def test_no_other_status_is_claimed(grove, status):
    grove.spawn("worker-1")
    grove.edit("worker-1", status=status)
    assert grove.claim("worker-1") is None
    assert grove.status("worker-1") == status


# Epoch: the fencing token


def test_a_stale_execution_writes_nothing(grove):
    grove.run("worker-1", resources=("ship:1",))
    grove.rest("worker-1", seconds=-1)
    grove.claim("worker-1")
    before = grove.get("worker-1"), grove.changes("worker-1")
    for ending in (completed(), BROKEN, stopped()):
        with pytest.raises(ExecutionSuperseded, match="worker-1 epoch 1 is not the one that runs"):
            end_as(grove, "worker-1", 1, ending)
    with grove.database.begin() as connection:
        assert not runs.rest(connection, "worker-1", 1, until=0)
        assert not endings.give_up(connection, "worker-1", 1, "stuck", node=grove.node)
    for epoch, node in ((1, grove.node), (2, "node-2")):
        assert interrupt.lose(grove.database, "worker-1", epoch, node=node, cut=Cut("node lost")) == []
    assert (grove.get("worker-1"), grove.changes("worker-1")) == before
    assert grove.held() == {"ship:1": "worker-1"}


def test_a_stale_failure_does_not_mark_the_children_of_the_new_execution(grove):
    grove.run("coord-123")
    grove.rest("coord-123", seconds=-1)
    grove.claim("coord-123")
    grove.run("worker-1", "coord-123")
    with pytest.raises(ExecutionSuperseded):
        end_as(grove, "coord-123", 1, BROKEN)
    assert grove.status("worker-1") == "RUNNING"


def test_an_execution_ends_once(grove):
    grove.run("worker-1")
    grove.end("worker-1", completed("first"))
    with pytest.raises(ExecutionSuperseded):
        grove.end("worker-1", BROKEN)
    assert (grove.get("worker-1").status, grove.get("worker-1").result) == ("COMPLETED", "first")


def test_an_execution_that_was_taken_for_lost_cannot_end(grove):
    grove.run("worker-1")
    grove.lose("worker-1")
    with pytest.raises(ExecutionSuperseded):
        grove.end("worker-1")
    assert grove.status("worker-1") == "INTERRUPTED"


def test_an_unknown_row_cannot_end(grove):
    with pytest.raises(ExecutionSuperseded):
        end_as(grove, "nobody", 1, completed())


# Rest


def test_rest_gives_the_slot_back(grove):
    grove.run("coord-123", resources=("ship:1",))
    with grove.database.begin() as connection:
        assert runs.rest(connection, "coord-123", 1, until=3600, iterations=1, state={"page": 7})
    held = grove.get("coord-123")
    assert (held.status, held.node, held.pid, held.current_iteration) == ("RUNNING", None, None, 1)
    assert (held.state, held.dispatched_at) == ({"page": 7}, None)
    assert 3500 < (held.wake_at - held.updated_at).total_seconds() < 3700
    assert grove.held() == {"ship:1": "coord-123"}


def test_a_stopping_row_does_not_rest(grove):
    grove.run("worker-1")
    grove.mark("worker-1")
    assert not grove.rest("worker-1")
    assert grove.get("worker-1").node == grove.node


def test_an_iteration_is_counted_by_its_own_running_execution(grove):
    grove.run("worker-1")
    assert [count(grove, "worker-1", epoch) for epoch in (1, 0, 2)] == [True, False, False]
    grove.mark("worker-1")
    assert not count(grove, "worker-1", 1)
    assert grove.get("worker-1").current_iteration == 1


def count(grove, container_id, epoch):
    with grove.database.begin() as connection:
        return runs.count_iteration(connection, container_id, epoch)


def test_what_is_due_is_dispatched_once(grove):
    grove.run("rests")
    grove.rest("rests", seconds=-1)
    grove.spawn("waits", wake_in=-5, message={"task": "work"})
    grove.spawn("sleeps", wake_in=3600)
    grove.spawn("published")
    with grove.database.begin() as connection:
        assert dispatches.take_due(connection, 10) == [("waits", {"task": "work"}), ("rests", None)]
        assert dispatches.take_due(connection, 10) == []
    assert grove.get("waits").dispatch_count == 1
    assert grove.claim("waits").status == "RUNNING"


def test_what_could_not_be_published_is_due_again(grove):
    grove.spawn("waits", wake_in=-5)
    grove.spawn("stopped", wake_in=-5)
    with grove.database.begin() as connection:
        dispatches.take_due(connection, 10)
    grove.stop("stopped")
    with grove.database.begin() as connection:
        dispatches.put_back(connection, ["waits"], seconds=-1, wait=True)
        dispatches.put_back(connection, ["stopped"], seconds=-1, wait=True)
        assert [row[0] for row in dispatches.take_due(connection, 10)] == ["waits"]


def test_what_rests_already_is_not_put_back(grove):
    grove.run("worker-1")
    grove.rest("worker-1")
    before = grove.get("worker-1")
    with grove.database.begin() as connection:
        dispatches.put_back(connection, ["worker-1"], seconds=-1, wait=True)
    assert grove.get("worker-1") == before


@pytest.mark.parametrize(("then", "overtaken"), [("claimed", True), ("ended", True), ("sent again", False)])
def test_a_message_is_overtaken_by_one_that_was_claimed_only(grove, then, overtaken):
    """A row that was interrupted and sent once more has an epoch, but its message waits like any other."""
    grove.spawn("lost", queue="work")
    grove.run("other", queue="work")
    if then == "ended":
        grove.end("other")
    if then == "sent again":
        grove.rest("other", seconds=-1)
        with grove.database.begin() as connection:
            dispatches.take_due(connection, 10)
    with grove.database.begin() as connection:
        sent = sa.select(later(now(), -100)).scalar_subquery()
        connection.execute(table.update().where(table.c.id == "lost").values(dispatched_at=sent))
        assert dispatches.waiting_queues(connection, 50) == ["work"]
        until = dispatches.overtaken_until(connection, "work", 50)
        lost = [] if until is None else dispatches.take_again(connection, "work", 50, sent_before=until, limit=10)
        assert [found for found, _ in lost] == (["lost"] if overtaken else [])


# End without a stop


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (completed({"files": 3}, "done early"), ("COMPLETED", 0, "done early", {"files": 3}, 1)),
        (BROKEN, ("FAILED", 1, ERROR, None, 0)),
        (stopped(), ("STOPPED", 143, "Stopped by itself", None, 0)),
    ],
)
def test_an_execution_without_children_ends_its_container(grove, ending, told):
    grove.run("worker-1", resources=("ship:1",))
    assert [(moved.id, moved.status) for moved in grove.end("worker-1", ending)] == [("worker-1", told[0])]
    ended = grove.get("worker-1")
    assert (ended.status, ended.exit_code, ended.exit_message, ended.result, ended.current_iteration) == told
    assert (ended.node, ended.pid, ended.pid_started) == (None, None, None)
    assert ended.stopped_at is not None
    assert grove.held() == {}
    assert (grove.history("worker-1")[-1], grove.changes("worker-1")[-1].why) == (told[0], told[2])


def test_a_container_outlives_its_attached_children(grove):
    grove.run("coord-123")
    for worker in ("worker-1", "worker-2"):
        grove.run(worker, "coord-123")
    grove.end("coord-123", completed({"sum": 6}))
    waiting = grove.get("coord-123")
    assert (waiting.status, waiting.outcome, waiting.node) == ("RUNNING", "COMPLETED", None)
    assert grove.history("coord-123")[-1] == "RUNNING"
    grove.end("worker-1")
    assert grove.status("coord-123") == "RUNNING"
    assert [moved.id for moved in grove.end("worker-2")] == ["worker-2", "coord-123"]
    ended = grove.get("coord-123")
    assert (ended.status, ended.exit_code, ended.result) == ("COMPLETED", 0, {"sum": 6})


def test_a_childs_failure_does_not_fail_its_parent(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.end("coord-123")
    grove.end("worker-1", BROKEN)
    assert grove.status("coord-123", "worker-1") == ["COMPLETED", "FAILED"]


def test_a_detached_child_is_not_waited_for(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123", detached=True)
    assert [moved.id for moved in grove.end("coord-123")] == ["coord-123"]
    assert grove.status("coord-123", "worker-1") == ["COMPLETED", "RUNNING"]
    assert [moved.id for moved in grove.end("worker-1")] == ["worker-1"]


def test_a_failing_body_takes_its_descendants_along(grove):
    grove.run("coord-123", resources=("ship:1",))
    grove.run("sub-1", "coord-123")
    grove.run("worker-1", "sub-1")
    grove.spawn("queued-1", "sub-1", resources=("ship:2",))
    grove.run("free-1", "coord-123", detached=True)
    grove.end("coord-123", BROKEN)
    failing = grove.get("coord-123")
    assert (failing.status, failing.outcome, failing.exit_message, failing.node) == ("RUNNING", "FAILED", ERROR, None)
    assert grove.status("sub-1", "worker-1", "queued-1", "free-1") == ["STOPPING", "STOPPING", "STOPPED", "RUNNING"]
    assert grove.held() == {"ship:1": "coord-123"}
    grove.end("worker-1", stopped())
    grove.end("sub-1", stopped())
    assert grove.status("coord-123", "sub-1", "worker-1") == ["FAILED", "STOPPED", "STOPPED"]
    for container_id in ("sub-1", "worker-1", "queued-1"):
        told = grove.get(container_id)
        assert (told.exit_code, told.exit_message) == (143, BY_CASCADE)
        assert (told.stop_by, told.stop_reason) == ("coord-123", f"parent failed: {ERROR}")


def test_a_failing_body_whose_children_run_nowhere_has_failed_at_once(grove):
    grove.run("coord-123")
    grove.spawn("worker-1", "coord-123")
    ended = [("coord-123", "FAILED"), ("worker-1", "STOPPED")]
    assert [(moved.id, moved.status) for moved in grove.end("coord-123", BROKEN)] == ended
    assert grove.status("worker-1") == "STOPPED"


def test_a_body_that_stops_itself_takes_its_tree_along(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.end("coord-123", stopped())
    assert grove.status("coord-123", "worker-1") == ["STOPPING", "STOPPING"]
    grove.end("worker-1", stopped())
    assert grove.status("coord-123", "worker-1") == ["STOPPED", "STOPPED"]
    assert grove.get("coord-123").exit_message == "Stopped by itself"
    assert grove.get("worker-1").exit_message == BY_CASCADE


# How a STOPPING row ends: every ending, with every kind of child

NOBODY, ATTACHED, DETACHED, STUCK = "no child", "attached child", "detached child", "child that could not be stopped"


@pytest.mark.parametrize("child", [NOBODY, DETACHED, STUCK])
@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (completed("ok"), ("COMPLETED", 0, None)),
        (BROKEN, ("FAILED", 1, ERROR)),
        (stopped(), ("STOPPED", 143, BY_USER)),
    ],
)
def test_a_stopping_execution_with_nobody_to_wait_for_ends_as_it_ended(grove, child, ending, told):
    stopping_with(grove, child)
    grove.end("coord-123", ending)
    ended = grove.get("coord-123")
    assert (ended.status, ended.exit_code, ended.exit_message) == told


@pytest.mark.parametrize("last", [completed(), BROKEN, stopped()])
@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (completed("ok"), ("STOPPED", 143, BY_USER)),
        (BROKEN, ("FAILED", 1, ERROR)),
        (stopped(), ("STOPPED", 143, BY_USER)),
    ],
)
def test_a_stopping_execution_with_a_live_child_ends_with_it_and_is_never_completed(grove, ending, told, last):
    stopping_with(grove, ATTACHED)
    grove.end("coord-123", ending)
    waiting = grove.get("coord-123")
    assert (waiting.status, waiting.outcome, waiting.node) == ("STOPPING", ending.outcome, None)
    grove.end("worker-1", last)
    ended = grove.get("coord-123")
    assert (ended.status, ended.exit_code, ended.exit_message) == told
    assert grove.status("worker-1") == last.outcome  # its own ending, 1 ms before the signal, is not overwritten


@pytest.mark.parametrize(("ending", "told"), [(completed(), ("STOPPED", 143, BY_USER)), (BROKEN, ("FAILED", 1, ERROR))])
def test_a_row_that_is_stopped_while_it_waits_for_children(grove, ending, told):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.end("coord-123", ending)
    grove.mark("coord-123")
    assert grove.status("coord-123") == "STOPPING"
    grove.end("worker-1", stopped())
    ended = grove.get("coord-123")
    assert (ended.status, ended.exit_code, ended.exit_message) == told


def test_a_tree_that_fails_while_it_is_stopped_still_says_who_stopped_it(grove):
    stopping_with(grove, ATTACHED)
    grove.end("coord-123", BROKEN)
    worker = grove.get("worker-1")
    assert (worker.stop_by, worker.stop_reason, worker.stop_message) == ("test", "maintenance", BY_CASCADE)


def stopping_with(grove, child):
    grove.run("coord-123")
    if child is not NOBODY:
        grove.run("worker-1", "coord-123", detached=child is DETACHED)
    grove.mark("coord-123", reason="maintenance")
    if child is STUCK:
        assert grove.give_up("worker-1")


# Settle


def test_the_last_child_settles_every_parent_above(grove):
    chain = ["root", "sub-1", "sub-2", "worker-1"]
    for parent, container_id in zip([None, *chain], chain, strict=False):
        grove.run(container_id, parent)
    for container_id in chain[:-1]:
        grove.end(container_id)
    assert [moved.id for moved in grove.end("worker-1")] == chain[::-1]
    assert set(grove.status(*chain)) == {"COMPLETED"}


@pytest.mark.parametrize("holding", ["running", "resting", "interrupted", "other child"])
def test_settling_leaves_alone_what_is_not_over(grove, holding):
    grove.run("root")
    grove.run("worker-1", "root")
    if holding == "other child":
        grove.spawn("worker-2", "root")
        grove.end("root")
    elif holding == "resting":
        grove.rest("root")
    elif holding == "interrupted":
        grove.lose("root")
    before = grove.get("root")
    assert [moved.id for moved in grove.end("worker-1")] == ["worker-1"]
    assert grove.get("root") == before


def test_the_sweep_settles_what_a_crash_left_between_end_and_settle(grove):
    chain = ["root", "sub-1", "worker-1"]
    for parent, container_id in zip([None, *chain], chain, strict=False):
        grove.run(container_id, parent)
    grove.end("root")
    grove.end("sub-1")
    with grove.database.begin() as connection:  # the process dies after this commit
        assert endings.end(connection, "worker-1", 1, completed()).parent == "sub-1"
    assert grove.status(*chain) == ["RUNNING", "RUNNING", "COMPLETED"]
    assert [moved.id for moved in sweep.sweep_unsettled(grove.database)] == ["sub-1", "root"]
    assert sweep.sweep_unsettled(grove.database) == []
    assert grove.history("root") == ["PENDING", "RUNNING", "COMPLETED"]


# Lose: an execution that is proven gone


def test_a_lost_run_is_interrupted_and_its_children_go_on(grove):
    grove.run("coord-123", resources=("ship:1",))
    grove.run("worker-1", "coord-123")
    assert [(moved.id, moved.status) for moved in grove.lose("coord-123")] == [("coord-123", "INTERRUPTED")]
    lost = grove.get("coord-123")
    assert (lost.node, lost.pid, lost.exit_code, lost.exit_message) == (None, None, None, "node lost")
    assert grove.status("worker-1") == "RUNNING"
    assert grove.held() == {"ship:1": "coord-123"}
    assert grove.changes("coord-123")[-1].why == "node lost"


@pytest.mark.parametrize(("was_killed", "message"), [(False, "Stopped (not running on any node)"), (True, BY_USER)])
def test_a_stopping_run_that_is_gone_is_stopped(grove, was_killed, message):
    grove.run("coord-123", resources=("ship:1",))
    grove.mark("coord-123")
    grove.lose("coord-123", was_killed=was_killed)
    ended = grove.get("coord-123")
    assert (ended.status, ended.exit_code, ended.exit_message) == ("STOPPED", 143, message)
    assert grove.held() == {}


def test_a_descendant_that_is_gone_was_stopped_by_the_cascade(grove):
    stopping_with(grove, ATTACHED)
    grove.lose("worker-1")
    assert (grove.status("worker-1"), grove.get("worker-1").exit_message) == ("STOPPED", BY_CASCADE)


def test_a_stopping_parent_that_is_gone_waits_for_its_child(grove):
    stopping_with(grove, ATTACHED)
    assert [(moved.id, moved.status) for moved in grove.lose("coord-123")] == [("coord-123", "STOPPING")]
    assert [moved.id for moved in grove.lose("worker-1")] == ["worker-1", "coord-123"]
    assert grove.status("coord-123") == "STOPPED"


def test_what_has_ended_is_not_lost(grove):
    grove.run("worker-1")
    before = grove.get("worker-1")
    grove.end("worker-1")
    ended = grove.get("worker-1")
    assert interrupt.lose(grove.database, "worker-1", before.epoch, node=before.node, cut=Cut("node lost")) == []
    assert grove.get("worker-1") == ended


def test_the_sweep_takes_the_rows_of_silent_nodes_only(grove):
    grove.register("node-2")
    grove.spawn("silent-1")
    grove.claim("silent-1", node="node-2")
    grove.run("alive-1")
    grove.silence("node-2")
    assert [moved.id for moved in sweep.sweep_nodes(grove.database)] == ["silent-1"]
    assert grove.status("silent-1", "alive-1") == ["INTERRUPTED", "RUNNING"]
    assert sweep.sweep_nodes(grove.database) == []


def test_a_node_that_was_declared_dead_cannot_renew(grove):
    grove.silence()
    with grove.database.begin() as connection:
        assert nodes.declare_dead(connection) == [grove.node]
        assert nodes.declare_dead(connection) == []
    with grove.database.begin() as connection:
        assert not nodes.renew(connection, grove.node, expires_in=60, timeout=5)
        assert nodes.alive(connection) == []


def test_a_node_that_renews_in_time_lives(grove):
    grove.silence()
    with grove.database.begin() as connection:
        assert nodes.renew(connection, grove.node, expires_in=60, timeout=5)
        assert nodes.declare_dead(connection) == []


# Give up


def test_a_run_that_cannot_be_ended_no_longer_holds_its_parents_up(grove):
    stopping_with(grove, ATTACHED)
    grove.end("coord-123", stopped())
    assert grove.give_up("worker-1", "thread never reached a checkpoint")
    assert not grove.give_up("worker-1", "again")
    assert [moved.id for moved in sweep.sweep_unsettled(grove.database)] == ["coord-123"]
    stuck = grove.get("worker-1")
    assert (stuck.status, stuck.stop_error, stuck.node) == (
        "STOPPING",
        "thread never reached a checkpoint",
        grove.node,
    )


def test_only_a_stopping_run_is_given_up(grove):
    grove.run("worker-1")
    assert not grove.give_up("worker-1")
    assert grove.get("worker-1").stop_error is None


def test_a_run_that_has_just_left_is_not_given_up(grove):
    """Its body is over: it only waits for its child."""
    stopping_with(grove, ATTACHED)
    grove.end("coord-123", stopped())
    assert not grove.give_up("coord-123")
    assert grove.get("coord-123").stop_error is None


def test_only_its_own_node_gives_a_run_up(grove):
    grove.run("worker-1")
    grove.mark("worker-1")
    assert not grove.give_up("worker-1", node="node-2")
    assert grove.give_up("worker-1")


def test_a_given_up_run_that_ends_after_all_is_stopped(grove):
    stopping_with(grove, STUCK)
    grove.end("coord-123", stopped())
    grove.end("worker-1", stopped())
    assert grove.status("coord-123", "worker-1") == ["STOPPED", "STOPPED"]


def end_as(grove, container_id, epoch, ending):
    return end.end(grove.database, container_id, epoch, ending)

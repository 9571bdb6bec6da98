"""Stopping trees as the database sees it: marks, deadlines, order, report. On both databases, without any live node."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from lifecycle.domain.ending import completed, failed, stopped
from lifecycle.errors import ContainerNotFound, StoreUnreachable
from lifecycle.store import stops as store_stops
from lifecycle.store.clock import now
from lifecycle.store.engine import Database
from lifecycle.store.tables import containers, stops, transitions
from lifecycle.trees import stop, sweep

BY_USER = "Stopped by user"
BY_CASCADE = "Stopped via cascade (parent container stopped)"
NOT_RUNNING = "Stopped (not running on any node)"
BROKEN = failed(RuntimeError("engine broke"))

# The seed's feature "Cascading Container Stop"


def test_stop_coordinator_stops_all_workers(grove):
    family(grove, "coord-123", "worker-1", "worker-2")
    grove.silence()
    report = grove.stop("coord-123")
    assert grove.status("coord-123", "worker-1", "worker-2") == ["STOPPED", "STOPPED", "STOPPED"]
    assert report.order == ("worker-1", "worker-2", "coord-123")
    assert sorted(report.stopped) == ["coord-123", "worker-1", "worker-2"]
    assert report.ok
    assert (report.pending, report.already_ended) == ((), ())


def test_stop_coordinator_with_nested_children_depth_first(grove):
    grove.run("coord-123")
    family(grove, "sub-coord-456", "worker-1", "worker-2", parent="coord-123")
    grove.silence()
    report = grove.stop("coord-123")
    assert report.order == ("worker-1", "worker-2", "sub-coord-456", "coord-123")
    assert set(grove.status(*report.order)) == {"STOPPED"}
    ended = [grove.get(container_id).stopped_at for container_id in report.order]
    assert max(ended[:2]) <= ended[2] <= ended[3]


def test_stop_already_stopped_coordinator_is_idempotent(grove, caplog):
    family(grove, "coord-123", "worker-1")
    grove.silence()
    grove.edit("coord-123", status="STOPPED", node=None)
    caplog.set_level("INFO", "lifecycle.stop")
    first = grove.stop("coord-123")
    assert (first.order, first.stopped, first.already_ended) == (("worker-1",), ("worker-1",), ("coord-123",))
    second = grove.stop("coord-123")
    assert (second.order, second.stopped) == ((), ())
    assert sorted(second.already_ended) == ["coord-123", "worker-1"]
    assert first.ok
    assert second.ok
    told = [(record.name, record.levelname) for record in caplog.records if record.name != "lifecycle.interrupt"]
    assert told == [("lifecycle.sweep", "WARNING"), ("lifecycle.stop", "INFO"), ("lifecycle.stop", "INFO")]


def test_stop_coordinator_with_mix_of_running_and_completed_children(grove):
    family(grove, "coord-123", "worker-1", "worker-2", "worker-3")
    grove.end("worker-1")
    grove.end("worker-3", BROKEN)
    before = [grove.get("worker-1"), grove.get("worker-3")]
    grove.silence()
    report = grove.stop("coord-123")
    assert report.order == ("worker-2", "coord-123")
    assert sorted(report.already_ended) == ["worker-1", "worker-3"]
    assert grove.status("coord-123", "worker-1", "worker-2", "worker-3") == [
        "STOPPED",
        "COMPLETED",
        "STOPPED",
        "FAILED",
    ]
    assert [grove.get("worker-1"), grove.get("worker-3")] == before


def test_stop_continues_despite_child_stop_failure(grove, caplog):
    family(grove, "coord-123", "worker-1", "worker-2", "worker-3")
    grove.mark("coord-123")
    grove.end("worker-1", stopped())
    grove.end("worker-3", stopped())
    grove.end("coord-123", stopped())
    grove.give_up("worker-2", "thread reached no checkpoint")
    sweep.sweep_unsettled(grove.database)
    assert grove.status("coord-123", "worker-1", "worker-2", "worker-3") == [
        "STOPPED",
        "STOPPED",
        "STOPPING",
        "STOPPED",
    ]
    with grove.database.read() as connection:
        stop_id = connection.execute(sa.select(stops.c.id)).scalar_one()
    report = stop.report(grove.database, stop_id, grove.get("coord-123"))
    assert report.failed == {"worker-2": "thread reached no checkpoint"}
    assert not report.ok
    assert sorted(report.stopped) == ["coord-123", "worker-1", "worker-3"]
    assert report.pending == ()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "worker-2" in warnings[0]


def test_orphaned_worker_cleanup(grove):
    family(grove, "coord-123", "worker-1")
    grove.silence()
    grove.stop("coord-123")
    grove.edit("worker-1", status="RUNNING")
    report = grove.stop("coord-123")
    assert report.stopped == ("worker-1",)
    worker = grove.get("worker-1")
    assert (worker.status, worker.exit_code, worker.exit_message) == ("STOPPED", 143, BY_CASCADE)


# What a mark does


def test_a_mark_ends_at_once_what_runs_nowhere(grove):
    grove.run("coord-123")
    grove.rest("coord-123")
    grove.spawn("queued", "coord-123", resources=("ship:1",))
    grove.run("resting", "coord-123")
    grove.rest("resting")
    grove.run("lost", "coord-123")
    grove.lose("lost")
    grove.run("waiting", "coord-123")
    grove.spawn("below", "waiting")
    grove.end("waiting")
    ended = ["queued", "resting", "lost", "waiting", "below", "coord-123"]
    grove.mark("coord-123", reason="maintenance")
    for container_id in ended:
        told = grove.get(container_id)
        message = BY_USER if container_id == "coord-123" else BY_CASCADE
        assert (told.status, told.exit_code, told.exit_message, told.wake_at) == ("STOPPED", 143, message, None)
        assert (told.stop_by, told.stop_reason) == ("test", "maintenance")
        assert grove.history(container_id)[-2:] == ["STOPPING", "STOPPED"]
        assert grove.claim(container_id) is None
    assert grove.held() == {}


def test_the_history_of_a_mark_goes_down_and_that_of_its_ends_up(grove):
    """However the rows lie: one transaction writes it, and a parent never ended before its child."""
    down = ["coord-123", "sub-coord-456", "worker-1"]
    parents = [None, *down]
    grove.plant(
        [
            {"id": each, "root_id": down[0], "parent_container_id": parents[depth], "depth": depth}
            for depth, each in enumerate(down)
        ]
    )
    grove.stop("coord-123")
    with grove.database.read() as connection:
        seen = connection.execute(sa.select(transitions.c.to_status, transitions.c.container_id).order_by("id")).all()
    told = [tuple(row) for row in seen if row.to_status != "PENDING"]
    assert told == [("STOPPING", each) for each in down] + [("STOPPED", each) for each in reversed(down)]


def test_a_mark_leaves_running_what_runs_until_its_node_ends_it(grove):
    family(grove, "coord-123", "worker-1")
    grove.spawn("queued", "worker-1")
    grove.mark("coord-123")
    assert grove.status("coord-123", "worker-1", "queued") == ["STOPPING", "STOPPING", "STOPPED"]
    assert grove.get("worker-1").node == grove.node
    assert grove.claim("worker-1") is None


def test_a_mark_counts_its_rows_and_levels(grove):
    family(grove, "coord-123", "worker-1", "worker-2")
    grove.spawn("part-1", "worker-2")
    marked = grove.mark("coord-123", reason="maintenance", grace=5)
    assert (marked.count, marked.levels) == (4, 2)
    with grove.database.read() as connection:
        row = connection.execute(sa.select(stops)).one()
    assert (row.container_id, row.requested_by, row.reason, row.grace) == ("coord-123", "test", "maintenance", 5)
    assert (row.marked, row.levels, row.finished_at) == (4, 2, None)
    for container_id in ("worker-1", "worker-2", "coord-123"):
        grove.end(container_id, stopped())
    assert finished(grove)


def test_detached_children_are_untouched(grove):
    grove.run("coord-123")
    grove.run("free-1", "coord-123", detached=True)
    grove.run("below", "free-1")
    before = [grove.get("free-1"), grove.get("below")]
    grove.silence()
    grove.mark("coord-123")
    assert [grove.get("free-1"), grove.get("below")] == before
    assert grove.stop("free-1").order == ("below", "free-1")


def test_siblings_and_ancestors_are_untouched_and_then_settled(grove):
    family(grove, "coord-123", "worker-1", "worker-2")
    grove.spawn("worker-3", "coord-123")
    grove.end("worker-1")
    grove.end("coord-123", completed({"sum": 6}))
    assert grove.stop("worker-3").order == ("worker-3",)
    assert grove.status("coord-123", "worker-2", "worker-3") == ["RUNNING", "RUNNING", "STOPPED"]
    grove.silence()
    assert grove.stop("worker-2").order == ("worker-2",)
    assert (grove.status("coord-123"), grove.get("coord-123").result) == ("COMPLETED", {"sum": 6})


def test_a_worker_that_ended_just_before_stays_completed(grove):
    family(grove, "coord-123", "worker-1")
    grove.end("worker-1")
    grove.silence()
    report = grove.stop("coord-123")
    assert (grove.status("worker-1"), report.already_ended) == ("COMPLETED", ("worker-1",))


def test_a_chain_of_500(grove):
    names = [f"link-{n:03}" for n in range(500)]
    grove.plant(
        {"id": name, "root_id": names[0], "depth": n, "parent_container_id": names[n - 1] if n else None}
        for n, name in enumerate(names)
    )
    report = grove.stop(names[0])
    assert report.order == tuple(reversed(names))
    assert len(report.stopped) == 500


@pytest.mark.parametrize("player", [1, None])
def test_only_its_own_player_stops_a_container(grove, player):
    grove.spawn("coord-123", player_id=1)
    with pytest.raises(ContainerNotFound, match="container not found: coord-123"):
        grove.stop("coord-123", player_id=2)
    assert grove.status("coord-123") == "PENDING"
    assert grove.stop("coord-123", player_id=player).stopped == ("coord-123",)


def test_an_unknown_container_is_named_and_no_stop_is_recorded(grove):
    with pytest.raises(ContainerNotFound, match="container not found: nobody"):
        grove.stop("nobody")
    assert count(grove.database, stops) == 0


def test_a_stop_of_what_has_ended_gives_back_what_it_still_holds(grove):
    grove.run("worker-1", resources=("ship:1",))
    grove.edit("worker-1", status="STOPPED", node=None)
    grove.stop("worker-1")
    assert grove.held() == {}
    assert finished(grove)


def test_who_waits_for_results_hears_of_every_row_that_the_stop_ended_itself(grove):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.spawn("queued", "coord-123")
    grove.end("coord-123")
    grove.silence()
    report = grove.stop("coord-123")
    assert sorted(grove.doorbell.told) == sorted(report.order)
    assert report.notes == (stop.NO_BROKER,)


def test_no_node_alive_and_the_stop_ends_through_the_database_alone(grove):
    grove.register("node-2")
    grove.run("coord-123")
    grove.spawn("worker-1", "coord-123", resources=("ship:1",))
    grove.claim("worker-1", node="node-2")
    grove.spawn("worker-2", "worker-1")
    for node in ("node-1", "node-2"):
        grove.silence(node)
    report = grove.stop("coord-123")
    assert report.ok
    assert report.order == ("worker-2", "worker-1", "coord-123")
    assert set(grove.status(*report.order)) == {"STOPPED"}
    assert (grove.get("coord-123").exit_message, grove.get("worker-1").exit_message) == (NOT_RUNNING, BY_CASCADE)
    assert grove.held() == {}
    assert finished(grove)


def test_a_caller_that_dies_after_the_mark_is_not_needed(grove):
    family(grove, "coord-123", "worker-1")
    grove.mark("coord-123")
    grove.silence()
    sweep.sweep_nodes(grove.database)
    assert grove.status("coord-123", "worker-1") == ["STOPPED", "STOPPED"]


def test_a_body_that_fails_while_it_is_stopped_leaves_its_children_in_the_report(grove):
    grove.run("coord-123")
    family(grove, "sub-1", "worker-1", parent="coord-123")
    marked = grove.mark("coord-123")
    grove.end("sub-1", BROKEN)
    grove.end("worker-1", stopped())
    grove.end("coord-123", stopped())
    report = stop.report(grove.database, marked.stop_id, grove.get("coord-123"))
    assert report.order == ("worker-1", "sub-1", "coord-123")
    assert sorted(report.stopped) == ["coord-123", "worker-1"]
    assert report.already_ended == ("sub-1",)


def test_a_stop_that_does_not_wait_says_what_is_pending(grove):
    family(grove, "coord-123", "worker-1")
    report = grove.stop("coord-123", wait=False)
    assert sorted(report.pending) == ["coord-123", "worker-1"]
    assert report.stopped == ()


# Deadlines and signals


def test_a_deadline_is_the_stops_grace_or_the_containers_own(grove):
    grove.run("own", grace=7)
    grove.run("asked", grace=7)
    grove.mark("own")
    grove.mark("asked", grace=2)
    assert deadline(grove, "own") == pytest.approx(7, abs=0.01)
    assert deadline(grove, "asked") == pytest.approx(2, abs=0.01)


def test_a_deadline_is_never_before_that_of_a_live_child(grove):
    grove.run("coord-123", grace=1)
    grove.run("sub-1", "coord-123", grace=2)
    grove.run("worker-1", "sub-1", grace=9)
    grove.run("worker-2", "coord-123", grace=3)
    grove.spawn("queued", "coord-123", grace=60)
    grove.run("free-1", "coord-123", grace=90, detached=True)
    grove.mark("coord-123")
    names = ("coord-123", "sub-1", "worker-1", "worker-2")
    assert [round(deadline(grove, "coord-123", name)) for name in names] == [9, 9, 9, 3]


def test_a_signal_waits_a_second_for_each_running_level_below(grove):
    chain = ["root", "sub-1", "resting", "sub-2", "worker-1"]
    for parent, name in zip([None, *chain], chain, strict=False):
        grove.run(name, parent, grace=30)
    grove.rest("resting")
    grove.mark("root")
    assert [signal(grove, "root", name) for name in chain] == [3, 2, 2, 1, 0]


def test_a_signal_waits_at_most_half_the_grace(grove):
    chain = [f"level-{n}" for n in range(6)]
    for parent, name in zip([None, *chain], chain, strict=False):
        grove.run(name, parent)
    grove.mark("level-0", grace=4)
    assert [signal(grove, "level-0", name) for name in chain] == [2, 2, 2, 2, 1, 0]


def test_force_is_a_grace_of_nothing(grove):
    family(grove, "coord-123", "worker-1")
    grove.mark("coord-123", grace=0)
    for name in ("coord-123", "worker-1"):
        assert deadline(grove, "coord-123", name) == 0
        assert signal(grove, "coord-123", name) == 0


def test_a_second_stop_shortens_and_never_prolongs(grove):
    family(grove, "coord-123", "worker-1")
    grove.mark("coord-123", grace=30)
    first = grove.get("worker-1").stop_deadline
    grove.mark("coord-123", grace=300)
    assert grove.get("worker-1").stop_deadline == first
    grove.mark("worker-1", grace=0)
    assert grove.get("worker-1").stop_deadline < first
    assert grove.get("coord-123").stop_deadline == first
    grove.mark("coord-123", grace=0)
    assert grove.get("coord-123").stop_deadline < first


def test_a_second_stop_does_not_put_the_signal_off(grove):
    family(grove, "coord-123", "worker-1")
    grove.mark("coord-123")
    before = [grove.get(name).signal_at for name in ("coord-123", "worker-1")]
    wait_for_the_clock(grove, past=before[1])
    grove.mark("coord-123")
    assert [grove.get(name).signal_at for name in ("coord-123", "worker-1")] == before


def test_a_second_stop_keeps_who_asked_first(grove):
    family(grove, "coord-123", "worker-1")
    grove.mark("worker-1", by="alice", reason="stuck")
    grove.mark("coord-123", by="bob", reason="maintenance")
    grove.end("worker-1", stopped())
    worker = grove.get("worker-1")
    assert (worker.stop_by, worker.stop_reason, worker.exit_message) == ("alice", "stuck", BY_USER)
    assert grove.history("worker-1") == ["PENDING", "RUNNING", "STOPPING", "STOPPING", "STOPPED"]  # both asked


def test_a_second_stop_clears_what_was_given_up_and_gives_it_a_new_deadline(grove):
    family(grove, "coord-123", "worker-1")
    grove.mark("coord-123", grace=0)
    grove.give_up("worker-1")
    old = grove.get("worker-1")
    wait_for_the_clock(grove, past=old.stop_deadline)
    grove.mark("coord-123", grace=5)
    again = grove.get("worker-1")
    assert (again.status, again.stop_error) == ("STOPPING", None)
    assert again.stop_deadline > old.stop_deadline
    grove.end("coord-123", stopped())
    assert grove.status("coord-123") == "STOPPING"  # waited for again
    grove.end("worker-1", stopped())
    assert grove.status("coord-123") == "STOPPED"


def test_what_was_given_up_under_an_ended_parent_is_stopped_again(grove):
    family(grove, "coord-123", "worker-1")
    grove.mark("coord-123")
    grove.give_up("worker-1")
    grove.end("coord-123", stopped())
    assert grove.status("coord-123") == "STOPPED"
    grove.silence()
    report = grove.stop("coord-123")
    assert report.stopped == ("worker-1",)


# Two callers


@pytest.mark.parametrize("second", ["coord-123", "worker-1", "root"])
def test_a_caller_waits_on_though_another_stops_the_same_rows(grove, second):
    """It would otherwise report a tree as over that is still running."""
    grove.run("root")
    family(grove, "coord-123", "worker-1", parent="root")
    first = grove.mark("coord-123")
    grove.mark(second)
    for left in ("coord-123", "worker-1"):
        assert is_waited_for(grove, first)
        grove.end(left, stopped())
    assert not is_waited_for(grove, first)


def is_waited_for(grove, marked):
    with grove.database.read() as connection:
        return store_stops.unfinished(connection, marked.stop_id)[0] > 0


# The database fails


@pytest.mark.postgres
def test_a_lock_that_another_holds_in_the_mark_is_an_error_and_nothing_is_half_marked(postgres_grove):
    grove = three_levels(postgres_grove)
    before = snapshot(grove)
    impatient = Database(f"{grove.database.url.render_as_string(False)}?options=-clock_timeout%3D100ms")
    with holding(grove, "worker-1"), pytest.raises(StoreUnreachable, match="lock timeout"):
        stop.mark(impatient, stop.Request(container_id="coord-123", by="test"))
    impatient.dispose()
    assert snapshot(grove) == before
    assert grove.mark("coord-123").count == 3


@pytest.mark.postgres
def test_a_connection_that_is_cut_in_the_mark_is_an_error_and_nothing_is_half_marked(postgres_grove):
    grove = three_levels(postgres_grove)
    before = snapshot(grove)
    with ThreadPoolExecutor() as pool, holding(grove, "worker-1"):
        marking = pool.submit(grove.stop, "coord-123")
        cut_off_who_waits(grove.database)
        with pytest.raises(StoreUnreachable):
            marking.result(timeout=10)
    assert snapshot(grove) == before


def test_a_locked_sqlite_file_is_an_error_and_nothing_is_half_marked(sqlite_grove):
    grove = three_levels(sqlite_grove)
    before = snapshot(grove)
    impatient = Database(str(grove.database.url), busy_timeout=0.05)
    with grove.database.begin(), pytest.raises(StoreUnreachable, match="database is locked"):
        stop.mark(impatient, stop.Request(container_id="coord-123", by="test"))
    impatient.dispose()
    assert snapshot(grove) == before


@contextmanager
def holding(grove, container_id):
    """Another transaction has the row."""
    with grove.database.engine.connect() as connection:
        connection.execute(sa.select(containers.c.id).where(containers.c.id == container_id).with_for_update())
        yield
        connection.rollback()


def cut_off_who_waits(database):
    waiting = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    end = time.monotonic() + 10
    while time.monotonic() < end:  # a new transaction a look: within one, the server shows what it showed first
        with database.read() as connection:
            if connection.execute(waiting).all():
                return
    pytest.fail("nobody waits for a lock")


def three_levels(grove):
    grove.run("coord-123", resources=("ship:1",))
    grove.run("sub-1", "coord-123")
    grove.run("worker-1", "sub-1")
    return grove


def snapshot(grove):
    """Everything a mark could have changed."""
    with grove.database.read() as connection:
        rows = connection.execute(sa.select(containers).order_by(containers.c.id)).all()
        changes = connection.execute(sa.select(transitions)).all()
    return rows, changes, count(grove.database, stops), grove.held()


# Cost


def test_ten_workers_and_a_thousand_take_the_same_statements(grove):
    counts = {}
    for workers in (10, 1_000):
        root = f"coord-{workers}"
        plant_fan(grove, root, workers)
        with counted(grove.database) as statements:
            report = grove.stop(root)
        assert len(report.stopped) == workers + 1
        counts[workers] = len(statements)
    assert counts[10] == counts[1_000]
    assert counts[10] < 40


def plant_fan(grove, root, workers):
    grove.plant([{"id": root, "root_id": root}])
    grove.plant({"id": f"{root}-{n}", "root_id": root, "parent_container_id": root, "depth": 1} for n in range(workers))


@contextmanager
def counted(database):
    """The statements that go to the database meanwhile."""
    statements = []

    def note(_connection, _cursor, statement, *_):
        statements.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    yield statements
    sa.event.remove(database.engine, "before_cursor_execute", note)


def family(grove, coordinator, *workers, parent=None):
    """A running coordinator and its running workers."""
    grove.run(coordinator, parent)
    for worker in workers:
        grove.run(worker, coordinator)


def requested_at(grove, target):
    query = sa.select(stops.c.requested_at).where(stops.c.container_id == target).order_by(stops.c.id.desc()).limit(1)
    with grove.database.read() as connection:
        return connection.execute(query).scalar_one()


def deadline(grove, target, container_id=None):
    """Seconds from the stop of `target` to the deadline of a row, its own or one below."""
    return (grove.get(container_id or target).stop_deadline - requested_at(grove, target)).total_seconds()


def signal(grove, target, container_id):
    """Seconds from the stop of `target` to this row's signal."""
    return (grove.get(container_id).signal_at - requested_at(grove, target)).total_seconds()


def wait_for_the_clock(grove, past):
    """Until the database's clock is past a time: SQLite's ticks once a millisecond."""
    with grove.database.read() as connection:
        while connection.execute(sa.select(now())).scalar_one() <= past:
            pass


def finished(grove):
    """Every stop is noted as over."""
    with grove.database.read() as connection:
        ends = connection.execute(sa.select(stops.c.finished_at)).scalars().all()
    return bool(ends) and None not in ends


def count(database, table):
    with database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


# What hides from the way down, and from a report


def test_a_new_stop_comes_to_what_was_given_up_below_an_ended_parent(grove):
    """The parents of what could not be stopped do not wait for it; they end, and it runs on below them."""
    grove.run("coord-123")
    family(grove, "sub-coord-456", "worker-1", parent="coord-123")
    grove.mark("coord-123", grace=0)
    grove.give_up("worker-1")
    grove.end("sub-coord-456", stopped())
    grove.end("coord-123", stopped())
    assert grove.status("coord-123", "sub-coord-456", "worker-1") == ["STOPPED", "STOPPED", "STOPPING"]
    report = grove.stop("coord-123", wait=False)
    assert (report.order, report.pending, report.failed) == (("worker-1",), ("worker-1",), {})
    assert grove.get("worker-1").stop_error is None
    grove.end("worker-1", stopped())
    assert grove.status("worker-1") == "STOPPED"


def test_a_new_stop_leaves_alone_what_lives_detached_below_an_ended_parent(grove):
    grove.run("coord-123")
    grove.run("sub-coord-456", "coord-123")
    grove.run("worker-1", "sub-coord-456", detached=True)
    grove.run("worker-2", "worker-1")
    grove.edit("worker-1", status="COMPLETED", node=None)
    grove.edit("sub-coord-456", status="COMPLETED", node=None)
    assert grove.stop("coord-123", wait=False).order == ("coord-123",)
    assert grove.status("worker-2") == "RUNNING"


def test_the_first_of_two_stops_reports_what_both_asked_to_end(grove):
    family(grove, "coord-123", "worker-1")
    first = grove.stop("coord-123", wait=False, by="alice")
    second = grove.stop("coord-123", wait=False, by="bob")
    assert first.stop_id != second.stop_id
    grove.give_up("worker-1", why="does not stop")
    for each in (first, second):
        report = stop.report(grove.database, each.stop_id, grove.get("coord-123"))
        assert report.order == ("worker-1", "coord-123")
        assert report.failed == {"worker-1": "does not stop"}
    assert [change.by for change in grove.changes("worker-1")][-2:] == ["alice", "bob"]

"""The statements that run all the time go through indexes over live rows, however many have ended.

Each is caught as it goes to the database, and the database is asked how it would run it.
"""

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from lifecycle.store import containers, dispatches, endings, interrupts, marks, nodes, orphans, runs, stops

ENDED = 100_000
HISTORY = {
    "postgresql": f"""
        INSERT INTO containers (id, root_id, parent_container_id, depth, container_type, status, created_at, updated_at)
        SELECT 'ended-' || n, 'coord-123', 'coord-123', 1, 'WORK', 'COMPLETED', now(), now()
          FROM generate_series(1, {ENDED}) n
    """,
    "sqlite": f"""
        WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {ENDED})
        INSERT INTO containers (id, root_id, parent_container_id, depth, container_type, status, created_at, updated_at)
        SELECT 'ended-' || n, 'coord-123', 'coord-123', 1, 'WORK', 'COMPLETED', '2025-11-24 10:00:00.000',
               '2025-11-24 10:00:00.000' FROM series
    """,
}
PAST = """
    INSERT INTO transitions (container_id, at, to_status, epoch, stop_id)
    SELECT id, created_at, status, 1, 1000 FROM containers WHERE id LIKE 'ended-%'
"""


GIVEN_BACK = """
    INSERT INTO assignments (resource, container_id, assigned_at, released_at, released_why)
    SELECT 'ship:' || id, id, created_at, created_at, 'COMPLETED' FROM containers WHERE id LIKE 'ended-%'
"""


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def grove(request, planted_grove):
    """One coordinator with 100,000 ended children, a few live ones and one below them; and other live trees."""
    grove = planted_grove(request.param)
    grove.run("coord-123")
    plant_others(grove)
    with grove.database.begin() as connection:
        connection.execute(sa.text(HISTORY[request.param]))
        connection.execute(sa.text(PAST))
        connection.execute(sa.text(GIVEN_BACK))
    for n in range(5):
        grove.run(f"worker-{n}", "coord-123")
    grove.spawn("queued", "coord-123")
    grove.spawn("due", wake_in=-1)
    grove.run("part-1", "worker-1")
    grove.mark("worker-0")
    leave_behind(grove)
    with grove.database.begin() as connection:
        connection.execute(sa.text("ANALYZE"))
    yield grove
    grove.database.dispose()


def leave_behind(grove):
    """What a sweep and a recovery look for, a few of each."""
    cut_off = grove.run("cut-off")
    for n in range(3):
        grove.run(f"left-{n}", cut_off)
    grove.lose("left-0")
    grove.lose("cut-off")
    grove.run("ready")
    grove.interrupt("ready")
    grove.run("over", resources=("ship:1",))
    grove.run("orphan", "over")
    grove.edit("over", status="COMPLETED", node=None)
    grove.run("by-hand")
    grove.edit("by-hand", status="STOPPING")


def plant_others(grove):
    """3,000 live rows: a third executes elsewhere, a third sleeps, a third is queued."""
    later = datetime.now(UTC) + timedelta(days=1)
    kinds = [
        {"status": "RUNNING", "node": "node-2", "wake_at": None},
        {"status": "RUNNING", "node": None, "wake_at": later, "dispatched_at": None},
        {"status": "PENDING", "node": None, "wake_at": None},
    ]
    for kind in kinds:
        name = f"{kind['status']}-{kind['node']}"
        grove.plant({"id": f"{name}-{n}", "root_id": f"{name}-{n}", **kind} for n in range(500))
        at = {"depth": 1, **kind}
        parents = {f"{name}-{n}-child": f"{name}-{n}" for n in range(500)}
        grove.plant({"id": own, "root_id": above, "parent_container_id": above, **at} for own, above in parents.items())


def claim(connection):
    return runs.claim(connection, "queued", node="node-1", pid=1, pid_started=1)


def lose(connection):
    return interrupts.interrupt(
        connection, "worker-2", 1, node="node-1", why="node lost", wait=5.0, attempt="restart 1/3", restart_count=1
    )


def mark(connection):
    return marks.mark(connection, "coord-123", by="test", reason=None, grace=None, message="Stopped by user")


def mark_orphans(connection):
    return marks.mark_all(connection, orphans.orphans(connection, 10, lock=True), by="sweep", message="Orphaned")


HOT = {
    "claim": (claim, "containers_pkey"),
    "lock of a parent": (lambda on: containers.lock_parent(on, "coord-123"), "containers_pkey"),
    "live children": (lambda on: containers.children(on, "coord-123", live_only=True), "idx_containers_live_children"),
    "is a child alive": (lambda on: runs.has_live_child(on, "coord-123"), "idx_containers_live_children"),
    "settle": (lambda on: endings.settle(on, "coord-123"), "idx_containers_live_children"),
    "lose": (lose, "containers_pkey"),
    "mark of a tree": (mark, "idx_containers_live_children"),
    "due rows": (lambda on: dispatches.take_due(on, 10), "idx_containers_due"),
    "rows of a node": (lambda on: nodes.held(on, "node-1", ["worker-1", "ended-7"]), "idx_containers_live_node"),
    "rows a node leaves": (lambda on: nodes.rows_on_node(on, "node-1"), "idx_containers_live_node"),
    "rows on dead nodes": (nodes.rows_on_dead_nodes, "idx_containers_live"),
    "rows left unsettled": (endings.unsettled, "idx_containers_over"),
    "rows of a stop": (lambda on: stops.rows_of(on, 1), "idx_transitions_stop"),
    "rest of a stop": (lambda on: stops.unfinished(on, 1), "idx_transitions_stop"),
    "newest containers": (lambda on: containers.find(on, limit=10), "idx_containers_created"),
}
PASSES = {
    "rows on silent nodes": (nodes.rows_on_silent_nodes, "idx_containers_live"),
    "what cut-off runs left": (lambda on: interrupts.superseding(on, 10), "idx_containers_interrupted"),
    "what this run left": (lambda on: interrupts.is_superseding(on, "cut-off", 1), "idx_containers_live_children"),
    "what goes with its parent": (
        lambda on: interrupts.left_interrupted(on, "cut-off", 1),
        "idx_containers_(live_children|interrupted)",  # PostgreSQL 15 takes the second: neither knows what has ended
    ),
    "mark of what a run left": (lambda on: interrupts.supersede(on, "cut-off", 1), "idx_containers_live_children"),
    "what may go on": (lambda on: interrupts.resume(on, 10), "idx_containers_interrupted"),
    "what waits": (interrupts.waiting, "idx_containers_interrupted"),
    "budget": (lambda on: interrupts.budget(on, "worker-2"), "containers_pkey"),
    "orphans": (lambda on: orphans.orphans(on, 10), "idx_containers_live"),
    "mark of orphans": (mark_orphans, "idx_containers_live_children"),
    "stopped by hand": (lambda on: orphans.stopped_by_hand(on, 10), "idx_containers_live"),
    "owed": (lambda on: orphans.owed(on, 10), "assignments_held"),
    "release of what is owed": (lambda on: orphans.release_owed(on, 10), "assignments_held"),
}
# An index over what has ended too, or one over all rows that is read from end to end.
HISTORY_READ = re.compile(
    r"idx_containers_(parent_player|player|created|ended|claimed)"
    r"|Seq Scan on (containers|assignments)"
    r"|Scan using (containers|assignments)_pkey on \w+( \w+)?(\n(?! *Index Cond)|$)"
    r"|SCAN (containers|parent|child|assignments)"
    r"(?! USING (COVERING )?INDEX idx_(containers_(live|interrupted)|assignments_held))"
)


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_reads_no_history(grove, name):
    call, index = HOT[name]
    plans = [plan for plan in plans_of(grove.database, call) if "containers" in plan]
    assert plans
    for plan in plans:
        assert not scans(plan), plan
    if not (grove.database.dialect == "sqlite" and index == "containers_pkey"):
        assert any(index in plan for plan in plans), plans


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_reads_only_what_lives_or_is_held(grove, name):
    call, index = PASSES[name]
    plans = [plan for plan in plans_of(grove.database, call) if "containers" in plan or "assignments" in plan]
    assert not any(HISTORY_READ.search(plan) for plan in plans), plans
    if not (grove.database.dialect == "sqlite" and index == "containers_pkey"):
        assert any(re.search(index, plan) for plan in plans), plans


@pytest.mark.parametrize(
    ("call", "when"),
    [
        (lambda on: dispatches.take_due(on, 10), "wake_at"),
        (lambda on: dispatches.waiting_queues(on, 60.0), "dispatched_at"),
    ],
)
def test_what_is_not_due_yet_is_not_read(grove, call, when):
    """An index is searched by the time, not read to its end: a hundred thousand may sleep."""
    [plan, *_] = plans_of(grove.database, call)
    assert re.search(rf"Index Cond: \(+{when} <|USING INDEX \w+ \({when}<\?\)", plan), plan


@pytest.mark.parametrize(
    "sabotage",
    [
        "SELECT * FROM containers WHERE status = 'COMPLETED'",
        "SELECT id FROM containers WHERE parent_container_id = 'coord-123' AND player_id IS NULL",
        "SELECT * FROM assignments WHERE released_why = 'x'",
        "SELECT * FROM containers ORDER BY id LIMIT 10",
    ],
)
def test_history_that_is_read_would_be_seen(grove, sabotage):
    plans = plans_of(grove.database, lambda on: on.execute(sa.text(sabotage)).all())
    assert any(HISTORY_READ.search(plan) for plan in plans), plans


@pytest.mark.parametrize("sabotage", ["SELECT * FROM containers WHERE status = 'COMPLETED' AND exit_message = 'x'"])
def test_a_scan_would_be_seen(grove, sabotage):
    plans = plans_of(grove.database, lambda on: on.execute(sa.text(sabotage)).all())
    assert any(scans(plan) for plan in plans)


def test_a_stop_reports_fast_over_a_long_history(grove):
    """What had ended before is read through the parent's index, the newest thousand of it."""
    with grove.database.read() as connection:
        assert len(stops.ended_below(connection, 1, "coord-123")) == 1_000
    plans = plans_of(grove.database, lambda on: stops.ended_below(on, 1, "worker-0"))
    assert not any(scans(plan) for plan in plans), plans


@pytest.mark.postgres
def test_a_stop_of_a_wide_tree_is_reported_through_the_index(postgres_grove):
    """A planner that knows of one parent alone would read the whole table, for each container of the stop anew."""
    grove = postgres_grove
    grove.run("wide")
    grove.plant({"id": f"wide-{n}", "root_id": "wide", "parent_container_id": "wide", "depth": 1} for n in range(2_000))
    with grove.database.begin() as connection:
        connection.execute(sa.text("ANALYZE"))
    stop_id = grove.mark("wide").stop_id
    with caught(grove.database) as statements, grove.database.read() as connection:
        assert stops.ended_below(connection, stop_id, "wide") == []
        [(statement, parameters)] = [each for each in statements if "LATERAL" in each[0]]
        plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))
    assert not scans(plan), plan


def scans(plan):
    """True if the plan reads `containers` or its primary key from end to end."""
    sequential = re.search(
        r"Seq Scan on containers|SCAN (containers|child|parent)(?! USING (COVERING )?INDEX idx_)", plan
    )
    return sequential is not None


def plans_of(database, call):
    """How the database would run each statement of `call`, which is undone."""
    with caught(database) as statements, database.engine.connect() as connection:
        call(connection)
        connection.rollback()
    explain = "EXPLAIN QUERY PLAN " if database.dialect == "sqlite" else "EXPLAIN (COSTS OFF) "
    plans = []
    with database.read() as connection:
        for statement, parameters in statements:
            rows = connection.exec_driver_sql(explain + statement, parameters)
            plans.append("\n".join(str(row[-1]) for row in rows))
    return plans


@contextmanager
def caught(database):
    """What goes to the database meanwhile, with its parameters."""
    statements = []

    def note(_connection, _cursor, statement, parameters, *_):
        if re.match(r"SELECT|INSERT|UPDATE|DELETE|WITH", statement):
            statements.append((statement, parameters))

    sa.event.listen(database.engine, "before_cursor_execute", note)
    yield statements
    sa.event.remove(database.engine, "before_cursor_execute", note)

"""Two connections at once, on PostgreSQL: SQLite lets one write at a time and cannot show any of this.

Each race is run in both forced orders, where one transaction is open until the other waits or is through, and then
500 times as it comes. Invariants are named as in the design, section 10.
"""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier

import pytest
import sqlalchemy as sa

from lifecycle.domain.ending import completed, failed, stopped
from lifecycle.errors import (
    ContainerExists,
    ContainerStopped,
    ExecutionSuperseded,
    InvalidParent,
    ResourceHeld,
    StoreUnreachable,
)
from lifecycle.store import dispatches, endings, marks, nodes, runs
from lifecycle.store.engine import Database
from lifecycle.trees import dispatch, end, interrupt, spawn, sweep
from lifecycle.trees.interrupt import Cut
from tests.integration.conftest import Grove

pytestmark = pytest.mark.postgres

ROUNDS = 500
SOME = 60  # where a round takes long, or is a variation
SKEW = 0.02  # seconds a call is late at most, by chance: longer than a whole mark, so that each order comes
BROKEN = failed(RuntimeError("engine broke"))

ESCAPED = """
    SELECT child.id, child.status, parent.status FROM containers child
      JOIN containers parent ON parent.id = child.parent_container_id
     WHERE NOT child.detached AND child.status IN ('PENDING', 'RUNNING', 'INTERRUPTED')
       AND (parent.status IN ('STOPPING', 'COMPLETED', 'FAILED', 'STOPPED'))
"""
OUTLIVED = """
    SELECT child.id, child.status, parent.status FROM containers child
      JOIN containers parent ON parent.id = child.parent_container_id
     WHERE NOT child.detached AND child.status = 'STOPPING' AND child.stop_error IS NULL
       AND (parent.status IN ('COMPLETED', 'FAILED', 'STOPPED'))
"""
UNSETTLED = """
    SELECT id, status, outcome FROM containers parent
     WHERE status IN ('RUNNING', 'STOPPING') AND node IS NULL AND (outcome IS NOT NULL OR status = 'STOPPING')
       AND NOT EXISTS (SELECT 1 FROM containers child WHERE child.parent_container_id = parent.id
            AND child.status IN ('PENDING', 'RUNNING', 'INTERRUPTED', 'STOPPING') AND NOT child.detached)
"""
HELD_BY_ENDED = """
    SELECT resource, container_id FROM assignments JOIN containers ON containers.id = container_id
     WHERE released_at IS NULL AND status IN ('COMPLETED', 'FAILED', 'STOPPED')
"""
TWICE_ENDED = """
    SELECT container_id FROM transitions WHERE to_status IN ('COMPLETED', 'FAILED', 'STOPPED')
     GROUP BY container_id HAVING count(*) > 1
"""
LIVE = "SELECT id, status FROM containers WHERE status IN ('PENDING', 'RUNNING', 'INTERRUPTED', 'STOPPING')"
WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
def grove(postgres_grove):
    yield postgres_grove
    for broken in (ESCAPED, OUTLIVED, UNSETTLED, HELD_BY_ENDED, TWICE_ENDED):
        assert rows(postgres_grove, broken) == []


@pytest.fixture
def pool():
    with ThreadPoolExecutor(12) as threads:
        yield threads


# Which designs leak a child that is spawned while its parent is being stopped

FOREIGN_KEY, SHARE, NO_KEY_UPDATE = "", "FOR SHARE", "FOR NO KEY UPDATE"
KEY_SHARE = "FOR KEY SHARE"
AT_ONCE = """
    WITH RECURSIVE tree AS (
        SELECT id FROM specimens WHERE id = 'parent'
        UNION ALL SELECT s.id FROM specimens s JOIN tree ON s.parent = tree.id)
    UPDATE specimens SET status = 'STOPPING' WHERE id IN (SELECT id FROM tree) AND status = 'RUNNING'
"""
LEVEL_BY_LEVEL = """
    UPDATE specimens SET status = 'STOPPING' WHERE id = 'parent' AND status = 'RUNNING';
    UPDATE specimens SET status = 'STOPPING' WHERE parent = 'parent' AND status = 'RUNNING'
"""


@pytest.mark.parametrize(
    ("lock", "cascade", "escapes"),
    [
        (FOREIGN_KEY, AT_ONCE, True),
        (FOREIGN_KEY, LEVEL_BY_LEVEL, True),
        (KEY_SHARE, AT_ONCE, True),
        (KEY_SHARE, LEVEL_BY_LEVEL, True),
        (SHARE, AT_ONCE, True),
        (SHARE, LEVEL_BY_LEVEL, False),
        (NO_KEY_UPDATE, AT_ONCE, True),
        (NO_KEY_UPDATE, LEVEL_BY_LEVEL, False),
    ],
)
def test_only_a_locked_parent_and_a_cascade_by_levels_let_no_child_escape(
    postgres_database, pool, lock, cascade, escapes
):
    with specimens(postgres_database):
        with postgres_database.begin() as connection:
            connection.execute(sa.text(f"SELECT status FROM specimens WHERE id = 'parent' {lock}"))
            connection.execute(sa.text("INSERT INTO specimens VALUES ('child', 'parent', 'RUNNING')"))
            stopping = pool.submit(execute_each, postgres_database, cascade)
            until_through_or_waiting(postgres_database, stopping)
        stopping.result(timeout=10)
        with postgres_database.read() as connection:
            status = dict(connection.execute(sa.text("SELECT id, status FROM specimens")).all())
    assert status == {"parent": "STOPPING", "child": "RUNNING" if escapes else "STOPPING"}


@contextmanager
def specimens(database):
    with database.begin() as connection:
        columns = "id text PRIMARY KEY, parent text REFERENCES specimens, status text"
        connection.execute(sa.text(f"CREATE TABLE specimens ({columns})"))
        connection.execute(sa.text("INSERT INTO specimens VALUES ('parent', NULL, 'RUNNING')"))
    yield
    with database.begin() as connection:
        connection.execute(sa.text("DROP TABLE specimens"))


def execute_each(database, statements):
    """In one transaction, each statement with a snapshot of its own."""
    with database.begin() as connection:
        for statement in statements.split(";"):
            connection.execute(sa.text(statement))


# Spawn and stop


def test_a_child_whose_spawn_is_open_is_stopped_with_its_parent(grove, pool):
    execution = grove.run("coord-123")
    with grove.database.begin() as connection:
        spawn.record(connection, grove.birth("worker-1", execution, resources=("ship:1",)))
        marking = beside(pool, grove, grove.mark, "coord-123")
        assert not marking.done()
    assert marking.result(timeout=10).count == 2
    assert grove.status("coord-123", "worker-1") == ["STOPPING", "STOPPED"]


def test_a_spawn_under_an_open_mark_waits_and_is_refused(grove, pool):
    execution = grove.run("coord-123")
    with open_mark(grove, "coord-123"):
        inside = beside(pool, grove, grove.spawn, "worker-1", execution)
        outside = beside(pool, grove, grove.spawn, "worker-2", "coord-123")
    with pytest.raises(ContainerStopped):
        inside.result(timeout=10)
    with pytest.raises(InvalidParent):
        outside.result(timeout=10)
    assert grove.children("coord-123") == []


def test_a_spawn_deep_in_a_tree_that_is_marked_from_its_root(grove, pool):
    chain = ["root", "sub-1", "sub-2"]
    plant_chain(grove, chain)
    with grove.database.begin() as connection:
        spawn.record(connection, grove.birth("worker-1", "sub-2"))
        marking = beside(pool, grove, grove.mark, "root")
        assert not marking.done()
    assert marking.result(timeout=10).count == 4


def test_siblings_are_spawned_side_by_side(grove, pool):
    grove.run("coord-123")
    with grove.database.begin() as connection:
        spawn.record(connection, grove.birth("worker-1", "coord-123"))
        assert beside(pool, grove, grove.spawn, "worker-2", "coord-123").done()


def test_spawns_and_stops_as_they_come(grove, pool):
    spawned = 0
    for root, _ in plant_families(grove, children=1, rounds=ROUNDS // 2):
        born, _ = at_once(pool, partial(born_or_refused, grove, f"{root}-new", root), partial(grove.mark, root))
        spawned += born
    assert 0 < spawned < ROUNDS // 2  # both orders were met
    queued = [status for name, status in statuses(grove).items() if name.endswith("new")]
    assert queued == ["STOPPED"] * spawned


def test_ten_workers_being_spawned_while_their_coordinator_is_stopped(grove, pool):
    spawned = 0
    for n in range(50):
        coordinator = grove.run(f"coord-{n}")
        spawns = [partial(born_or_refused, grove, f"worker-{n}-{each}", coordinator) for each in range(10)]
        *born, _ = at_once(pool, *spawns, partial(grove.mark, coordinator.id))
        spawned += sum(born)
        grove.end(coordinator.id, stopped())
    assert 0 < spawned < 500
    assert rows(grove, LIVE) == []


def born_or_refused(grove, container_id, parent):
    try:
        grove.spawn(container_id, parent)
    except (ContainerStopped, ExecutionSuperseded, InvalidParent):
        return False
    return True


# The last children, their parent's body, and a stop


def test_two_last_children_that_end_at_once(grove, pool):
    plant_waiting(grove, "coord-123", "worker-1", "worker-2")
    with open_end(grove, "worker-1") as ended:
        second = beside(pool, grove, grove.end, "worker-2")
        assert second.done()  # it does not wait for its sibling, whom it still sees alive
    assert [moved.id for moved in second.result()] == ["worker-2"]
    assert [moved.id for moved in settle_after(grove, ended)] == ["coord-123"]
    assert grove.history("coord-123")[-1] == "COMPLETED"


def test_two_who_settle_one_parent(grove, pool):
    plant_waiting(grove, "coord-123", "worker-1", "worker-2")
    for worker in ("worker-1", "worker-2"):
        with open_end(grove, worker) as ended:
            assert ended.status == "COMPLETED"
    with grove.database.begin() as connection:
        runs.lock(connection, "coord-123")
        assert endings.settle(connection, "coord-123").status == "COMPLETED"
        second = beside(pool, grove, settle_after, grove, ended)
    assert second.result(timeout=10) == []


def test_last_children_as_they_come(grove, pool):
    for _, (one, two) in plant_families(grove, children=2, waiting=True):
        at_once(pool, partial(grove.end, one), partial(grove.end, two))
    assert set(statuses(grove).values()) == {"COMPLETED"}


def test_three_levels_of_last_children_as_they_come(grove, pool):
    """Both children settle upwards through the same chain."""
    for n in range(SOME):
        chain = [f"{n}-root", f"{n}-sub-1", f"{n}-sub-2"]
        plant_chain(grove, chain, node=None, outcome="COMPLETED")
        at = {"root_id": chain[0], "node": grove.node, "epoch": 1, "status": "RUNNING"}
        at_level = [(f"{n}-high", chain[0], 1), (f"{n}-low", chain[2], 3)]
        grove.plant({"id": leaf, "parent_container_id": above, "depth": depth, **at} for leaf, above, depth in at_level)
        at_once(pool, *(partial(grove.end, leaf) for leaf, _, _ in at_level))
    assert rows(grove, LIVE) == []


def test_the_last_child_ends_while_the_body_is_ending(grove, pool):
    plant_running(grove, "coord-123", "worker-1")
    with open_end(grove, "coord-123") as body:
        last = beside(pool, grove, grove.end, "worker-1")
        assert last.done()  # it sees a parent whose body goes on, and waits for nobody
        assert grove.status("worker-1") == "COMPLETED"
    assert [moved.id for moved in last.result()] == ["worker-1"]
    assert [moved.id for moved in settle_after(grove, body)] == ["coord-123"]


def test_the_body_ends_while_the_last_child_is_ending(grove, pool):
    plant_running(grove, "coord-123", "worker-1")
    with open_end(grove, "worker-1") as ended:
        body = beside(pool, grove, grove.end, "coord-123")
        assert body.done()
    assert grove.get("coord-123").outcome == "COMPLETED"
    assert [moved.id for moved in settle_after(grove, ended)] == ["coord-123"]


@pytest.mark.parametrize(("ending", "rounds"), [(completed(), ROUNDS), (BROKEN, SOME)])
def test_a_last_child_and_a_body_as_they_come(grove, pool, ending, rounds):
    families = plant_families(grove, children=1, rounds=rounds)
    for root, (worker,) in families:
        at_once(pool, partial(grove.end, worker), partial(grove.end, root, ending))
    ended = statuses(grove)
    assert {ended[root] for root, _ in families} == {ending.outcome}
    assert rows(grove, LIVE) == []


def test_a_stop_while_the_last_child_is_ending(grove, pool):
    plant_waiting(grove, "coord-123", "worker-1")
    with open_end(grove, "worker-1") as ended:
        marking = beside(pool, grove, grove.mark, "coord-123")
        assert not marking.done()
    assert marking.result(timeout=10).count == 1
    assert grove.status("coord-123", "worker-1") == ["STOPPED", "COMPLETED"]
    assert settle_after(grove, ended) == []


def test_the_last_child_ends_while_it_is_being_marked(grove, pool):
    plant_waiting(grove, "coord-123", "worker-1")
    with open_mark(grove, "coord-123"):
        last = beside(pool, grove, grove.end, "worker-1")
        assert not last.done()
    assert [moved.id for moved in last.result(timeout=10)] == ["worker-1", "coord-123"]
    assert grove.status("coord-123", "worker-1") == ["STOPPED", "COMPLETED"]


def test_last_children_and_stops_as_they_come(grove, pool):
    families = plant_families(grove, children=1, waiting=True)
    for root, (worker,) in families:
        at_once(pool, partial(grove.end, worker), partial(grove.mark, root))
    ended = statuses(grove)
    assert {ended[root] for root, _ in families} == {"COMPLETED", "STOPPED"}  # both orders were met
    assert {ended[worker] for _, (worker,) in families} == {"COMPLETED"}


def test_a_body_ends_under_its_own_mark(grove, pool):
    plant_running(grove, "coord-123", "worker-1")
    with open_mark(grove, "coord-123"):
        body = beside(pool, grove, grove.end, "coord-123", BROKEN)
        assert not body.done()
    body.result(timeout=10)
    grove.end("worker-1", stopped())
    assert grove.status("coord-123", "worker-1") == ["FAILED", "STOPPED"]


def test_failing_bodies_and_stops_as_they_come(grove, pool):
    """Both mark the same rows."""
    families = plant_families(grove, children=1, rounds=SOME)
    for root, (worker,) in families:
        at_once(pool, partial(grove.end, root, BROKEN), partial(grove.mark, root))
        grove.end(worker, stopped())
    ended = statuses(grove)
    assert {(ended[root], ended[worker]) for root, (worker,) in families} == {("FAILED", "STOPPED")}


# An open spawn and its parent's end


@pytest.mark.parametrize("ending", [completed(), BROKEN, stopped()])
def test_a_body_that_ends_over_an_open_spawn_sees_the_child(grove, pool, ending):
    grove.run("coord-123")
    with grove.database.begin() as connection:
        spawn.record(connection, grove.birth("worker-1", "coord-123"))
        body = beside(pool, grove, grove.end, "coord-123", ending)
        assert not body.done()
    body.result(timeout=10)
    waits = ending.outcome == "COMPLETED"
    assert grove.status("coord-123", "worker-1") == (["RUNNING", "PENDING"] if waits else [ending.outcome, "STOPPED"])


def test_a_spawn_while_the_body_is_ending_waits_and_is_refused(grove, pool):
    grove.run("coord-123")
    with open_end(grove, "coord-123"):
        late = beside(pool, grove, grove.spawn, "worker-1", "coord-123")
        assert not late.done()
    with pytest.raises(InvalidParent, match="coord-123 is COMPLETED"):
        late.result(timeout=10)


def test_open_spawns_and_bodies_as_they_come(grove, pool):
    families = plant_families(grove, children=0)
    born = [
        at_once(pool, partial(born_or_refused, grove, f"{root}-new", root), partial(grove.end, root))[0]
        for root, _ in families
    ]
    ended = statuses(grove)
    assert [ended[root] for root, _ in families] == ["RUNNING" if each else "COMPLETED" for each in born]
    assert set(born) == {True, False}


# Claims


def test_a_row_that_is_being_claimed_is_marked_as_running(grove, pool):
    plant_waiting(grove, "coord-123")
    grove.plant([child_of("coord-123", "worker-1", node=None, status="PENDING", epoch=0)])
    with grove.database.begin() as connection:
        assert runs.claim(connection, "worker-1", node=grove.node, pid=1, pid_started=1).epoch == 1
        marking = beside(pool, grove, grove.mark, "coord-123")
        assert not marking.done()
    marking.result(timeout=10)
    worker = grove.get("worker-1")
    assert (worker.status, worker.node, worker.epoch) == ("STOPPING", grove.node, 1)
    assert grove.status("coord-123") == "STOPPING"
    grove.end("worker-1", stopped())


@pytest.mark.parametrize("woken", [False, True])
def test_a_claim_under_an_open_mark_waits_and_is_lost(grove, pool, woken):
    grove.spawn("worker-1")
    if woken:
        grove.edit("worker-1", status="RUNNING", epoch=1)
    with open_mark(grove, "worker-1"):
        claiming = beside(pool, grove, grove.claim, "worker-1")
        assert not claiming.done()
    assert claiming.result(timeout=10) is None
    assert grove.status("worker-1") == "STOPPED"


def test_claims_and_marks_as_they_come(grove, pool):
    families = plant_families(grove, children=1, node=None, status="PENDING", epoch=0, waiting=True)
    claims = [at_once(pool, partial(grove.claim, each), partial(grove.mark, root))[0] for root, (each,) in families]
    marked = statuses(grove)
    for claim, (root, (worker,)) in zip(claims, families, strict=True):
        assert {marked[root], marked[worker]} == ({"STOPPING"} if claim else {"STOPPED"})
    assert {claim is None for claim in claims} == {True, False}


def test_one_of_many_messages_wins_the_claim(grove, pool):
    for n in range(SOME):
        grove.spawn(f"worker-{n}")
        won = at_once(pool, *[partial(grove.claim, f"worker-{n}")] * 4)
        assert len([claimed for claimed in won if claimed]) == 1
        assert grove.get(f"worker-{n}").epoch == 1


@pytest.mark.parametrize("first", ["claim", "death"])
def test_a_claim_on_a_node_that_is_being_declared_dead_is_taken_by_the_next_sweep(grove, pool, first):
    grove.spawn("worker-1")
    grove.silence()
    with grove.database.begin() as connection:
        if first == "claim":
            runs.claim(connection, "worker-1", node=grove.node, pid=1, pid_started=1)
            other = beside(pool, grove, sweep.sweep_nodes, grove.database)
        else:
            assert nodes.declare_dead(connection) == [grove.node]
            other = beside(pool, grove, grove.claim, "worker-1")
    other.result(timeout=10)
    sweep.sweep_nodes(grove.database)
    assert grove.status("worker-1") == "INTERRUPTED"
    assert grove.claim("worker-1") is None


def test_claims_on_dying_nodes_as_they_come(grove, pool):
    """I4 and the sweep: no row is left to a node that is dead."""
    grove.plant({"id": f"worker-{n}", "root_id": f"worker-{n}"} for n in range(ROUNDS))
    claims = 0
    for n in range(ROUNDS):
        grove.register(f"dying-{n}", expires_in=-1)
        claimed, _ = at_once(
            pool, partial(grove.claim, f"worker-{n}", f"dying-{n}"), partial(sweep.sweep_nodes, grove.database)
        )
        claims += claimed is not None
    sweep.sweep_nodes(grove.database)
    assert 0 < claims < ROUNDS
    on_dead = "SELECT c.id FROM containers c JOIN nodes n ON n.id = c.node WHERE n.dead"
    assert rows(grove, on_dead) == []
    assert len(rows(grove, "SELECT id FROM containers WHERE status = 'INTERRUPTED'")) == claims


def test_executions_that_end_while_they_are_taken_for_lost(grove, pool):
    """Exactly one of the two writes (I4)."""
    families = plant_families(grove, children=0)
    wrote = [
        at_once(pool, partial(ended_or_superseded, grove, root), partial(lost_by, grove, root)) for root, _ in families
    ]
    now = statuses(grove)
    expected = {(True, False): "COMPLETED", (False, True): "INTERRUPTED"}
    assert [now[root] for root, _ in families] == [expected[tuple(each)] for each in wrote]
    assert set(now.values()) == {"COMPLETED", "INTERRUPTED"}


def ended_or_superseded(grove, container_id):
    try:
        return bool(end.end(grove.database, container_id, 1, completed()))
    except ExecutionSuperseded:
        return False


def lost_by(grove, container_id):
    return bool(interrupt.lose(grove.database, container_id, 1, node=grove.node, cut=Cut("node lost")))


# Stops of overlapping trees


@pytest.mark.parametrize(("first", "second"), [("root", "sub-1"), ("sub-1", "root"), ("root", "root")])
def test_two_overlapping_stops(grove, pool, first, second):
    plant_chain(grove, ["root", "sub-1", "worker-1"])
    with open_mark(grove, first):
        other = beside(pool, grove, grove.mark, second)
        assert not other.done()
    other.result(timeout=10)
    for container_id in ("worker-1", "sub-1", "root"):
        grove.end(container_id, stopped())
    assert rows(grove, LIVE) == []


def test_overlapping_stops_and_ends_as_they_come(grove, pool):
    for n in range(SOME // 4):
        root, subs = f"{n}-root", [f"{n}-sub-{each}" for each in range(3)]
        plant_running(grove, root, *subs)
        leaves = [f"{sub}-{each}" for sub in subs for each in range(3)]
        grove.plant(child_of(leaf[:-2], leaf, root_id=root, depth=2) for leaf in leaves)
        at_once(
            pool,
            partial(grove.mark, root),
            partial(grove.mark, subs[1]),
            partial(grove.mark, root),
            partial(grove.end, leaves[3]),
            partial(grove.end, subs[1], BROKEN),
        )
    assert rows(grove, ESCAPED) == []
    end_all_executions(grove)
    assert rows(grove, LIVE) == []


# Resources, ids and dispatchers


def test_one_of_two_spawners_gets_the_resources(grove, pool):
    for n in range(SOME // 2):
        wanted = [("ship:1", "ship:2"), ("ship:2", "ship:1")]
        won = at_once(pool, *(partial(holder_or_none, grove, f"{n}-{each}", both) for each, both in enumerate(wanted)))
        winner = next(name for name in won if name)
        assert won.count(None) == 1
        assert grove.held() == {"ship:1": winner, "ship:2": winner}
        grove.stop(winner)


def holder_or_none(grove, container_id, resources):
    try:
        return grove.spawn(container_id, resources=resources).id
    except ResourceHeld:
        return None


def test_one_of_two_spawners_gets_the_id(grove, pool):
    def spawned(container_id):
        try:
            return grove.spawn(container_id).id
        except ContainerExists:
            return None

    for n in range(SOME):
        assert sorted(at_once(pool, *[partial(spawned, f"worker-{n}")] * 2), key=str) == [None, f"worker-{n}"]


def test_two_dispatchers_share_what_is_due(grove, pool):
    """Each message is published once, and neither waits for the other."""
    for n in range(10):
        grove.spawn(f"due-{n}", wake_in=-1)
    with grove.database.begin() as connection:
        mine = dispatches.take_due(connection, 4)
        other = beside(pool, grove, take_due, grove, 100)
        assert other.done()
    assert len(mine) == 4
    assert sorted(name for name, _ in mine + other.result()) == [f"due-{n}" for n in range(10)]


def test_a_put_back_and_a_mark_do_not_wait_for_each_other(grove, pool):
    """The mark has the parent and comes for the child; what is put back may lie the other way around."""
    plant_waiting(grove, "z-coord")
    grove.plant([child_of("z-coord", "a-worker", node=None, status="PENDING", epoch=0)])
    grove.edit("z-coord", outcome=None)  # behind its child in the table too
    with grove.database.begin() as connection:
        marked = sa.text("UPDATE containers SET status = 'STOPPING' WHERE id = :id")
        connection.execute(marked, {"id": "z-coord"})
        putting = beside(pool, grove, dispatch.put_back, grove.database, ["a-worker", "z-coord"])
        assert not putting.done()
        connection.execute(marked, {"id": "a-worker"})
    putting.result(timeout=10)
    assert statuses(grove) == {"z-coord": "STOPPING", "a-worker": "STOPPING"}
    assert grove.get("z-coord").wake_at is None
    end.settle_one(grove.database, "a-worker")
    end.settle_one(grove.database, "z-coord")


def test_a_put_back_under_an_open_spawn_is_not_lost(grove, pool):
    plant_waiting(grove, "coord-123")
    grove.edit("coord-123", outcome=None)
    with grove.database.begin() as connection:
        spawn.record(connection, grove.birth("worker-1", "coord-123"))
        putting = beside(pool, grove, partial(dispatch.put_back, grove.database, ["coord-123"], seconds=-1))
    putting.result(timeout=10)
    assert [name for name, _ in take_due(grove, 10)] == ["coord-123"]


def test_what_is_being_claimed_as_it_expires_runs(grove, pool):
    grove.spawn("worker-1", expires_in=1.0)
    with grove.database.begin() as connection:
        assert runs.claim(connection, "worker-1", node=grove.node, pid=1, pid_started=1)
        time.sleep(1.1)
        assert pool.submit(sweep.sweep_expired, grove.database).result(timeout=10) == [], "it waits for no lock"
    assert grove.status("worker-1") == "RUNNING"


def take_due(grove, limit):
    with grove.database.begin() as connection:
        return dispatches.take_due(connection, limit)


# Trees to race in


def child_of(parent, container_id, **values):
    at = {"root_id": parent, "depth": 1, "parent_container_id": parent, "status": "RUNNING", "epoch": 1}
    return {"id": container_id, **at, "node": "node-1", **values}


def root_of(container_id, *, waiting):
    over = {"node": None, "outcome": "COMPLETED"} if waiting else {"node": "node-1", "outcome": None}
    return {"id": container_id, "root_id": container_id, "status": "RUNNING", "epoch": 1, **over}


def plant_running(grove, parent, *children):
    grove.plant([root_of(parent, waiting=False)])
    grove.plant(child_of(parent, child) for child in children)


def plant_waiting(grove, parent, *children):
    """The parent's body has returned."""
    grove.plant([root_of(parent, waiting=True)])
    if children:
        grove.plant(child_of(parent, child) for child in children)


def plant_chain(grove, names, *, node="node-1", outcome=None):
    grove.plant(
        child_of(above, name, root_id=names[0], depth=depth, node=node, outcome=outcome)
        for depth, (above, name) in enumerate(zip([None, *names], names, strict=False))
    )


def plant_families(grove, *, children, waiting=False, rounds=ROUNDS, **values):
    """A tree a round: a coordinator and its children."""
    families = [(f"{n}-root", tuple(f"{n}-{each}" for each in range(children))) for n in range(rounds)]
    grove.plant(root_of(root, waiting=waiting) for root, _ in families)
    if children:
        grove.plant(child_of(root, each, **values) for root, below in families for each in below)
    return families


def end_all_executions(grove):
    """What the nodes would do, deepest first."""
    executing = "SELECT id FROM containers WHERE node IS NOT NULL ORDER BY depth DESC"
    for (container_id,) in rows(grove, executing):
        grove.end(container_id, stopped())


# Orders to race in


@contextmanager
def open_end(grove, container_id, ending=None):
    """An execution's own ending, before its commit and before its settling."""
    with grove.database.begin() as connection:
        held = runs.lock(connection, container_id)
        yield endings.end(connection, container_id, held.epoch, ending or completed())


@contextmanager
def open_mark(grove, container_id):
    with grove.database.begin() as connection:
        marks.mark(connection, container_id, by="test", reason=None, grace=None, message="Stopped by user")
        yield


def settle_after(grove, ended):
    """What the same execution does next."""
    return end.settle(grove.database, ended)


def beside(pool, grove, call, *args):
    """Call it in another thread; come back when it is through or waits for a lock that we hold."""
    future = pool.submit(call, *args)
    until_through_or_waiting(grove.database, future)
    return future


def until_through_or_waiting(database, future):
    deadline = time.monotonic() + 60
    while not (future.done() or waits(database)):
        assert time.monotonic() < deadline, "it neither ended nor waited for a lock"


def waits(database):
    """Asked in a new transaction each time: within one, PostgreSQL repeats what it said of others before."""
    with database.read() as connection:
        return connection.execute(sa.text(WAITING)).scalar()


def at_once(pool, *calls):
    """All calls from one starting shot, each late by a chance of its own; their results. A deadlock would raise."""
    shot = Barrier(len(calls))

    def late(call):
        delay = random.uniform(0, SKEW)
        shot.wait(10)
        time.sleep(delay)
        return call()

    futures = [pool.submit(late, call) for call in calls]
    return [future.result(timeout=30) for future in futures]


def statuses(grove):
    return dict(rows(grove, "SELECT id, status FROM containers"))


def rows(grove, query):
    with grove.database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


# Who never commits


def test_a_stop_does_not_wait_for_ever_for_a_transaction_that_spawned(migrated_url, postgres_database):
    hasty = Grove(Database(migrated_url, busy_timeout=0.3))
    hasty.run("coord-123")
    with hasty.database.begin() as connection:
        spawn.record(connection, hasty.birth("worker-1", "coord-123"))
        with pytest.raises(StoreUnreachable, match="another transaction was in the way, try again"):
            hasty.mark("coord-123")
    assert hasty.status("coord-123", "worker-1") == ["RUNNING", "PENDING"]
    hasty.mark("coord-123")
    assert hasty.status("coord-123", "worker-1") == ["STOPPING", "STOPPED"]
    hasty.database.dispose()


def test_a_spawn_does_not_wait_for_ever_for_a_resource(migrated_url, postgres_database):
    hasty = Grove(Database(migrated_url, busy_timeout=0.3))
    with hasty.database.begin() as connection:
        spawn.record(connection, hasty.birth("first", resources=("ship:1",)))
        with pytest.raises(StoreUnreachable, match="try again"):
            hasty.spawn("second", resources=("ship:1",))
    assert hasty.held() == {"ship:1": "first"}
    hasty.database.dispose()

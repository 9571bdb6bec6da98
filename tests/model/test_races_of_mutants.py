"""Guards that only two connections at once can show: each race in one forced order, as it is and without the guard.

SQLite has one writer at a time, so the search in test_model cannot see what these are for.
"""

from contextlib import nullcontext
from functools import partial

import pytest
import sqlalchemy as sa

from lifecycle.domain.ending import completed
from lifecycle.domain.policy import STOPPED_BY_CASCADE
from lifecycle.errors import StoreUnreachable
from lifecycle.store import endings, marks, runs
from lifecycle.store.tables import containers as table
from lifecycle.store.tables import live
from lifecycle.trees import end, spawn
from tests.integration.test_races import beside, child_of, plant_running, plant_waiting

pytestmark = pytest.mark.postgres
c = table.c


# A child that is being spawned while its parent is marked


@pytest.fixture
def spawned_while_marked(grove, pool):
    """Statuses of parent and child, when the mark begins before the spawn has committed."""

    def run():
        execution = grove.run("coord-123")
        with grove.database.begin() as connection:
            spawn.record(connection, grove.birth("worker-1", execution))
            marking = beside(pool, grove, grove.mark, "coord-123")
        marking.result(timeout=10)
        return grove.status("coord-123", "worker-1")

    return run


def test_a_spawner_locks_its_parent(spawned_while_marked, is_mutant, without):
    without(" FOR SHARE OF containers")
    assert spawned_while_marked() == ["STOPPING", "PENDING" if is_mutant else "STOPPED"]


def test_a_mark_is_a_new_statement_for_each_level(spawned_while_marked, is_mutant, monkeypatch):
    if is_mutant:
        monkeypatch.setattr(marks, "_mark_down", mark_at_once)
    assert spawned_while_marked() == ["STOPPING", "PENDING" if is_mutant else "STOPPED"]


def mark_at_once(connection, wanted):
    """The same UPDATE, over the whole tree."""
    tree = sa.select(c.id).where(c.id == wanted.container_id).cte("tree", recursive=True)
    tree = tree.union_all(sa.select(c.id).where(c.parent_container_id == tree.c.id))
    level = sa.and_(c.id.in_(sa.select(tree.c.id)), live())
    return {0: marks._mark_level(connection, wanted, level, wanted.message)}


# A claim while its row is marked


def test_a_mark_is_one_update_for_all_live_statuses(grove, is_mutant, monkeypatch):
    """The claim commits after the mark has begun, before its last statement for this level."""
    plant_waiting(grove, "coord-123")
    grove.plant([child_of("coord-123", "worker-1", node=None, status="PENDING", epoch=0)])
    real, claims = marks._mark_level, [partial(grove.claim, "worker-1")]
    waits = c.status == "PENDING"

    def mark_level(connection, wanted, level, message):
        first = real(connection, wanted, sa.and_(level, ~waits), message) if is_mutant else 0
        if message == STOPPED_BY_CASCADE and claims:
            assert claims.pop()() is not None
        return first + real(connection, wanted, sa.and_(level, waits) if is_mutant else level, message)

    monkeypatch.setattr(marks, "_mark_level", mark_level)
    grove.mark("coord-123")
    assert grove.status("coord-123", "worker-1") == ["STOPPING", "RUNNING" if is_mutant else "STOPPING"]


# Endings


def test_an_ending_locks_its_row_before_it_looks_for_children(grove, pool, is_mutant, without):
    grove.run("coord-123")
    without(" FOR NO KEY UPDATE")
    with grove.database.begin() as connection:
        spawn.record(connection, grove.birth("worker-1", "coord-123"))
        ending = beside(pool, grove, grove.end, "coord-123")
        assert not ending.done()
    ending.result(timeout=10)
    assert grove.status("coord-123", "worker-1") == ["COMPLETED" if is_mutant else "RUNNING", "PENDING"]


def test_the_parent_is_settled_after_the_commit(grove, is_mutant):
    """Both last children have ended, and neither has committed yet."""
    plant_waiting(grove, "coord-123", "worker-1", "worker-2")
    with grove.database.begin() as one, grove.database.begin() as two:
        ended = [endings.end(each, worker, 1, completed()) for each, worker in ((one, "worker-1"), (two, "worker-2"))]
        if is_mutant:
            assert [endings.settle(each, "coord-123") for each in (one, two)] == [None, None]
    if not is_mutant:
        assert [moved.id for each in ended for moved in end.settle(grove.database, each)] == ["coord-123"]
    assert grove.status("coord-123") == ("RUNNING" if is_mutant else "COMPLETED")


def test_locks_go_downwards(grove, pool, is_mutant, monkeypatch):
    """A child has ended, its mark comes from above, and then the child turns to its parent."""
    plant_running(grove, "coord-123", "worker-1")
    with pytest.raises(StoreUnreachable, match="deadlock") if is_mutant else nullcontext():
        with grove.database.begin() as connection:
            runs.lock(connection, "worker-1")
            ended = endings.end(connection, "worker-1", 1, completed())
            marking = beside(pool, grove, grove.mark, "coord-123")
            assert not marking.done()
            if is_mutant:
                runs.lock(connection, "coord-123")
        assert end.settle(grove.database, ended) == []
        marking.result(timeout=10)

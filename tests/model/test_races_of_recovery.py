"""Races of recovery, of a stop and of the orphan sweep: each in one forced order, as it is and without the guard."""

import time
from contextlib import nullcontext

import pytest
import sqlalchemy as sa

from lifecycle.domain.policy import STOPPED_BY_USER, STOPPED_ORPHAN
from lifecycle.errors import StoreUnreachable
from lifecycle.store import interrupts, marks, runs
from lifecycle.trees import recover, spawn, sweep
from tests.integration.test_races import beside, child_of, rows, waits

pytestmark = pytest.mark.postgres

LOCKED = " FOR NO KEY UPDATE"
SKIPPED = " SKIP LOCKED"


@pytest.fixture
def cut_off(grove):
    """coord-123, INTERRUPTED as epoch 1, has left worker-1, which runs."""
    execution = grove.run("coord-123")
    grove.run("worker-1", execution)
    grove.interrupt("coord-123")


# Superseding


def supersede(grove, connection):
    runs.lock(connection, "coord-123")
    assert interrupts.is_superseding(connection, "coord-123", 1)
    interrupts.supersede(connection, "coord-123", 1)


def stop(grove, connection):
    marks.mark(connection, "coord-123", by="test", reason=None, grace=None, message=STOPPED_BY_USER)


@pytest.mark.usefixtures("cut_off")
@pytest.mark.parametrize("first", [supersede, stop])
def test_children_of_a_cut_off_run_are_stopped_once(grove, pool, first, is_mutant, without):
    """By another recoverer or by a stop, whose transaction is open: it is not waited for."""
    without(f"{LOCKED} SKIP LOCKED")
    with grove.database.begin() as connection:
        first(grove, connection)
        late = beside(pool, grove, recover.supersede_one, grove.database, "coord-123", 1)
    assert late.result(timeout=10)[0] == (["worker-1"] if is_mutant else [])
    assert grove.history("worker-1").count("STOPPING") == (2 if is_mutant else 1)


# Resuming


@pytest.fixture
def between(grove, pool):
    """Does something in another thread when a resuming container's UPDATE is about to be sent; once."""
    begun = []

    def do(call, *args):
        def meanwhile(_connection, _cursor, sql, _parameters, _context, _many):
            if sql.startswith("UPDATE containers") and "wake_at=coalesce" in sql and not begun:
                begun.append(None)
                begun[0] = beside(pool, grove, call, *args)

        sa.event.listen(grove.database.engine, "before_cursor_execute", meanwhile)
        return begun

    return do


def test_a_recoverer_waits_for_no_other(grove, pool, is_mutant, without):
    grove.run("coord-123")
    grove.interrupt("coord-123")
    without(SKIPPED)
    with grove.database.begin() as connection:
        assert [moved.id for moved in interrupts.resume(connection, 9)] == ["coord-123"]
        other = beside(pool, grove, recover.resume, grove.database)
        assert other.done() != is_mutant
    assert other.result(timeout=10) == []
    assert grove.history("coord-123")[-2:] == ["INTERRUPTED", "PENDING"]


def test_a_stop_that_comes_between_beats_the_resume(grove, is_mutant, without, between):
    """Either the lock or the second look would do: the mutant has neither."""
    grove.run("coord-123")
    grove.interrupt("coord-123")
    without(f"{LOCKED} OF containers{SKIPPED}")
    without(" AND containers.status = 'INTERRUPTED'")
    marking = between(grove.mark, "coord-123")
    recover.resume(grove.database)
    marking[0].result(timeout=10)
    assert grove.status("coord-123") == ("PENDING" if is_mutant else "STOPPED")


def test_a_resume_and_a_mark_do_not_wait_for_each_other(grove, pool, is_mutant, without, monkeypatch):
    """The mark has the parent, the resume comes from the child of a run that rested: it was due before its parent."""
    grove.spawn("worker-1", grove.run("coord-123"))
    grove.rest("coord-123", seconds=0)
    grove.claim("worker-1")
    grove.claim("coord-123")
    grove.interrupt("worker-1")
    grove.interrupt("coord-123")
    grove.edit("worker-1", wake_at=sa.text("now() - interval '1 minute'"))
    without(SKIPPED)
    real, resuming = marks._mark_level, []

    def mark_level(*args):
        count = real(*args)
        if not resuming:
            resuming.append(beside(pool, grove, recover.resume, grove.database))
        return count

    monkeypatch.setattr(marks, "_mark_level", mark_level)
    with pytest.raises(StoreUnreachable, match="deadlock") if is_mutant else nullcontext():
        grove.mark("coord-123")
        assert [moved.id for moved in resuming[0].result(timeout=10)] == ["worker-1"]
    assert is_mutant or grove.status("coord-123", "worker-1") == ["STOPPED", "STOPPED"]


def test_what_goes_on_is_not_claimed_under_an_open_mark(grove, pool, is_mutant, without):
    grove.run("coord-123")
    grove.interrupt("coord-123")
    grove.recover()
    without("containers.status IN ('PENDING', 'RUNNING') AND ")
    with grove.database.begin() as connection:
        stop(grove, connection)
        claiming = beside(pool, grove, grove.claim, "coord-123")
        assert not claiming.done()
    assert (claiming.result(timeout=10) is not None) == is_mutant
    assert grove.status("coord-123") == ("RUNNING" if is_mutant else "STOPPED")


# A child that is being spawned while its parent is lost


def test_a_child_whose_spawn_is_open_is_superseded_with_its_run(grove, pool, is_mutant, without):
    execution = grove.run("coord-123")
    without(" FOR SHARE OF containers")
    with grove.database.begin() as connection:
        spawn.record(connection, grove.birth("worker-1", execution))
        losing = beside(pool, grove, grove.interrupt, "coord-123")
        grove.recover()
        assert (grove.claim("coord-123") is not None) == is_mutant
    losing.result(timeout=10)
    grove.recover()
    assert grove.get("coord-123").epoch == (2 if is_mutant else 1)
    assert grove.status("coord-123", "worker-1") == (["RUNNING", "PENDING"] if is_mutant else ["PENDING", "STOPPED"])


def test_a_child_whose_spawn_is_open_goes_with_a_run_that_is_lost_for_good(grove, pool, is_mutant, without):
    execution = grove.run("coord-123", max_restarts=0)
    without(f"{LOCKED} SKIP LOCKED")
    with grove.database.begin() as connection:
        spawn.record(connection, grove.birth("worker-1", execution))
        losing = beside(pool, grove, grove.lose, "coord-123")
        assert losing.done() is not is_mutant
    losing.result(timeout=10)
    if not is_mutant:
        assert grove.status("coord-123", "worker-1") == ["RUNNING", "PENDING"], "it is left for the next time"
        grove.lose("coord-123")
    assert grove.status("coord-123", "worker-1") == ["FAILED", "PENDING" if is_mutant else "STOPPED"]


# Orphans


@pytest.fixture
def orphans(grove):
    """A hand has ended coord-123 over three children that wait; they lie as they are named here."""
    grove.run("coord-123")
    grove.plant([child_of("coord-123", name, node=None, status="PENDING", epoch=0) for name in ("b", "c", "a")])
    grove.edit("coord-123", status="COMPLETED", node=None)


def both_wait(grove, *calls):
    deadline = time.monotonic() + 60
    while waits(grove.database) < len(calls) and not any(call.done() for call in calls):
        assert time.monotonic() < deadline, "they neither ended nor waited for a lock"


@pytest.mark.usefixtures("orphans")
def test_a_sweep_leaves_orphans_to_the_stop_that_has_them(grove, pool, is_mutant, without):
    without(SKIPPED)
    with grove.database.begin() as connection:
        marks.mark(connection, "a", by="test", reason=None, grace=None, message=STOPPED_BY_USER)
        sweeping = beside(pool, grove, sweep.sweep_orphans, grove.database, grove.doorbell)
        assert sweeping.done() != is_mutant
    assert sweeping.result(timeout=10) == ["b", "c"]
    said = "SELECT id, exit_message FROM containers WHERE id != 'coord-123' ORDER BY id"
    assert rows(grove, said) == [("a", STOPPED_BY_USER), ("b", STOPPED_ORPHAN), ("c", STOPPED_ORPHAN)]


@pytest.mark.usefixtures("orphans")
def test_a_sweep_and_a_stop_of_the_same_orphans_do_not_wait_for_each_other(grove, pool, is_mutant, without):
    """The stop takes them as they lie and has b, the sweep by their names and would have a; c is another's."""
    without(SKIPPED)
    with pytest.raises(StoreUnreachable, match="deadlock") if is_mutant else nullcontext():
        with grove.database.begin() as connection:
            runs.lock(connection, "c")
            marking = beside(pool, grove, grove.mark, "coord-123")
            sweeping = pool.submit(sweep.sweep_orphans, grove.database, grove.doorbell)
            both_wait(grove, marking, sweeping)
        assert sweeping.result(timeout=10) == ["a"]
        marking.result(timeout=10)
    assert is_mutant or grove.status("a", "b", "c") == ["STOPPED", "STOPPED", "STOPPED"]

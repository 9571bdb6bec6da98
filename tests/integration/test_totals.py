"""What metrics count: every row once, whoever counts or prunes at the same time, and nothing that was is forgotten."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
import sqlalchemy as sa

from lifecycle.domain.counters import Counter
from lifecycle.domain.ending import completed, failed, stopped
from lifecycle.runtime.reading import BATCH, fold, read
from lifecycle.store import gauges, prunes, totals
from lifecycle.store.tables import container_totals, stops, transitions
from lifecycle.trees.prune import prune
from tests.integration.test_queries import HISTORY_READ, caught, plans_of

STATUSES = ("COMPLETED", "FAILED", "STOPPED")
ALL = 1_000


def told(grove):
    """Every counter but the seconds that stops took, which differ from run to run."""
    with grove.database.read() as connection:
        found = totals.read(connection)
    return {tuple(each[:4]): each.value for each in found if each.name is not Counter.STOP_SECONDS}


def value(grove, counter, label=""):
    return sum(number for (name, _, which, _), number in told(grove).items() if (name, which) == (counter, label))


def count_for_good(grove, limit=ALL):
    """It waits for nobody's rows: a lock that it did wait for would be an error."""
    with grove.database.begin(impatient=True, patience=1.0) as connection:
        return totals.fold(connection, limit)


def left(grove):
    with grove.database.read() as connection:
        return totals.backlog(connection, ALL)


def end_all(grove):
    """One of each ending, a stopped tree of three levels, one that was restarted and went on, and one given up."""
    for number, ending in enumerate((completed(), completed(), failed(ValueError("no such ship")))):
        grove.run(f"w{number}", container_type="HAUL")
        grove.end(f"w{number}", ending)
    grove.run("coord")
    grove.run("middle", "coord")
    grove.run("leaf", "middle")
    grove.mark("coord")
    for name in ("leaf", "middle", "coord"):
        grove.end(name, stopped())
    grove.run("lost")
    grove.lose("lost", "process lost")
    grove.edit("lost", wake_at=None)
    grove.recover()
    grove.run("stuck")
    grove.mark("stuck")
    grove.give_up("stuck")


def test_what_is_counted_and_by_what(grove):
    end_all(grove)
    found = told(grove)
    assert {key: number for key, number in found.items() if key[0] is not Counter.STOP_BUCKET} == {
        (Counter.ENDINGS, "HAUL", "COMPLETED", ""): 2,
        (Counter.ENDINGS, "HAUL", "FAILED", ""): 1,
        (Counter.ENDINGS, "WORK", "STOPPED", ""): 3,
        (Counter.RESTARTS, "WORK", "", ""): 1,
        (Counter.RECOVERIES, "WORK", "", ""): 1,
        (Counter.STOPS, "", "1", ""): 1,
        (Counter.STOPS, "", "3", ""): 1,
        (Counter.STOP_FAILURES, "", "timeout", ""): 1,
    }
    assert [(key[2], number) for key, number in found.items() if key[0] is Counter.STOP_BUCKET] == [("3", 1)]


def test_to_count_for_good_changes_nothing_that_is_told(grove):
    end_all(grove)
    before = told(grove)
    while count_for_good(grove, 2):
        assert told(grove) == before
    assert left(grove) == 0
    assert value(grove, Counter.STOPS, "1") == 1, "the stop that has not ended is still told from its row"


def test_a_prune_forgets_nothing(grove):
    end_all(grove)
    grove.end("stuck", stopped())
    before = told(grove)
    assert prune(grove.database, older_than=0).containers == 7
    assert told(grove) == before
    with grove.database.read() as connection:
        assert connection.execute(sa.select(stops.c.id)).all() == []
    grove.claim("lost")
    grove.end("lost")
    prune(grove.database, older_than=0)
    assert told(grove) == {**before, (Counter.ENDINGS, "WORK", "COMPLETED", ""): 1}


def test_a_prune_counts_what_stays_too(grove):
    end_all(grove)
    before = told(grove)
    assert prune(grove.database, older_than=3600, batch=2).containers == 0
    assert left(grove) == 0
    assert told(grove) == before


@pytest.mark.parametrize("depth", range(1, 6))
def test_a_stop_is_counted_by_the_levels_of_its_tree(grove, depth):
    above = None
    for level in range(depth):
        above = grove.run(f"level-{level}", above)
    grove.mark("level-0")
    assert value(grove, Counter.STOPS, str(depth) if depth < 4 else "4+") == 1


def test_a_stop_of_what_has_ended_is_none(grove):
    grove.run("w")
    grove.end("w")
    grove.stop("w")
    assert [key for key in told(grove) if key[0] is Counter.STOPS] == []


def test_a_stop_takes_from_its_mark_to_the_end_of_its_tree_though_no_caller_waits(grove):
    grove.run("w")
    grove.mark("w")
    with grove.database.begin() as connection:
        connection.execute(stops.update().values(requested_at=sa.text(AGO[grove.database.dialect])))
    grove.end("w", stopped())
    assert told(grove)[Counter.STOP_BUCKET, "", "1", "35.0"] == 1
    with grove.database.read() as connection:
        (seconds,) = [each.value for each in totals.read(connection) if each.name is Counter.STOP_SECONDS]
    assert 32 <= seconds < 34


AGO = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-32 seconds')",
    "postgresql": "clock_timestamp() - interval '32 seconds'",
}


def test_a_stop_is_counted_for_good_once_it_is_over(grove):
    grove.run("w")
    grove.mark("w")
    assert count_for_good(grove) == 0
    grove.end("w", stopped())
    assert count_for_good(grove) == 2, "its ending, and the stop"
    found = told(grove)
    assert found[Counter.STOPS, "", "1", ""] == 1
    assert [number for key, number in found.items() if key[0] is Counter.STOP_BUCKET] == [1]


def test_a_stop_of_what_a_cut_off_run_left_is_over_when_its_container_goes_on(grove):
    cut_off = grove.run("coord")
    grove.run("child", cut_off)
    grove.lose("coord")
    grove.recover()
    grove.end("child", stopped())
    grove.edit("coord", wake_at=None)
    grove.recover()
    assert grove.status("coord") == "PENDING"
    assert sum(number for key, number in told(grove).items() if key[0] is Counter.STOP_BUCKET) == 1


def test_failures_of_stops(grove):
    """Given up; ended FAILED while it was stopped; killed or lost while it was stopped."""
    for name in ("stuck", "broken", "gone"):
        grove.run(name)
        grove.mark(name)
    assert grove.give_up("stuck")
    assert not grove.give_up("stuck"), "once"
    grove.end("broken", failed(ValueError("as it left")))
    grove.lose("gone")
    found = {which: number for (name, _, which, _), number in told(grove).items() if name is Counter.STOP_FAILURES}
    assert found == {"timeout": 1, "error": 1, "context_canceled": 1}


def test_orphans(grove):
    """Those that were found, and not what went with them."""
    grove.run("parent")
    orphan = grove.run("orphan", "parent")
    grove.run("below", orphan)
    grove.edit("parent", status="COMPLETED", node=None)
    grove.sweep()
    grove.sweep()
    assert value(grove, Counter.ORPHANS) == 1


def test_a_free_interruption_uses_up_no_restart(grove):
    grove.run("w")
    grove.interrupt("w")
    grove.recover()
    assert (value(grove, Counter.RESTARTS), value(grove, Counter.RECOVERIES)) == (0, 1)


# More than one at once


class GivenUp(Exception):
    """A transaction that leaves nothing behind."""


@contextmanager
def in_the_middle(grove, act, *, gives_up=False):
    """Another transaction that has done something, and is still open."""
    done, go_on = threading.Event(), threading.Event()

    def work():
        with suppress(GivenUp), grove.database.begin() as connection:
            act(connection)
            done.set()
            go_on.wait(20)
            if gives_up:
                raise GivenUp

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        assert done.wait(20)
        try:
            yield go_on.set
        finally:
            go_on.set()
            working.result(20)


def take_and_delete(grove):
    """What a prune does to each batch."""

    def act(connection):
        taken = prunes.take(connection, prunes.time_before(connection, 0), after=prunes.OLDEST, limit=ALL)
        assert prunes.delete(connection, taken)

    return act


def fold_all(connection):
    assert totals.fold(connection, ALL)


@pytest.fixture
def ended(postgres_grove):
    for number in range(20):
        postgres_grove.run(f"w{number}")
        postgres_grove.mark(f"w{number}")
        postgres_grove.end(f"w{number}", stopped())
    return postgres_grove


@pytest.mark.postgres
def test_two_that_count_at_once_count_no_row_twice(ended):
    before = told(ended)
    with in_the_middle(ended, fold_all):
        assert told(ended) == before, "nothing is told twice while one is at it"
        assert count_for_good(ended) == 0, "what the first holds is not waited for"
    assert told(ended) == before
    assert left(ended) == 0


@pytest.mark.postgres
@pytest.mark.parametrize("gives_up", [False, True])
def test_a_prune_waits_for_who_counts_and_counts_only_what_that_did_not(ended, gives_up):
    before = told(ended)
    with ThreadPoolExecutor(1) as pool:
        with in_the_middle(ended, fold_all, gives_up=gives_up):
            pruning = pool.submit(prune, ended.database, older_than=0)
            wait_for_a_lock(ended)
        assert pruning.result(20).containers == 20
    assert told(ended) == before


@pytest.mark.postgres
def test_who_counts_leaves_to_a_prune_what_that_has_taken(ended):
    before = told(ended)
    with in_the_middle(ended, take_and_delete(ended)):
        assert told(ended) == before
        assert count_for_good(ended) == 0
    assert told(ended) == before
    assert count_for_good(ended) == 0


@pytest.mark.postgres
def test_two_prunes_at_once(ended):
    before = told(ended)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(prune, ended.database, older_than=0, batch=3) for _ in range(2)]
        assert sum(each.result(30).containers for each in both) == 20
    assert told(ended) == before


@pytest.mark.postgres
def test_a_row_that_commits_late_is_not_passed_over(ended):
    """Its number is lower than those of rows that were counted before it could be seen: a watermark would miss it."""
    ended.run("late")
    ended.run("early")

    def end_late(connection):
        connection.execute(
            transitions.insert().values(container_id="late", to_status="COMPLETED", epoch=1, at=sa.func.now())
        )

    with in_the_middle(ended, end_late):
        ended.end("early")
        count_for_good(ended)
    assert value(ended, Counter.ENDINGS, "COMPLETED") == 2
    assert count_for_good(ended) == 1


def wait_for_a_lock(grove):
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    for _ in range(2_000):
        with grove.database.read() as connection:
            if connection.execute(waiting).scalar_one():
                return
        threading.Event().wait(0.01)
    pytest.fail("nobody waits for a lock")


# The present


def test_five_workers_of_a_type_are_five(grove):
    grove.run("coord", container_type="COORDINATOR")
    for number in range(5):
        grove.spawn(f"w{number}", "coord", container_type="HAUL")
    grove.run("deep", "w0" if grove.claim("w0") else None, container_type="HAUL")
    found = read(grove.database)
    assert found.active(type="HAUL", depth="1") == 5
    assert found.active(type="HAUL") == 6
    assert found.active(type="COORDINATOR", depth="0") == 1
    assert found.active(status="PENDING") == 4
    assert found.gauges.due == 4


def test_the_lag_is_that_of_the_first_whose_time_has_come(grove):
    grove.spawn("asleep", wake_in=3600)
    with grove.database.read() as connection:
        assert (gauges.read(connection).due, gauges.read(connection).lag) == (0, 0)
    grove.spawn("late", wake_in=-30)
    with grove.database.read() as connection:
        found = gauges.read(connection)
    assert found.due == 1
    assert 30 <= found.lag < 60


def test_nodes_that_are_silent_are_not_alive(grove):
    grove.register("node-2")
    grove.silence("node-2")
    assert read(grove.database).gauges.nodes == 1


# A long history


HISTORY = 100_000
ENDED_LONG_AGO = {
    "postgresql": f"""
        INSERT INTO containers (id, root_id, depth, container_type, status, created_at, updated_at, stopped_at)
        SELECT 'ended-' || n, 'ended-' || n, 0, 'WORK', 'COMPLETED', now(), now(), now()
          FROM generate_series(1, {HISTORY}) n
    """,
    "sqlite": f"""
        WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {HISTORY})
        INSERT INTO containers (id, root_id, depth, container_type, status, created_at, updated_at, stopped_at)
        SELECT 'ended-' || n, 'ended-' || n, 0, 'WORK', 'COMPLETED', '2025-11-24 10:00:00.000',
               '2025-11-24 10:00:00.000', '2025-11-24 10:00:00.000' FROM series
    """,
}
THEIR_ENDINGS = """
    INSERT INTO transitions (container_id, at, from_status, to_status, epoch)
    SELECT id, created_at, 'RUNNING', status, 1 FROM containers WHERE id LIKE 'ended-%'
"""


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def old_grove(request, planted_grove):
    """100,000 containers have ended, none of them is counted for good yet, and a few live."""
    grove = planted_grove(request.param)
    with grove.database.begin() as connection:
        connection.execute(sa.text(ENDED_LONG_AGO[request.param]))
        connection.execute(sa.text(THEIR_ENDINGS))
    for number in range(20):
        grove.run(f"w{number}")
    yield grove
    grove.database.dispose()


def test_a_long_history_is_told_at_once_and_then_counted_for_good_within_a_budget(old_grove):
    assert value(old_grove, Counter.ENDINGS, "COMPLETED") == HISTORY
    assert fold(old_grove.database, seconds=0.002) == BATCH, "one batch, and the rest another time"
    assert fold(old_grove.database, seconds=500, batch=20_000) == 80_000
    assert value(old_grove, Counter.ENDINGS, "COMPLETED") == HISTORY
    assert fold(old_grove.database, seconds=500) == HISTORY - 81_000
    assert value(old_grove, Counter.ENDINGS, "COMPLETED") == HISTORY


def test_a_reading_is_a_few_statements_that_read_no_history(old_grove):
    fold(old_grove.database, seconds=500)
    with old_grove.database.begin() as connection:
        connection.execute(sa.text("ANALYZE"))
    with caught(old_grove.database) as statements:
        assert read(old_grove.database).value(Counter.ENDINGS, "COMPLETED") == HISTORY
    told_timeout = [statement for statement, _ in statements if "set_config" in statement]
    assert len(statements) - len(told_timeout) == 5
    assert len(told_timeout) == (2 if old_grove.database.dialect == "postgresql" else 0)
    batch = [f"ended-{number}" for number in range(500)]
    calls = (totals.read, gauges.read, lambda on: totals.backlog(on, BATCH), lambda on: totals.fold_of(on, batch))
    plans = plans_of(old_grove.database, lambda on: [call(on) for call in calls])
    for plan in plans:
        assert not HISTORY_READ.search(plan), plan
        assert "Seq Scan on transitions" not in plan
        assert not re.search(r"SCAN transitions(?! USING (COVERING )?INDEX idx_transitions)", plan), plan
    for index in ("idx_transitions_uncounted", "idx_containers_live"):
        assert any(index in plan for plan in plans), plans


def test_the_table_of_totals_stays_small(grove):
    end_all(grove)
    count_for_good(grove)
    with grove.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(container_totals)).scalar_one() < 20

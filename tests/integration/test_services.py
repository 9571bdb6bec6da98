"""What is remembered of services, and that a service is in one hand at a time: on real databases, without an engine."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from lifecycle.domain.recovery import Fate, Hint, Memory, Unrestartable
from lifecycle.domain.service import ENGINE, Action, Kind
from lifecycle.store import recoveries, services, unrestartables
from lifecycle.store.clock import later, now
from lifecycle.store.tables import docker_actions, docker_services, docker_unrestartables

KEY = "shop/db"
WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def recall(database, within=600.0):
    with database.read() as connection:
        return services.recall(connection, "e1", within=within)[0]


def save(database, memory=None, **values):
    with database.begin() as connection:
        return services.save(connection, "e1", {KEY: {"name": "db", **values}}, memory or recall(database))


def lock(database, version, by="me", seconds=60.0):
    with database.begin() as connection:
        return services.lock(connection, "e1", KEY, version, by=by, seconds=seconds)


def unlock(database, by="me", **how):
    with database.begin() as connection:
        return services.unlock(connection, "e1", KEY, by=by, values=services.acted(**how) if how else {})


def act(database, charged=True, key=KEY):
    with database.begin() as connection:
        action = Action(kind=Kind.RESTART, key=key, id="c1", name="db", reason="unhealthy")
        number = recoveries.begin(connection, "e1", action, by="me")
        recoveries.end(connection, number, error=None if charged else "the daemon", charged=charged)


def hear(database, hint, **how):
    with database.begin() as connection:
        return services.hear(connection, "e1", hint, **{"quiet": 60.0, "ours_for": 3.0, **how})


def edit(database, **values):
    with database.begin() as connection:
        connection.execute(docker_services.update().values(**values))


def test_what_is_saved_is_recalled(database):
    assert save(database, ids=("c1", "c0"), fate=Fate.CRASHED, fate_id="c1", attempts=2) == {KEY: 1}
    row = recall(database).of(KEY)
    assert (row.ids, row.fate, row.fate_id, row.attempts, row.version) == (("c1", "c0"), Fate.CRASHED, "c1", 2, 1)
    assert save(database, attempts=3) == {KEY: 2}
    assert recall(database).of(KEY).attempts == 3
    with database.read() as connection:
        assert services.engines(connection) == ["e1"]
        assert services.recall(connection, "e2", within=600.0)[0] == Memory()


def test_a_change_from_an_older_row_is_not_written(database):
    empty = recall(database)
    save(database)
    assert save(database, memory=empty, attempts=9) == {}
    old = recall(database)
    save(database, attempts=1)
    assert save(database, memory=old, attempts=9) == {}
    assert recall(database).of(KEY).attempts == 1


def test_one_hand_at_a_time_and_only_from_the_row_that_was_read(database):
    save(database)
    assert lock(database, 1)
    assert not lock(database, 1)
    assert not lock(database, 2)
    assert unlock(database)
    assert not lock(database, 2)
    assert lock(database, 3, by="you")


def test_a_hand_that_died_lets_go_after_its_time_and_writes_nothing_more(database):
    save(database)
    assert lock(database, 1)
    edit(database, locked_until=later(now(), -1))
    assert lock(database, 2, by="you")
    assert not unlock(database, by="me", next_in=5.0, made_id=None, failed=False)
    assert recall(database).of(KEY).attempts == 0


def test_the_wait_begins_when_the_action_is_over(database):
    save(database, well_since=None)
    lock(database, 1)
    assert unlock(database, next_in=20.0, made_id="c2", failed=True)
    row = recall(database).of(KEY)
    assert (row.attempts, row.recoveries, row.failures, row.made_id) == (1, 1, 1, "c2")
    assert row.next_at - row.acted_at == pytest.approx(timedelta(seconds=20), abs=timedelta(seconds=1))
    lock(database, 3)
    unlock(database, next_in=20.0, made_id=None, failed=False)
    row = recall(database).of(KEY)
    assert (row.recoveries, row.failures, row.made_id) == (2, 1, "c2")


def test_recoveries_are_counted_that_are_charged_recent_and_not_forgiven(database):
    save(database)
    for charged in (True, True, False):
        act(database, charged)
    act(database, key="shop/web")
    assert recall(database).of(KEY).recent == 2
    assert recall(database, within=0.0).of(KEY).recent == 0
    with database.begin() as connection:
        assert services.reset(connection, "e1", [KEY]) == 1
    assert recall(database).of(KEY).recent == 0


def test_who_did_what_is_kept_for_a_while(database):
    save(database, seen_at=None)
    act(database)
    act(database, charged=False)
    with database.begin() as connection:
        assert [(each.kind, each.error, each.charged) for each in recoveries.history(connection, "e1")] == [
            ("restart", "the daemon", False),
            ("restart", None, True),
        ]
        assert recoveries.history(connection, "e1", keys=["shop/web"]) == []
        assert recoveries.history(connection, "e2") == []
        assert recoveries.forget(connection, "e1", 3_600.0) == 0
        connection.execute(docker_actions.update().values(begun_at=later(now(), -7_200)))
        connection.execute(docker_services.update().values(seen_at=later(now(), -7_200)))
        assert recoveries.forget(connection, "e1", 3_600.0) == 2
        assert services.engines(connection) == []


def test_the_row_of_what_was_only_held_is_forgotten_too(database):
    """That of a container set aside, which is no service to be seen."""
    save(database)
    edit(database, locked_until=later(now(), -7_200))
    with database.begin() as connection:
        recoveries.forget(connection, "e1", 9_000.0)
        assert services.engines(connection) == ["e1"]
        recoveries.forget(connection, "e1", 3_600.0)
        assert services.engines(connection) == []


def test_what_is_heard_is_kept_unless_it_is_our_own_doing(database):
    save(database)
    stopped = Hint(key=KEY, id="c1", name="db", fate=Fate.STOPPED)
    lock(database, 1)
    assert not hear(database, stopped)
    unlock(database, next_in=0.0, made_id=None, failed=False)
    assert not hear(database, stopped)
    assert hear(database, stopped, ours_for=-1.0)
    assert recall(database).of(KEY).fate is Fate.STOPPED
    assert not hear(database, Hint(key="shop/unknown", id="c9", name="x", is_quiet=True))


def test_what_is_heard_of_who_is_in_a_dead_hand_counts(database):
    """Nobody asks the engine later: it may have forgotten by then."""
    save(database)
    lock(database, 1)
    stopped = Hint(key=KEY, id="c1", name="db", fate=Fate.STOPPED, is_quiet=True)
    assert not hear(database, stopped)
    row = recall(database).of(KEY)
    assert (row.fate, row.fate_id, row.quiet_until) == (Fate.STOPPED, "c1", None)
    assert not lock(database, 2)


def test_the_echo_of_what_failed_at_no_charge_is_our_own_doing_too(database):
    save(database)
    lock(database, 1)
    with database.begin() as connection:
        assert services.unlock(connection, "e1", KEY, by="me", values={})
    stopped = Hint(key=KEY, id="c1", name="db", fate=Fate.STOPPED)
    assert not hear(database, stopped)
    assert hear(database, stopped, ours_for=-1.0)


def test_the_quiet_is_never_made_shorter(database):
    save(database)
    others = Hint(key=KEY, id="c1", name="db", is_quiet=True)
    assert hear(database, others, quiet=600.0)
    until = recall(database).of(KEY).quiet_until
    assert hear(database, others, quiet=1.0)
    assert recall(database).of(KEY).quiet_until == until


def test_pause_and_reset(database):
    save(database, fate=Fate.STOPPED, fate_id="c1", attempts=4)
    with database.begin() as connection:
        assert services.pause(connection, "e1", KEY, paused=True)
        assert not services.pause(connection, "e1", "shop/unknown", paused=True)
    assert recall(database).of(KEY).paused
    with database.begin() as connection:
        services.reset(connection, "e1", [KEY])
    row = recall(database).of(KEY)
    assert (row.paused, row.fate, row.attempts) == (False, None, 0)


def test_what_is_known_are_services_and_not_their_engine(database):
    save(database, name="shop-db-1")
    with database.begin() as connection:
        services.observe(connection, "e1", ENGINE, seconds=1.0, why="403")
        services.listened(connection, "e1", error=None)
        assert services.known(connection) == [("e1", KEY, "shop-db-1")]


def test_a_refusal_is_told_once_and_so_is_its_end(database):
    with database.begin() as connection:
        assert services.observe(connection, "e1", ENGINE, seconds=60.0, why="403")
        assert not services.observe(connection, "e1", ENGINE, seconds=60.0, why="403")
        assert services.recall(connection, "e1", within=1.0)[0].of(ENGINE).quiet_until is not None
        assert services.obeyed(connection, "e1", ENGINE)
        assert not services.obeyed(connection, "e1", ENGINE)


def note(connection, name, present=(), reference=None):
    failed = Unrestartable(id=name, name=name, reason="gone", reference=reference)
    return unrestartables.note(connection, "e1", failed, present)


def test_unrestartables_are_told_once_and_go_with_their_containers(database):
    with database.begin() as connection:
        assert note(connection, "c1")
        assert not note(connection, "c1", reference="p2")
        assert unrestartables.listed(connection, "e1")["c1"].reference == "p2"
        note(connection, "c2")
        assert unrestartables.listed(connection, "e2") == {}
        assert unrestartables.prune(connection, "e1", {"c2"}) == 1
        assert list(unrestartables.listed(connection, "e1")) == ["c2"]


def test_over_the_cap_first_goes_what_is_not_there_then_the_oldest(database, monkeypatch):
    monkeypatch.setattr(unrestartables, "MOST", 3)
    with database.begin() as connection:
        for name in ("c1", "c2", "c3"):
            note(connection, name)
        note(connection, "c4", present={"c1", "c3", "c4"})
        assert list(unrestartables.listed(connection, "e1")) == ["c1", "c3", "c4"]
        note(connection, "c5", present={"c1", "c3", "c4", "c5"})
        assert list(unrestartables.listed(connection, "e1")) == ["c3", "c4", "c5"]


# Two at once, in both forced orders


def waits(database):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with database.read() as connection:
            if connection.execute(sa.text(WAITING)).scalar_one():
                return True
        time.sleep(0.01)
    return False


@pytest.mark.postgres
@pytest.mark.parametrize("second", ["lock", "save"])
def test_of_two_that_decided_from_one_row_only_the_first_acts(postgres_database, second):
    """The second has to wait for the first one's row, and then finds that it was written since."""
    database = postgres_database
    save(database)
    old = recall(database)
    calls = {
        "lock": lambda: lock(database, 1, by="you"),
        "save": lambda: save(database, memory=old, attempts=9),
    }
    with ThreadPoolExecutor(1) as pool, database.begin() as connection:
        assert services.lock(connection, "e1", KEY, 1, by="me", seconds=60.0)
        other = pool.submit(calls[second])
        assert waits(database)
        connection.commit()
        assert not other.result(30)
    row = recall(database).of(KEY)
    assert (row.locked_by, row.attempts, row.fate) == ("me", 0, None)


@pytest.mark.postgres
def test_what_is_heard_after_the_hand_was_laid_on_waits_for_its_outcome(postgres_database):
    database = postgres_database
    save(database)
    with ThreadPoolExecutor(1) as pool, database.begin() as connection:
        assert services.lock(connection, "e1", KEY, 1, by="me", seconds=60.0)
        other = pool.submit(hear, database, Hint(key=KEY, id="c1", name="db", fate=Fate.STOPPED))
        assert waits(database)
        connection.commit()
        assert not other.result(30)
    row = recall(database).of(KEY)
    assert (row.locked_by, row.fate, row.version) == ("me", Fate.STOPPED, 3)


@pytest.mark.postgres
def test_what_is_heard_first_undoes_the_decision(postgres_database):
    """An operator's stop that came between the look and the lock: the restart is not made."""
    database = postgres_database
    save(database)
    with ThreadPoolExecutor(1) as pool, database.begin() as connection:
        assert services.hear(
            connection, "e1", Hint(key=KEY, id="c1", name="db", fate=Fate.STOPPED), quiet=0.0, ours_for=3.0
        )
        other = pool.submit(lock, database, 1)
        assert waits(database)
        connection.commit()
        assert not other.result(30)
    assert recall(database).of(KEY).locked_by is None


@pytest.mark.postgres
def test_two_that_note_the_same_container_tell_it_once(postgres_database):
    database = postgres_database
    with ThreadPoolExecutor(1) as pool, database.begin() as connection:
        assert note(connection, "c1")

        def again():
            with database.begin() as own:
                return note(own, "c1")

        other = pool.submit(again)
        assert waits(database)
        connection.commit()
        assert not other.result(30)
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(docker_unrestartables)).scalar_one() == 1

"""Resources whose holders fail again and again with one error, by the calls that spawn, claim and end them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pytest
import sqlalchemy as sa

from lifecycle.domain.ending import completed, failed, stopped
from lifecycle.domain.policy import Quarantine
from lifecycle.errors import InvalidArgument, ResourceHeld, ResourceQuarantined
from lifecycle.store import endings, quarantines, runs
from lifecycle.store.clock import later, now
from lifecycle.store.tables import quarantines as table
from lifecycle.trees import end, spawn
from lifecycle.trees.release import Request, release
from tests.integration.test_cli_verbs import Commands, listening, make_app, url_of
from tests.integration.test_races import beside

SHIP = "ship:TORWINDO-8"
MINUTE = 60
NUMBER = count()
POLICY, NEVER = Quarantine(), Quarantine(after=1_000)


def hold(grove, *resources, player=None):
    """A container that runs and holds these."""
    name = f"trader-{next(NUMBER)}"
    grove.run(name, resources=resources or (SHIP,), player_id=player)
    return name


def fail(grove, error="KeyError: fuel 7", *resources, player=None, times=1):
    """Holders that fail, whatever is quarantined already."""
    for _ in range(times):
        birth = grove.birth(f"trader-{next(NUMBER)}", resources=resources or (SHIP,), player_id=player)
        spawn.spawn(grove.database, birth, quarantine=NEVER)
        grove.claim(birth.id)
        grove.end(birth.id, failed(error))


def refusal(grove, *resources, player=None):
    """How a spawn is refused; it records nothing."""
    with pytest.raises(ResourceQuarantined) as refused:
        grove.spawn("refused", resources=resources or (SHIP,), player_id=player)
    with grove.database.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM containers WHERE id = 'refused'")).scalar() == 0
    return refused.value


def take(grove, *resources, player=None):
    """It is not refused; and stopped, which changes nothing."""
    grove.end(hold(grove, *resources, player=player), stopped())


def move_back(grove, seconds):
    """All that has failed has failed so much earlier."""
    with grove.database.begin() as connection:
        connection.execute(table.update().values(failed_at=later(table.c.failed_at, -seconds)))


def rows(grove):
    with grove.database.read() as connection:
        query = sa.select(table.c.resource, table.c.player_id, table.c.failures, table.c.error)
        return [tuple(row) for row in connection.execute(query.order_by(table.c.resource, table.c.id))]


def listed(grove, **filters):
    with grove.database.read() as connection:
        return quarantines.listed(connection, POLICY, **filters)


def let_go(grove, resource=SHIP, **how):
    return release(grove.database, Request(resource=resource, by="test", **how), POLICY)


# What counts


def test_three_failures_with_one_error_refuse_a_resource(grove):
    fail(grove, times=3)
    refused = refusal(grove)
    assert (refused.resource, refused.error) == (SHIP, "KeyError: fuel #")
    assert f"{SHIP} is quarantined until {refused.until:%Y-%m-%d %H:%M:%S} UTC" in str(refused)
    assert grove.held() == {}


def test_two_do_not(grove):
    fail(grove, times=2)
    hold(grove)


def test_numbers_in_an_error_make_no_other_one(grove):
    for minute in range(3):
        fail(grove, f"KeyError: ship {minute} at 10:{minute}")
    refusal(grove)


def test_another_error_begins_anew(grove):
    fail(grove, "KeyError: fuel", times=2)
    fail(grove, "ValueError: no dock", times=2)
    assert rows(grove) == [(SHIP, None, 2, "ValueError: no dock")]
    fail(grove, "ValueError: no dock")
    assert refusal(grove).error == "ValueError: no dock"


def test_a_completion_clears(grove):
    fail(grove, times=2)
    grove.end(hold(grove), completed())
    assert rows(grove) == []
    fail(grove, times=2)
    hold(grove)


def test_a_stop_neither_counts_nor_clears(grove):
    fail(grove, times=2)
    for _ in range(3):
        take(grove)
    assert rows(grove) == [(SHIP, None, 2, "KeyError: fuel #")]
    fail(grove)
    refusal(grove)


@pytest.mark.parametrize(("owner", "other"), [(12, 13), (12, None), (None, 12)])
def test_each_player_has_failures_of_his_own(grove, owner, other):
    fail(grove, player=owner, times=2)
    fail(grove, player=other, times=2)
    grove.end(hold(grove, player=other), completed())
    fail(grove, player=owner)
    refusal(grove, player=owner)
    hold(grove, player=other)


@pytest.mark.parametrize("player", [12, None])
def test_a_failure_counts_for_all_that_was_held_and_nothing_else(grove, player):
    fail(grove, "KeyError: fuel", "ship:1", "ship:2", player=player, times=2)
    fail(grove, "KeyError: fuel", "ship:2", "ship:3", player=player)
    assert [row[:3] for row in rows(grove)] == [("ship:1", player, 2), ("ship:2", player, 3), ("ship:3", player, 1)]
    grove.end(hold(grove, "ship:1", "ship:3", player=player), completed())
    assert [row[0] for row in rows(grove)] == ["ship:2"]
    assert refusal(grove, "ship:1", "ship:2", player=player).resource == "ship:2"


def test_what_was_taken_away_is_not_the_holders_any_more(grove):
    robbed = hold(grove, "ship:1", SHIP)
    let_go(grove, force=True)
    fail(grove, "ValueError: no dock")
    grove.end(robbed, failed("KeyError: fuel"))
    assert rows(grove) == [("ship:1", None, 1, "KeyError: fuel"), (SHIP, None, 1, "ValueError: no dock")]


def test_without_resources_nothing_is_counted_or_asked(grove):
    seen = []
    with listening(grove.database, seen):
        grove.run("free")
        grove.end("free", failed("KeyError: fuel"))
    assert [statement for statement in seen if "quarantines" in statement] == []


def test_a_failed_parent_counts_once_as_its_body_fails(grove):
    fail(grove, times=2)
    grove.run("coord-123", resources=(SHIP,))
    grove.run("worker-1", "coord-123")
    grove.end("coord-123", failed("KeyError: fuel 9"))
    assert rows(grove)[0][2] == 3
    grove.end("worker-1", completed())
    assert (grove.status("coord-123"), rows(grove)[0][2]) == ("FAILED", 3)
    refusal(grove)


def test_a_forgiven_failure_neither_counts_nor_clears(grove):
    fail(grove, times=2)
    grove.end(hold(grove), failed("NothingGained: 3 %", forgiven=True))
    grove.run("coord-124", resources=(SHIP,))
    grove.run("worker-2", "coord-124")
    grove.end("coord-124", failed("NothingGained: 4 %", forgiven=True))
    grove.end("worker-2", completed())
    assert grove.status("coord-124") == "FAILED"
    assert rows(grove) == [(SHIP, None, 2, "KeyError: fuel #")]


def test_a_container_whose_restarts_are_spent_counts(grove):
    for _ in range(3):
        name = hold(grove)
        grove.edit(name, max_restarts=0)
        grove.lose(name)
        assert grove.status(name) == "FAILED"
    refusal(grove)


# For how long


def test_it_is_refused_for_15_then_30_then_60_minutes_with_a_probe_between(grove):
    fail(grove, times=3)
    for minutes in (15, 30, 60, 60):
        refused = refusal(grove)
        left = refused.until - time_of(grove)
        assert timedelta(minutes=minutes - 1) < left <= timedelta(minutes=minutes)
        move_back(grove, (minutes - 1) * MINUTE)
        refusal(grove)
        move_back(grove, MINUTE)
        probe = hold(grove)
        with pytest.raises(ResourceHeld, match=f"is held by container {probe}"):
            grove.spawn("second", resources=(SHIP,))
        grove.end(probe, failed("KeyError: fuel 8"))


def time_of(grove):
    with grove.database.read() as connection:
        return connection.execute(sa.select(now())).scalar_one()


@pytest.mark.parametrize("ending", [completed(), failed("ValueError: another")])
def test_a_probe_that_does_better_ends_it(grove, ending):
    fail(grove, times=4)
    move_back(grove, 30 * MINUTE)
    grove.end(hold(grove), ending)
    fail(grove)
    hold(grove)


def test_a_probe_that_is_stopped_lets_another_one_through(grove):
    fail(grove, times=3)
    move_back(grove, 15 * MINUTE)
    take(grove)
    take(grove)
    fail(grove)
    assert refusal(grove).until - time_of(grove) > timedelta(minutes=29)


def test_the_policy_is_that_of_the_spawner(grove):
    fail(grove)
    eager = Quarantine(after=1, backoff=(1e12,))
    with pytest.raises(ResourceQuarantined):
        spawn.spawn(grove.database, grove.birth("w-1", resources=(SHIP,)), quarantine=eager)
    patient = Quarantine(after=2)
    spawn.spawn(grove.database, grove.birth("w-1", resources=(SHIP,)), quarantine=patient)


# Many at once


def births(grove, number):
    return [grove.birth(f"w-{each}", resources=(f"ship:{each}",), player_id=12) for each in range(number)]


def test_one_of_many_refuses_all(grove):
    fail(grove, "KeyError: fuel", "ship:7", player=12, times=3)
    before = grove.held()
    with pytest.raises(ResourceQuarantined, match="ship:7 is quarantined"):
        spawn.spawn_all(grove.database, births(grove, 20))
    assert grove.held() == before
    with grove.database.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM containers WHERE id LIKE 'w-%'")).scalar() == 0


@pytest.mark.parametrize("number", [1, 1_000])
def test_any_number_is_asked_for_in_one_statement(grove, number):
    seen = []
    with listening(grove.database, seen):
        spawn.spawn_all(grove.database, births(grove, number))
    assert len([statement for statement in seen if "quarantines" in statement]) == 1


def test_more_than_a_statement_takes_is_asked_for_in_parts(grove, monkeypatch):
    monkeypatch.setattr(quarantines, "BATCH", 3)
    fail(grove, "KeyError: fuel", "ship:7", player=12, times=3)
    with pytest.raises(ResourceQuarantined, match="ship:7 is quarantined"):
        spawn.spawn_all(grove.database, births(grove, 20))


@pytest.mark.postgres
def test_a_spawner_that_waits_for_the_third_failure_sees_it(postgres_grove):
    """It must ask in a statement that begins after the holder's ending is committed."""
    grove = postgres_grove
    fail(grove, times=2)
    last = hold(grove)
    with ThreadPoolExecutor(1) as pool:
        with grove.database.begin() as connection:
            runs.lock(connection, last)
            endings.end(connection, last, 1, failed("KeyError: fuel 3"))
            waiting = beside(pool, grove, spawn.spawn, grove.database, grove.birth("late", resources=(SHIP,)))
            assert not waiting.done()
        with pytest.raises(ResourceQuarantined):
            waiting.result(timeout=10)


# Seen and released


def test_what_is_quarantined_is_listed_until_it_is_held(grove):
    fail(grove, "KeyError: a", "ship:A", player=12, times=3)
    fail(grove, "KeyError: b", "ship:B", times=4)
    fail(grove, "KeyError: c", "ship:C", times=2)
    assert [(each.resource, each.player_id, each.error, each.failures, each.is_over) for each in listed(grove)] == [
        ("ship:A", 12, "KeyError: a", 3, False),
        ("ship:B", None, "KeyError: b", 4, False),
    ]
    assert [each.resource for each in listed(grove, player_id=12)] == ["ship:A"]
    hold(grove, "ship:A")
    hold(grove, "ship:B", player=12)
    assert [(each.resource, each.player_id) for each in listed(grove)] == [("ship:A", 12), ("ship:B", None)]
    move_back(grove, 15 * MINUTE)
    assert [(each.resource, each.is_over) for each in listed(grove)] == [("ship:A", True), ("ship:B", False)]
    hold(grove, "ship:A", player=12)
    assert [each.resource for each in listed(grove)] == ["ship:B"]


@pytest.mark.parametrize("player", [12, None])
def test_a_release_lifts_it(grove, player):
    fail(grove, player=player, times=3)
    fail(grove, "KeyError: fuel", "ship:other", player=player, times=3)
    released = let_go(grove, player_id=player)
    assert (released.resource, released.player_id, released.failures) == (SHIP, player, 3)
    assert [each.resource for each in listed(grove)] == ["ship:other"]
    fail(grove, player=player, times=2)
    hold(grove, player=player)


def test_a_release_of_what_is_held_lifts_it_too(grove):
    fail(grove, times=3)
    move_back(grove, 15 * MINUTE)
    probe = hold(grove)
    with pytest.raises(ResourceHeld):
        let_go(grove)
    assert len(rows(grove)) == 1
    assert let_go(grove, force=True).container_id == probe
    assert rows(grove) == []


def test_what_has_not_failed_often_enough_is_not_quarantined(grove):
    fail(grove, times=2)
    with pytest.raises(InvalidArgument, match=f"nobody holds {SHIP}, nor is it quarantined"):
        let_go(grove)


def test_a_release_for_several_players_asks_for_one(grove):
    for player in (12, 13):
        fail(grove, player=player, times=3)
    with pytest.raises(InvalidArgument, match="is quarantined for several players: 12, 13; give one as player_id"):
        let_go(grove)
    let_go(grove, player_id=13)
    assert [each.player_id for each in listed(grove)] == [12]


# Commands and settings


@pytest.fixture
def celery(database):
    return Commands(make_app(url_of(database)))


def test_assignments_show_what_is_quarantined_after_what_is_held(celery, grove):
    fail(grove, "KeyError: a", "ship:A", player=12, times=3)
    fail(grove, "KeyError: b", "ship:B", times=4)
    assert celery.lines("assignments")[:2] == ["No resources held", ""]
    move_back(grove, 15 * MINUTE)
    name = hold(grove, "dock:1")
    lines = celery.lines("assignments")
    until = f"{listed(grove)[1].until:%Y-%m-%d %H:%M:%S}"
    assert [lines[2].split()[:3], *lines[3:5]] == [["dock:1", "-", name], "Total: 1 resource", ""]
    assert lines[5].split() == ["RESOURCE", "PLAYER", "ERROR", "FAILURES", "UNTIL"]
    assert [" ".join(line.split()) for line in lines[7:]] == [
        "ship:A 12 KeyError: a 3 next is a probe",
        f"ship:B - KeyError: b 4 {until}",
        "Quarantined: 2 resources",
    ]
    assert "ship:B" not in "".join(celery.lines("assignments", "--player-id", 12))


def test_assignments_as_json_have_what_is_quarantined_last(celery, grove):
    fail(grove, "KeyError: a", "ship:A", player=12, times=3)
    name = hold(grove, "dock:1")
    held, quarantined = celery.json("assignments", "--json")
    assert (held["container_id"], held.keys() & {"error", "quarantined_until"}) == (name, set())
    assert quarantined == {
        "resource": "ship:A",
        "player_id": 12,
        "container_id": None,
        "status": None,
        "assigned_at": None,
        "error": "KeyError: a",
        "failures": 3,
        "quarantined_until": listed(grove)[0].until.isoformat(),
    }


def test_a_command_is_refused_and_releases(celery, grove):
    fail(grove, times=3)
    assert celery.refusal("start", "WORK", "--resource", SHIP).startswith(f"Error: {SHIP} is quarantined until 20")
    assert celery.lines("assignments", "--release", SHIP) == [f"released {SHIP} from quarantine"]
    celery.lines("start", "WORK", "--resource", SHIP)
    assert celery.refusal("assignments", "--release", "ship:Z") == "Error: nobody holds ship:Z, nor is it quarantined"


def test_a_release_as_json(celery, grove):
    fail(grove, times=3)
    assert celery.json("assignments", "--release", SHIP, "--json")["failures"] == 3


def test_the_settings_of_the_app_are_the_policy(grove):
    app = make_app(url_of(grove.database))
    app.conf.lifecycle_quarantine_after, app.conf.lifecycle_quarantine_backoff = 1, (60,)
    celery = Commands(app)
    fail(grove)
    assert " ".join(celery.lines("assignments")[-1:]) == "Quarantined: 1 resource"
    assert "is quarantined until" in celery.refusal("start", "WORK", "--resource", SHIP)
    with grove.database.begin() as connection:
        work = app.tasks["work"]
        with pytest.raises(ResourceQuarantined):
            work.spawn(resources=[SHIP], connection=connection)
    move_back(grove, MINUTE)
    celery.lines("start", "WORK", "--resource", SHIP)


def test_a_failed_parent_that_a_stop_ends_counts_too(grove):
    """Its last child has ended, but nobody has settled it yet: the mark of a stop does."""
    for attempt in range(3):
        parent, child = f"coord-{attempt}", f"worker-{attempt}"
        grove.run(parent, resources=("ship:1",))
        grove.run(child, grove.get(parent))
        grove.end(parent, failed(ValueError("engine broke")))
        row = grove.get(child)
        end.end_own(grove.database, row.id, row.epoch, stopped())
        grove.mark(parent)
        assert grove.status(parent) == "FAILED"
    with pytest.raises(ResourceQuarantined):
        grove.spawn("fourth", resources=("ship:1",))

"""What `check` makes of facts that no test can wait for."""

import pytest

from lifecycle.domain.check import Level, judge
from lifecycle.domain.facts import Facts, Heard, Own, Pass, Recorded, Row

PERIODS = {"sweep": 300.0, "recover": 60.0, "prune": 86_400.0}
WELL = {"sweep": Pass(begun=12, ended=11), "recover": Pass(begun=4.4, ended=4), "prune": Pass(begun=10_800, ended=9)}


def check_passes(passes, ages=(), periods=PERIODS, database="id"):
    rows = tuple(Row(id="n", pool="prefork", queues=frozenset(), types=frozenset(), late=-1, age=age) for age in ages)
    facts = Facts(
        recorded=Recorded(id=database, rows=rows, passes=passes),
        heard=Heard(),
        own=Own(versions={}, default_queue="celery", periods=periods),
    )
    (found,) = [each for each in judge(facts) if each.check == "passes"]
    return found.level, found.message


def test_passes_that_ran_in_time():
    assert check_passes(WELL) == (Level.OK, "sweep 12 s ago, recover 4 s ago, prune 3 h ago")


@pytest.mark.parametrize(("begun", "level"), [(599, Level.OK), (601, Level.WARN)])
def test_a_pass_may_be_late_by_a_period(begun, level):
    assert check_passes(WELL | {"sweep": Pass(begun=begun, ended=begun)})[0] == level


def test_a_pass_that_nobody_runs():
    late = WELL | {"sweep": Pass(begun=47 * 60 + 59, ended=47 * 60)}
    assert check_passes(late) == (Level.WARN, "sweep: last run 47 min ago, not every 5 min: start a node, or beat")


def test_all_that_is_late_is_said():
    level, said = check_passes(dict.fromkeys(PERIODS, Pass(begun=200_000, ended=200_000)))
    assert level == Level.WARN
    assert [text.split(":")[0] for text in said.split("; ")] == list(PERIODS)
    assert "prune: last run 2 d ago, not every 1 d" in said


@pytest.mark.parametrize("ages", [(), (100,), (100, 110)])
def test_a_pass_that_could_not_run_yet_is_no_problem(ages):
    assert check_passes({}, ages) == (Level.OK, "sweep not yet, recover not yet, prune not yet")


@pytest.mark.parametrize("ages", [(130,), (3, 130)])
def test_a_pass_that_the_oldest_node_has_never_run(ages):
    assert check_passes({}, ages) == (
        Level.WARN,
        "recover: never ran, in 2 min: restart the nodes, or start beat",
    )


@pytest.mark.parametrize(
    ("ended", "since"), [(2_820, "last ended 47 min ago"), (None, "has never ended")], ids=["once", "never"]
)
def test_a_pass_that_begins_but_fails(ended, since):
    found = check_passes(WELL | {"sweep": Pass(begun=30, ended=ended)}, ages=[5_000])
    assert found == (Level.WARN, f"sweep: began 30 s ago, but {since}: the logs of nodes say why")


def test_a_first_run_may_take_its_time():
    assert check_passes(WELL | {"sweep": Pass(begun=30, ended=None)}, ages=[40])[0] == Level.OK


@pytest.mark.parametrize("missing", [{"periods": {}}, {"database": ""}])
def test_without_settings_or_a_database_nothing_is_said(missing):
    assert check_passes(WELL, **missing) == (Level.SKIP, "needs settings, database and schema")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-0.1, "0 s"),
        (0.24, "0.24 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (3_600, "1 h"),
        (172_800, "2 d"),
    ],
)
def test_times_are_said_in_words(seconds, said):
    runs = {name: Pass(begun=seconds, ended=seconds) for name in PERIODS}
    assert check_passes(runs, periods={"sweep": 1e9})[1] == f"sweep {said} ago"

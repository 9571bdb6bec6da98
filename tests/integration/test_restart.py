"""One restart budget a container: what is charged to it, what is free, when it is full again, and what is spent."""

import re

import pytest
import sqlalchemy as sa

from lifecycle import ContainerTask
from lifecycle.domain.policy import Restarts
from lifecycle.errors import ExecutionSuperseded, ImpossibleSettings
from lifecycle.store.clock import later, now
from lifecycle.store.tables import containers as table
from lifecycle.trees import interrupt
from lifecycle.trees.doorbell import tell
from lifecycle.trees.interrupt import Cut
from tests.integration.test_cli_verbs import make_app, url_of

BY_CASCADE = "Stopped via cascade (parent container stopped)"
HASTY = Restarts(backoff=(0.0,))
CLOCK = 0.5  # seconds between two looks at the database's clock


def seconds_to_go(grove, container_id):
    """Until the row is due, by the database's clock."""
    with grove.database.read() as connection:
        wake_at, at = connection.execute(sa.select(table.c.wake_at, now()).where(table.c.id == container_id)).one()
    return (wake_at - at).total_seconds()


def age(grove, container_id, seconds):
    """As if it had been claimed so long ago."""
    with grove.database.begin() as connection:
        row = table.update().where(table.c.id == container_id)
        connection.execute(row.values(resumed_at=later(table.c.resumed_at, -seconds)))


def go_on(grove, container_id):
    """Its time has come: recovered, and claimed again."""
    grove.edit(container_id, wake_at=None)
    assert container_id in grove.recover().resumed
    return grove.claim(container_id)


def lose_times(grove, container_id, times):
    for _ in range(times):
        grove.lose(container_id, restarts=HASTY)
        go_on(grove, container_id)


# What a lost run costs


def test_a_lost_run_is_charged_and_waits_longer_each_time_and_then_fails(grove):
    grove.run("worker-1", resources=("ship:1",))
    for number, seconds in enumerate((5, 30, 120), start=1):
        (moved,) = grove.lose("worker-1")
        assert (moved.status, moved.lost) == ("INTERRUPTED", None)
        row = grove.get("worker-1")
        assert (row.attempt, row.restart_count, row.exit_message) == (f"restart {number}/3", number, "node lost")
        assert (row.node, row.pid, row.outcome, row.exit_code, row.stopped_at) == (None,) * 5
        assert seconds - CLOCK <= seconds_to_go(grove, "worker-1") <= seconds
        assert grove.claim("worker-1") is None, "it is to be recovered first"
        again = go_on(grove, "worker-1")
        assert (again.epoch, again.attempt, again.exit_message) == (number + 1, None, None)
        assert grove.held() == {"ship:1": "worker-1"}
    (moved,) = grove.lose("worker-1")
    assert (moved.status, moved.lost) == ("FAILED", "node lost, after 3 restarts")
    row = grove.get("worker-1")
    assert (row.exit_code, row.exit_message, row.restart_count) == (1, "node lost, after 3 restarts", 3)
    assert grove.held() == {}
    assert grove.history("worker-1") == ["PENDING", *["RUNNING", "INTERRUPTED", "PENDING"] * 3, "RUNNING", "FAILED"]
    assert grove.recover().found == 0


@pytest.mark.parametrize(("max_restarts", "why"), [(0, "node lost"), (1, "node lost, after 1 restarts")])
def test_a_container_has_a_budget_of_its_own(grove, max_restarts, why):
    grove.run("worker-1", max_restarts=max_restarts)
    lose_times(grove, "worker-1", max_restarts)
    (moved,) = grove.lose("worker-1")
    assert (moved.status, grove.get("worker-1").exit_message) == ("FAILED", why)


def test_beyond_the_last_step_the_wait_stays(grove):
    grove.run("worker-1", max_restarts=3)
    for seconds in (1, 2, 2):
        grove.lose("worker-1", restarts=Restarts(backoff=(1.0, 2.0)))
        assert seconds - CLOCK <= seconds_to_go(grove, "worker-1") <= seconds
        go_on(grove, "worker-1")


@pytest.mark.parametrize(("ran", "attempt"), [(590, "restart 3/3"), (601, "restart 1/3")])
def test_the_budget_is_full_again_after_ten_healthy_minutes(grove, ran, attempt):
    grove.run("worker-1")
    lose_times(grove, "worker-1", 2)
    age(grove, "worker-1", ran)
    grove.lose("worker-1")
    assert grove.get("worker-1").attempt == attempt


def test_what_kills_its_process_each_ten_minutes_never_fails(grove):
    grove.run("worker-1")
    for _ in range(5):
        age(grove, "worker-1", 601)
        grove.lose("worker-1", restarts=HASTY)
        assert grove.get("worker-1").attempt == "restart 1/3"
        go_on(grove, "worker-1")


def test_time_that_it_waits_is_not_healthy(grove):
    """Cut off at once, again and again, over days: what counts is how long it ran."""
    grove.run("worker-1")
    lose_times(grove, "worker-1", 3)
    with grove.database.begin() as connection:
        long_ago = later(table.c.started_at, -86_400)
        connection.execute(table.update().where(table.c.id == "worker-1").values(started_at=long_ago))
    assert grove.lose("worker-1")[0].status == "FAILED"


def test_sleep_between_iterations_is_healthy(grove):
    """A wake is no restart: the time counts from its last one."""
    grove.run("worker-1")
    lose_times(grove, "worker-1", 3)
    age(grove, "worker-1", 700)
    grove.rest("worker-1", seconds=0)
    grove.claim("worker-1")
    grove.lose("worker-1")
    assert grove.get("worker-1").attempt == "restart 1/3"


# What goes when nothing is left


def test_one_whose_restarts_are_spent_takes_its_children_along(grove):
    grove.run("coord-123", max_restarts=0)
    grove.run("worker-1", "coord-123")
    grove.spawn("worker-2", "coord-123")
    grove.run("free-1", "coord-123", detached=True)
    tell(grove.doorbell, grove.lose("coord-123", why="process lost"))
    row = grove.get("coord-123")
    assert (row.status, row.outcome, row.exit_message, row.node) == ("RUNNING", "FAILED", "process lost", None)
    assert grove.status("worker-1", "worker-2", "free-1") == ["STOPPING", "STOPPED", "RUNNING"]
    worker = grove.get("worker-1")
    assert (worker.stop_by, worker.stop_reason) == ("coord-123", "parent failed: process lost")
    assert (grove.doorbell.failures, grove.doorbell.told) == ({"coord-123": "process lost"}, ["worker-2"])
    grove.lose("worker-1")
    assert grove.status("coord-123", "worker-1") == ["FAILED", "STOPPED"]


def test_a_parent_above_is_settled_by_what_failed(grove):
    grove.run("root")
    grove.run("worker-1", "root", max_restarts=0)
    grove.end("root")
    assert [(moved.id, moved.status) for moved in grove.lose("worker-1")] == [
        ("worker-1", "FAILED"),
        ("root", "COMPLETED"),
    ]


def test_a_parent_above_waits_for_one_that_goes_on(grove):
    grove.run("root")
    grove.run("worker-1", "root")
    grove.end("root")
    assert [moved.id for moved in grove.lose("worker-1")] == ["worker-1"]
    assert grove.status("root", "worker-1") == ["RUNNING", "INTERRUPTED"]
    go_on(grove, "worker-1")
    grove.end("worker-1")
    assert grove.status("root", "worker-1") == ["COMPLETED", "COMPLETED"]


# What is free


def test_an_orderly_shutdown_costs_nothing(grove):
    grove.run("worker-1", max_restarts=1)
    lose_times(grove, "worker-1", 1)
    for _ in range(3):
        (moved,) = grove.interrupt("worker-1")
        assert (moved.status, moved.lost) == ("INTERRUPTED", None)
        row = grove.get("worker-1")
        assert (row.exit_message, row.attempt, row.restart_count) == ("node shut down", None, 1)
        assert seconds_to_go(grove, "worker-1") <= 0
        assert grove.recover().resumed == ("worker-1",)
        assert grove.claim("worker-1").restart_count == 1


def test_a_retry_has_its_own_message_count_and_time(grove):
    message = {"task": "work", "args": [], "kwargs": {}, "options": {"retries": 1}}
    grove.run("worker-1", max_restarts=0)
    grove.interrupt("worker-1", why="Timeout: no answer", wait=90.0, attempt="retry 1/5", message=message)
    row = grove.get("worker-1")
    assert (row.attempt, row.restart_count, row.exit_message) == ("retry 1/5", 0, "Timeout: no answer")
    assert 90 - CLOCK <= seconds_to_go(grove, "worker-1") <= 90
    with grove.database.read() as connection:
        assert connection.execute(sa.select(table.c.message)).scalar_one() == message


def test_a_restart_after_a_retry_is_the_first(grove):
    grove.run("worker-1")
    grove.interrupt("worker-1", why="retry", attempt="retry 1/5")
    go_on(grove, "worker-1")
    grove.lose("worker-1")
    assert grove.get("worker-1").attempt == "restart 1/3"


# Whose row it is


@pytest.mark.parametrize("cut", [Cut("node lost"), Cut("node shut down", wait=0.0)])
def test_stop_beats_restart(grove, cut):
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.mark("coord-123")
    before = grove.get("worker-1")
    assert interrupt.interrupt(grove.database, "worker-1", 1, cut) is None
    assert grove.get("worker-1") == before
    lost = interrupt.lose(grove.database, "worker-1", 1, node=grove.node, cut=cut)
    assert [(moved.id, moved.status) for moved in lost] == [("worker-1", "STOPPED")]
    row = grove.get("worker-1")
    assert (row.exit_message, row.restart_count, row.wake_at) == (BY_CASCADE, 0, None)


@pytest.mark.parametrize("taken", ["ended", "claimed again", "rests"])
def test_only_the_execution_itself_is_cut_off(grove, taken):
    grove.run("worker-1")
    if taken == "ended":
        grove.end("worker-1")
    else:
        grove.rest("worker-1", seconds=0)
    if taken == "claimed again":
        grove.claim("worker-1")
    before = grove.get("worker-1")
    with pytest.raises(ExecutionSuperseded, match="worker-1 epoch 1 is not the one that runs"):
        interrupt.interrupt(grove.database, "worker-1", 1, Cut("node shut down", wait=0.0))
    assert interrupt.lose(grove.database, "worker-1", 1, node=grove.node, cut=Cut("node lost")) == []
    assert grove.get("worker-1") == before


def test_a_run_on_another_node_is_not_lost(grove):
    grove.register("node-2")
    grove.run("worker-1")
    assert interrupt.lose(grove.database, "worker-1", 1, node="node-2", cut=Cut("node lost")) == []
    assert grove.status("worker-1") == "RUNNING"


def test_a_run_is_lost_once(grove):
    grove.run("worker-1")
    grove.lose("worker-1")
    assert interrupt.lose(grove.database, "worker-1", 1, node=grove.node, cut=Cut("node lost")) == []
    assert grove.get("worker-1").restart_count == 1


# How it is told


def test_every_loss_is_named(grove, caplog):
    grove.run("coord-123", player_id=12)
    grove.run("worker-1", "coord-123", max_restarts=0)
    grove.silence()
    grove.sweep()
    about = "parent={} root=coord-123 player=12 epoch=1 node=node-1 why=node lost now={}"
    lines = [line for line in caplog.messages if line.startswith("execution gone")]
    assert sorted(lines) == [
        f"execution gone container=coord-123 {about.format(None, 'INTERRUPTED')}",
        f"execution gone container=worker-1 {about.format('coord-123', 'FAILED')}",
    ]
    assert caplog.messages[0] == "node lost node=node-1"


def test_one_that_waits_for_a_try_says_which_and_how_long(grove):
    grove.run("worker-1")
    lose_times(grove, "worker-1", 1)
    grove.lose("worker-1")
    told = grove.get("worker-1").activity
    assert told in {f"restart 2/3 in {seconds} s" for seconds in range(27, 31)}
    change = grove.changes("worker-1")[-1]
    assert (change.to_status, change.why, change.by, change.epoch) == ("INTERRUPTED", "node lost", "node-1", 2)


# What a task and the settings say


def idle():
    """A body."""


@pytest.mark.parametrize(
    ("option", "setting", "allowed"),
    [({}, None, 3), ({}, 5, 5), ({"max_restarts": 0}, 5, 0), ({"max_restarts": 9}, 5, 9)],
)
def test_a_task_says_how_often_or_the_settings_do(database, option, setting, allowed):
    app = make_app(url_of(database))
    app.conf.lifecycle_max_restarts = setting
    task = app.task(base=ContainerTask, name="other", shared=False, **option)(idle)
    assert task.spawn().max_restarts == allowed


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"max_restarts": -1}, "other: max_restarts must be a whole number from 0: -1"),
        ({"max_restarts": 1.5}, "other: max_restarts must be a whole number from 0: 1.5"),
        ({"restart_on": ["ValueError"]}, "other: restart_on is a list of Exception classes"),
        ({"restart_on": [KeyboardInterrupt]}, "other: restart_on is a list of Exception classes"),
        ({"restart_on": ConnectionError}, "other: restart_on is a list of Exception classes"),
        ({"forgive_on": ["ValueError"]}, "other: forgive_on is a list of Exception classes"),
    ],
)
def test_options_that_cannot_be_meant(sqlite_url, option, said):
    app = make_app(sqlite_url)
    app.task(base=ContainerTask, name="other", shared=False, **option)(idle)
    with pytest.raises(ImpossibleSettings, match=re.escape(said)):
        app.lifecycle.types()

"""Revokes as nodes and their senders hear them: each a stop of the trees, once, whoever hears it too."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from celery.worker import state

from lifecycle.runtime.revoke import BY, Revoke, read_revoke, stamps_of
from lifecycle.runtime.revokes import Revokes
from lifecycle.store import runs
from lifecycle.store.engine import Database
from lifecycle.store.tables import stops
from lifecycle.trees import revoke
from tests.integration.test_races import waits

STAMPED = {"stamped_headers": ["fleet"], "fleet": "F1"}
CASCADE = "Stopped via cascade (parent container stopped)"


def stop_rows(grove):
    with grove.database.read() as connection:
        return connection.execute(sa.select(stops).order_by(stops.c.id)).all()


def deadline(grove, container_id):
    return grove.get(container_id).stop_deadline


def hear(grove, *ids, grace=None):
    told = []
    revoke.revoke(grove.database, revoke.Request(ids=ids, by=BY, reason="revoke by me", grace=grace), told.extend)
    return told


def test_the_tree_is_stopped_by_celery_revoke_and_says_why(grove):
    coordinator = grove.run("coord-123")
    grove.run("worker-1", coordinator)
    assert hear(grove, "coord-123") == []
    assert grove.status("coord-123", "worker-1") == ["STOPPING", "STOPPING"]
    found = [grove.get(each) for each in ("coord-123", "worker-1")]
    assert [(row.stop_by, row.stop_reason) for row in found] == [(BY, "revoke by me")] * 2
    (stop,) = stop_rows(grove)
    assert (stop.container_id, stop.marked, stop.requested_by, stop.reason) == ("coord-123", 2, BY, "revoke by me")


def test_what_runs_nowhere_has_ended_and_its_waiting_parent_with_it(grove):
    coordinator = grove.run("coord-123")
    grove.spawn("worker-1", coordinator)
    grove.run("worker-2", coordinator)
    grove.rest("worker-2")
    grove.end("coord-123")
    assert grove.status("coord-123") == "RUNNING"
    changed = hear(grove, "worker-1", "worker-2")
    assert {moved.id for moved in changed} == {"worker-1", "worker-2", "coord-123"}
    assert grove.status("worker-1", "worker-2", "coord-123") == ["STOPPED", "STOPPED", "COMPLETED"]
    assert [grove.get(each).exit_code for each in ("worker-1", "worker-2", "coord-123")] == [143, 143, 0]


def test_who_hears_the_same_revoke_later_asks_no_more(grove):
    grove.run("coord-123")
    for _ in range(3):
        hear(grove, "coord-123")
    assert len(stop_rows(grove)) == 1


def test_a_kill_after_a_stop_is_asked_once(grove):
    grove.run("coord-123")
    hear(grove, "coord-123")
    patient = deadline(grove, "coord-123")
    hear(grove, "coord-123", grace=0.0)
    assert deadline(grove, "coord-123") < patient
    hear(grove, "coord-123", grace=0.0)
    hear(grove, "coord-123")
    assert [row.grace for row in stop_rows(grove)] == [None, 0.0]


def test_what_could_not_be_stopped_is_asked_again(grove):
    grove.run("coord-123")
    hear(grove, "coord-123", grace=0.0)
    grove.give_up("coord-123")
    hear(grove, "coord-123")
    assert len(stop_rows(grove)) == 2


def test_what_has_ended_or_is_no_container_is_left_alone(grove):
    grove.run("coord-123")
    grove.end("coord-123")
    before = grove.get("coord-123")
    assert hear(grove, "coord-123", "no-container") == []
    assert (grove.get("coord-123"), stop_rows(grove)) == (before, [])


def test_many_trees_are_one_stop(grove):
    for name in ("coord-1", "coord-2", "coord-3"):
        grove.spawn(f"{name}-worker", grove.run(name))
    hear(grove, "coord-1", "coord-2", "coord-2", "coord-3-worker")
    assert grove.status("coord-1", "coord-1-worker", "coord-2", "coord-3") == [
        "STOPPING",
        "STOPPED",
        "STOPPING",
        "RUNNING",
    ]
    assert grove.get("coord-3-worker").exit_message == "Stopped by user"
    assert grove.get("coord-1-worker").exit_message == CASCADE
    assert [row.marked for row in stop_rows(grove)] == [5]


def test_stamped_headers_name_live_containers_alone(grove):
    for name, options in {
        "by-option": STAMPED,
        "by-header": {"headers": {"stamped_headers": ["fleet"], "stamps": {"fleet": ["F0", "F1"]}}},
        "other-value": {"stamped_headers": ["fleet"], "fleet": ["F2"]},
        "other-name": {"stamped_headers": ["player"], "player": "F1", "fleet": "F1"},
        "no-stamp": {},
        "over": STAMPED,
    }.items():
        grove.spawn(name, message={"task": "t", "args": [], "kwargs": {}, "options": options})
    grove.spawn("no-message")
    grove.claim("over")
    grove.end("over")
    heard = read_revoke("revoke_by_stamped_headers", {"headers": {"fleet": ["F1"]}})
    changed = []
    named = heard.names(grove.database)
    assert sorted(named) == ["by-header", "by-option"]
    heard.stop(grove.database, named, changed.extend)
    assert {moved.id for moved in changed} == {"by-option", "by-header"}
    assert grove.status("other-value", "other-name", "no-stamp", "over") == ["PENDING"] * 3 + ["COMPLETED"]


@pytest.mark.postgres
def test_a_node_keeps_what_another_transaction_holds_and_goes_on(postgres_grove):
    grove, told = postgres_grove, []
    for name in ("coord-123", "coord-124"):
        grove.run(name)
    revokes = Revokes(grove.database)
    for name in ("coord-123", "coord-124"):
        revokes.hear(Revoke(ids=(name,), reason=f"revoke of {name}"))
    with grove.database.begin() as connection:
        runs.lock(connection, "coord-123")
        revokes.work(told.extend)
        assert grove.status("coord-123", "coord-124") == ["RUNNING", "STOPPING"]
    revokes.work(told.extend)
    assert grove.status("coord-123") == "STOPPING"
    revokes.work(told.extend)
    assert len(stop_rows(grove)) == 2


def test_a_node_keeps_what_it_heard_while_the_database_was_away(grove, tmp_path):
    away = Revokes(Database(f"sqlite:///{tmp_path}/no/such/folder.db"))
    for name in ("coord-123", "coord-124"):
        away.hear(Revoke(ids=(name,), reason="revoke"))
    away.work(list)
    away._database = grove.database
    for name in ("coord-123", "coord-124"):
        grove.run(name)
    away.work(list)
    assert grove.status("coord-123", "coord-124") == ["STOPPING", "STOPPING"]
    assert len(stop_rows(grove)) == 1


def test_a_revoke_that_cannot_be_read_holds_up_no_other(grove):
    grove.run("coord-123")
    revokes = Revokes(grove.database)
    revokes.hear(Revoke(ids=(object(),), reason="odd"))
    revokes.hear(Revoke(ids=("coord-123",), reason="revoke"))
    revokes.work(list)
    assert grove.status("coord-123") == "STOPPING"
    revokes.work(list)


@pytest.mark.parametrize("odd", ["a\0b", "a\udc80"])
def test_an_id_that_no_database_takes_is_nobodys(grove, odd):
    heard = read_revoke("revoke", {"task_id": [odd, "coord-123"]})
    assert heard.ids == ("coord-123",)
    assert heard.names(grove.database) == []


def test_a_message_that_is_being_recorded_is_looked_at_again(grove, monkeypatch):
    class Request:
        task = SimpleNamespace(lifecycle=object())

    here = Request()
    monkeypatch.setitem(state.requests, "worker-1", here)
    revokes = Revokes(grove.database)
    revokes.hear(Revoke(ids=("worker-1", "no-container"), reason="revoke"))
    revokes.work(list)
    grove.run("worker-1")
    revokes.work(list)
    assert grove.status("worker-1") == "STOPPING"
    assert [row.marked for row in stop_rows(grove)] == [1]


def test_what_is_no_container_takes_no_lock(grove):
    revokes = Revokes(grove.database)
    revokes.hear(Revoke(ids=tuple(f"plain-{n}" for n in range(2_500)), reason="revoke"))
    statements = []
    listen = partial(sa.event.listen, grove.database.engine, "before_cursor_execute")
    listen(lambda _c, _u, statement, *_: statements.append(statement))
    revokes.work(list)
    assert len(statements) == 3
    assert not [each for each in statements if "FOR NO KEY UPDATE" in each or not each.startswith("SELECT")]


def test_the_main_loop_waits_for_no_database(grove):
    """Its server has accepted, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none")
        revokes = Revokes(database)
        began = time.monotonic()
        assert [revokes.known(["worker-1"]) for _ in range(100)] == [set()] * 100
        assert time.monotonic() - began < 4  # one of them would be the five seconds of a connect
    assert Revokes(grove.database).known(["worker-1"]) == set()
    grove.run("worker-1")
    assert Revokes(grove.database).known(["worker-1", "plain"]) == {"worker-1"}


@pytest.mark.postgres
def test_two_nodes_that_hear_it_at_once_ask_once(postgres_grove):
    grove = postgres_grove
    grove.run("coord-123")
    with ThreadPoolExecutor(2) as pool:
        with grove.database.begin() as connection:
            runs.lock(connection, "coord-123")
            heard = [pool.submit(hear, grove, "coord-123") for _ in range(2)]
            while waits(grove.database) < len(heard):
                assert not any(each.done() for each in heard)
        for each in heard:
            each.result(timeout=10)
    assert len(stop_rows(grove)) == 1


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ("revoke", {"task_id": "a"}, (("a",), "revoke by me", None)),
        ("revoke", {"task_id": ["a", "b"], "signal": "SIGKILL"}, (("a", "b"), "revoke by me", None)),
        (
            "revoke",
            {"task_id": "a", "terminate": True, "signal": "SIGTERM"},
            (("a",), "revoke with SIGTERM by me", None),
        ),
        ("revoke", {"task_id": "a", "terminate": True, "signal": "KILL"}, (("a",), "revoke with KILL by me", 0.0)),
        ("revoke", {"task_id": "a", "terminate": True, "signal": 9}, (("a",), "revoke with 9 by me", 0.0)),
        ("terminate", {"task_id": ["a"], "signal": "SIGKILL"}, (("a",), "terminate with SIGKILL by me", 0.0)),
        ("terminate", {"task_id": ["a"], "signal": "NONE"}, (("a",), "terminate with NONE by me", None)),
        ("revoke", {"task_id": None}, ((), "revoke by me", None)),
        ("revoke", {}, ((), "revoke by me", None)),
    ],
)
def test_a_control_command_is_read_in_all_its_forms(command, arguments, expected):
    heard = read_revoke(command, arguments, by="me")
    assert (heard.ids, heard.reason, heard.grace) == expected


def test_other_commands_are_no_revoke():
    assert read_revoke("rate_limit", {"task_name": "a"}) is None


def test_stamps_are_read_in_all_their_forms():
    assert stamps_of(STAMPED) == {"fleet": frozenset({"F1"})}
    assert stamps_of({"stamped_headers": ["fleet"], "stamps": {"fleet": ["F1"]}}) == {"fleet": frozenset({"F1"})}
    assert stamps_of({"headers": {"stamped_headers": ["a", "b"], "stamps": {"a": 1}}}) == {
        "a": frozenset({"1"}),
        "b": frozenset(),
    }
    assert stamps_of({}) == {}
    assert read_revoke("revoke_by_stamped_headers", {"headers": ["fleet=F1", "odd"]}).stamps == {
        "fleet": frozenset({"F1"})
    }

"""Runs that Celery's own tracer drives here, at moments that no real node can be brought to: its node is a real one."""

import inspect
import logging
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from celery.backends import cache
from celery.worker.request import Request
from kombu.message import Message

from lifecycle import ContainerTask, Lifecycle, shield
from lifecycle.errors import ContainerExists
from lifecycle.runtime import execution as executions
from lifecycle.runtime.execution import STOP_SIGNAL, Execution
from lifecycle.runtime.message import header
from lifecycle.runtime.node import Node
from lifecycle.runtime.request import ContainerRequest
from lifecycle.store import nodes
from lifecycle.store.engine import Database
from lifecycle.trees.spawn import Parent
from tests.integration.conftest import Grove, NoBroker, migrate

DOWN = "node shut down"
MAY_BE_SILENT = "emit_retry" in inspect.signature(Request.cancel).parameters  # not in Celery 5.5


class Shore:
    """An app, and a node of it that has registered; its threads do not run."""

    def __init__(self, grove):
        self.grove = grove
        cache._DUMMY_CLIENT_CACHE.clear()  # all apps of the process share it
        self.app = Celery("shore", broker="memory://", backend="cache+memory://", set_as_current=False)
        self.app.conf.lifecycle_database_url = grove.database.url.render_as_string(hide_password=False)
        self.lifecycle = Lifecycle(self.app)
        self.worker = SimpleNamespace(app=self.app, hostname="host", pool_cls="solo", concurrency=1)
        self.tasks = {name: self._task(name, body) for name, body in BODIES.items()}
        self.app.finalize()

    def _task(self, name, body):
        return self.app.task(base=ContainerTask, name=f"shore.{name}", bind=True, shared=False)(body)

    def join(self):
        self.node = self.lifecycle.node = Node(self.lifecycle, self.worker)
        self.node._register()
        self.grove.node = self.node.page.node

    def trace(self, container, recorded=True, parent=None, **request):
        """A message of it has come; what Celery makes of it."""
        task = self.app.tasks[f"shore.{container.container_type.lower()}"]
        said = {"lifecycle": header(self.lifecycle, recorded=recorded, parent=parent)}
        request = {"id": container.id, "retries": 0, "delivery_info": {}, **said, **request}
        build_tracer(task.name, task, self.app.loader, "host", app=self.app)(container.id, (), {}, request)
        return self.app.AsyncResult(container.id)

    def enter(self, container, over=True):
        """As if its body had returned here, and Celery published what follows it."""
        execution = Execution(self.lifecycle.keep(container))
        execution.over = over
        executions.enter(execution)


def again(task):
    """A body that is not ended by its retry."""
    task.retry(countdown=0, throw=False)
    return "it went on"


def retry(task):
    task.retry(countdown=60)


def step(task):
    return "done"


BODIES = {"again": again, "retry": retry, "step": step, "other": step}


@pytest.fixture
def shore(grove):
    handler = signal.getsignal(STOP_SIGNAL)
    shore = Shore(grove)
    shore.join()
    yield shore
    executions.leave()
    signal.signal(STOP_SIGNAL, handler)
    shore.lifecycle.database.dispose()


# A node that leaves


def test_who_waits_for_a_result_hears_what_a_leaving_node_ended(shore):
    shore.lifecycle.doorbell = NoBroker()
    shore.join()
    grove = shore.grove
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.end("coord-123")
    grove.mark("coord-123")
    grove.run("worker-2")
    shore.node.stop()
    assert grove.status("coord-123", "worker-1", "worker-2") == ["STOPPED", "STOPPED", "INTERRUPTED"]
    assert sorted(shore.lifecycle.doorbell.told) == ["coord-123", "worker-1"]
    assert not shore.grove.claim("worker-2"), "it is dead"


def test_a_node_says_which_runs_outlive_it_and_keeps_them(shore, caplog):
    shore.worker.pool = SimpleNamespace()  # made, and not to be killed
    executions.enter(Execution(shore.grove.run("worker-1")))
    shore.grove.run("worker-2")
    shore.node.stop()
    assert shore.grove.status("worker-1", "worker-2") == ["RUNNING", "INTERRUPTED"]
    assert f"node leaves, but runs go on node={shore.node.page.node} containers=worker-1" in caplog.text
    with shore.grove.database.read() as connection:
        assert shore.node.page.node in {row.id for row in nodes.alive(connection)}


def test_a_message_that_came_too_late_is_sent_to_another_node(shore):
    worker = shore.tasks["step"].spawn()
    shore.node.page.leave()
    assert shore.trace(worker).state == "PENDING"
    row = worker.refresh()
    assert (row.status, row.dispatched_at, row.epoch) == ("PENDING", None, 0)


def test_without_a_database_a_message_that_came_too_late_is_no_failure(shore, tmp_path, caplog):
    worker = shore.tasks["step"].spawn()
    shore.node.page.leave()
    there, away = shore.lifecycle.database, Database(f"sqlite:///{tmp_path}/missing/lifecycle.db")
    away._identity = there.id  # it was there before
    shore.lifecycle.database = away
    assert shore.trace(worker).state == "PENDING"
    assert f"not claimed, the node shuts down container={worker.id} error=" in caplog.text
    shore.lifecycle.database = there
    assert worker.refresh().status == "PENDING"


# A node that missed a renewal


@pytest.mark.parametrize("name", ["sweep", "recover"])
def test_by_a_periodic_pass_too_it_declares_nobody_dead(shore, name):
    """But takes what another one has declared dead."""
    grove, do = shore.grove, getattr(shore.lifecycle, name)
    for node, container_id in (("node-1", "worker-1"), ("node-2", "worker-2")):
        if node != "node-1":
            grove.register(node)
        grove.spawn(container_id)
        grove.claim(container_id, node=node)
    grove.silence("node-1")
    with grove.database.begin() as connection:
        nodes.retire(connection, "node-2", "lease ran out")
    shore.node.page.missed_at = time.monotonic()
    assert list(do().lost) == ["worker-2"]
    assert grove.status("worker-1") == "RUNNING"
    shore.node.page.missed_at = 0.0
    assert list(do().lost) == ["worker-1"]


# Retries


def test_a_retry_that_does_not_throw_runs_again(shore):
    worker = shore.tasks["again"].spawn()
    assert shore.trace(worker).state == "RETRY"
    row = worker.refresh()
    assert (row.status, row.attempt, row.result) == ("INTERRUPTED", "retry 1/3", None)
    assert shore.grove.recover().resumed == (worker.id,)
    shore.trace(worker, retries=1)
    assert (worker.refresh().attempt, worker.refresh().restart_count) == ("retry 2/3", 0)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_stop_that_comes_before_celery_stores_the_retry_is_told_after_it(shore, monkeypatch, stopped):
    worker, store = shore.tasks["retry"].spawn(), shore.app.backend.mark_as_retry
    shore.grove.doorbell = shore.lifecycle.doorbell

    def late(*args, **more):
        if stopped:
            assert shore.grove.stop(worker.id).stopped == (worker.id,)
            assert shore.app.AsyncResult(worker.id).state == "REVOKED"
        return store(*args, **more)

    monkeypatch.setattr(shore.app.backend, "mark_as_retry", late)
    assert shore.trace(worker).state == ("REVOKED" if stopped else "RETRY")
    assert worker.refresh().status == ("STOPPED" if stopped else "INTERRUPTED")


def test_without_a_database_a_retry_is_left_as_it_is(shore, tmp_path, monkeypatch, caplog):
    worker, there, store = shore.tasks["retry"].spawn(), shore.lifecycle.database, shore.app.backend.mark_as_retry

    def then_away(*args, **more):
        shore.lifecycle.database = Database(f"sqlite:///{tmp_path}/missing/lifecycle.db")
        return store(*args, **more)

    monkeypatch.setattr(shore.app.backend, "mark_as_retry", then_away)
    with caplog.at_level(logging.INFO, "lifecycle.run"):
        assert shore.trace(worker).state == "RETRY"
    assert f"not looked at after a retry container={worker.id} error=" in caplog.text
    shore.lifecycle.database = there


# Steps of a chain


@pytest.mark.parametrize("above", [None, "coord-123"])
def test_a_step_that_a_lost_run_has_published_is_not_published_again(shore, above):
    grove = shore.grove
    parent = grove.run(above) if above else None
    shore.enter(grove.run("worker-1", parent))
    first = shore.tasks["step"].apply_async(task_id="step-2")
    before = grove.get("step-2")
    assert (first.id, before.parent_container_id) == ("step-2", above)
    executions.leave()
    grove.lose("worker-1")
    grove.edit("worker-1", wake_at=None)
    grove.recover()
    shore.enter(grove.claim("worker-1"))
    assert shore.tasks["step"].apply_async(task_id="step-2") == first
    assert grove.get("step-2") == before


@pytest.mark.parametrize("other", ["type", "parent"])
def test_another_container_of_the_same_id_is_refused_as_ever(shore, other):
    parent = shore.grove.run("coord-123") if other == "parent" else None
    shore.grove.spawn("step-2", parent, container_type="STEP")
    shore.enter(shore.grove.run("worker-1"))
    with pytest.raises(ContainerExists, match="step-2"):
        shore.tasks["other" if other == "type" else "step"].apply_async(task_id="step-2")


def test_a_body_that_spawns_one_id_twice_is_refused_as_ever(shore):
    shore.enter(shore.grove.run("worker-1"), over=False)
    assert shore.tasks["step"].apply_async(task_id="step-2").id == "step-2"
    with pytest.raises(ContainerExists, match="step-2"):
        shore.tasks["step"].apply_async(task_id="step-2")


def test_a_step_of_a_run_whose_parent_was_cut_off_does_not_start(shore):
    """The parent's next run begins the whole chain again."""
    grove = shore.grove
    chain = grove.run("worker-1", grove.run("coord-123"))
    grove.lose("coord-123")
    shore.enter(chain)
    assert shore.tasks["step"].apply_async(task_id="step-2").state == "REVOKED"
    assert grove.children("coord-123") == ["worker-1"]


def test_a_message_of_a_plain_task_that_a_cut_off_run_began_is_not_run(shore, caplog):
    """It was on its way while the parent was restarted: the plain task comes again with the new run."""
    grove = shore.grove
    first = grove.run("coord-123")
    grove.lose("coord-123")
    grove.edit("coord-123", wake_at=None)
    grove.recover()
    grove.claim("coord-123")
    late = SimpleNamespace(id="late-1", container_type="STEP")
    assert shore.trace(late, recorded=False, parent=Parent(id="coord-123", epoch=first.epoch)).state == "REVOKED"
    assert "message not run container=late-1 why=invalid parent reference: the run of coord-123 that" in caplog.text
    assert grove.children("coord-123") == []


@pytest.mark.parametrize("limit", [True, False], ids=["with its soft limit over", "in time"])
def test_a_spawn_that_its_stop_refuses_ends_it_stopped(shore, limit):
    """The row knows of the stop, and no signal has come yet."""

    def body(task):
        shore.grove.mark(task.request.id)
        with shield():
            if limit:
                executions.current_execution().run_over()
            shore.tasks["step"].spawn()

    worker = shore._task("stopped", body).spawn()
    shore.trace(worker)
    assert (worker.refresh().status, worker.refresh().exit_message) == ("STOPPED", "Stopped by user")


# Messages without a row


def stranger(container_id="late-1"):
    return SimpleNamespace(id=container_id, container_type="STEP")


def waiting(shore):
    """The one message in the queue: its headers."""
    with shore.app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("celery", no_ack=True)
    assert message is not None, "no message"
    return message.headers


@pytest.fixture
def away(shore, tmp_path):
    """A database that does not answer; `known` if it once has."""
    there = shore.lifecycle.database
    shore.lifecycle.settings = replace(shore.lifecycle.settings, heartbeat=0.1, lease=0.5)

    def go(*, known):
        shore.lifecycle.database = Database(f"sqlite:///{tmp_path}/missing/lifecycle.db")
        shore.lifecycle.database._identity = there.id if known else None

    yield go
    shore.lifecycle.database = there


@pytest.mark.parametrize("known", [True, False], ids=["for longer than a lease", "since before the node's start"])
def test_without_a_database_a_message_comes_again(shore, away, caplog, known):
    there, parent = shore.lifecycle.database, shore.grove.run("coord-123")
    shore.app.connection_for_write().default_channel.queue_purge("celery")
    more = {"expires": None, "headers": {"by": "hand"}, "delivery_info": {"exchange": "", "routing_key": "celery"}}
    said = {"recorded": False, "parent": Parent(id=parent.id, born_of=parent.epoch)}
    first = {"lifecycle": header(shore.lifecycle, **said)}
    away(known=known)
    task = shore.tasks["step"]
    request = {"id": "late-1", "retries": 2, "group": "group-1", **more, **first}
    build_tracer(task.name, task, shore.app.loader, "host", app=shore.app)("late-1", (), {}, request)
    assert shore.app.AsyncResult("late-1").state == "PENDING"
    assert "not recorded, its message is sent again container=late-1 error=" in caplog.text
    again = waiting(shore)
    assert (again["id"], again["retries"], again["group"], again["by"]) == ("late-1", 2, "group-1", "hand")
    assert datetime.fromisoformat(again["eta"]) > datetime.now(UTC) - timedelta(minutes=1)
    shore.lifecycle.database = there
    build_tracer(task.name, task, shore.app.loader, "host", app=shore.app)("late-1", (), {}, {**again})
    row = shore.grove.get("late-1")
    assert (row.status, row.parent_container_id) == ("COMPLETED", "coord-123")


def test_without_a_database_and_a_broker_who_waits_learns_that_it_is_lost(shore, away, monkeypatch, caplog):
    away(known=True)
    monkeypatch.setattr(shore.app, "send_task", lambda *_, **__: 1 / 0)
    assert shore.trace(stranger(), recorded=False).state == "REVOKED"
    assert "message lost container=late-1 error=" in caplog.text


@pytest.mark.parametrize("recorded", [True, False])
def test_a_message_that_another_apps_body_sent_is_a_root_here(shore, caplog, recorded):
    """Its header names a parent that this database does not have; one that is recorded there is not for us."""
    said = {"database": "another", "recorded": recorded, "parent": ["coord-123", 1]}
    late = stranger()
    shore.trace(late, lifecycle=said)
    assert [row.id for row in shore.lifecycle.find(limit=None)] == ([] if recorded else [late.id])
    if recorded:
        assert "message of another database not run" in caplog.text
    else:
        row = shore.grove.get(late.id)
        assert (row.status, row.parent_container_id) == ("COMPLETED", None)


@pytest.fixture
def other_shore(tmp_path):
    """Makes other apps in this process, by default with a database of their own."""
    shores = []

    def make(grove=None):
        if grove is None:
            migrate(url := f"sqlite:///{tmp_path}/other.db")
            grove = Grove(Database(url))
        shores.append(Shore(grove))
        return shores[-1]

    yield make
    for other in shores:
        other.lifecycle.database.dispose()
        other.grove.database.dispose()


@pytest.mark.parametrize("over", [True, False], ids=["after", "in"])
def test_what_a_body_spawns_in_another_apps_database_is_a_root_there(shore, other_shore, over):
    other = other_shore()
    shore.enter(shore.grove.run("coord-123", player_id=7), over=over)
    row = other.tasks["step"].spawn()
    assert (row.parent_container_id, row.player_id) == (None, None)


def test_what_a_body_spawns_in_another_app_of_its_database_is_its_child(sqlite_grove, other_shore):
    shore = Shore(sqlite_grove)
    other = other_shore(sqlite_grove)
    shore.enter(sqlite_grove.run("coord-123", player_id=7), over=False)
    try:
        row = other.tasks["step"].spawn()
    finally:
        executions.leave()
        shore.lifecycle.database.dispose()
    assert (row.parent_container_id, row.player_id) == ("coord-123", 7)


def test_what_a_plain_task_spawns_for_a_body_of_another_database_is_a_root(shore):
    """A body of another app has sent it."""

    def spawns():
        return shore.tasks["step"].spawn().id

    plain = shore.app.task(name="shore.plain", shared=False)(spawns)
    said = {"lifecycle": {"database": "another", "recorded": False, "parent": ["coord-123", 1]}}
    request = {"id": "plain-1", "delivery_info": {}, **said}
    build_tracer(plain.name, plain, shore.app.loader, "host", app=shore.app)("plain-1", (), {}, request)
    result = shore.app.AsyncResult("plain-1")
    assert (result.state, shore.grove.get(result.result).parent_container_id) == ("SUCCESS", None)


# A broker that is lost


@pytest.fixture
def request_of(shore):
    """A message that runs in the main process's books."""
    message = Message(body="[[], {}, {}]", content_type="application/json", content_encoding="utf-8")
    message.headers = {"id": "worker-1", "task": "shore.step"}
    request = ContainerRequest(message, app=shore.app)
    request.time_start, request.worker_pid = time.monotonic(), 999_999
    return request


def test_a_request_that_is_cancelled_for_the_broker_does_not_make_the_node_leave(shore, request_of, monkeypatch):
    """Celery's own `worker_cancel_long_running_tasks_on_connection_loss`."""
    sent = []
    monkeypatch.setattr(Request, "send_event", lambda *_: None)
    pool = SimpleNamespace(terminate_job=lambda *which: sent.append(which))
    request_of.cancel(pool, **({"emit_retry": False} if MAY_BE_SILENT else {}))
    assert sent == [(999_999, signal.SIGTERM)]
    assert not shore.node.page.leaving
    assert shore.app.AsyncResult("worker-1").state == ("PENDING" if MAY_BE_SILENT else "RETRY"), (
        "told as Celery was told to"
    )


def test_a_request_that_is_cancelled_by_a_shutdown_is_left_to_the_supervisor(shore, request_of):
    shore.node.leave()
    request_of.cancel(None)
    assert shore.app.AsyncResult("worker-1").state == "PENDING"
    assert shore.node._supervisor._stopper._at_once

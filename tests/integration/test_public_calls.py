"""The calls without an app: they mean the current one, as Celery's own do."""

import pytest
from celery import Celery

import lifecycle
from lifecycle import ContainerTask, Lifecycle


def trade():
    """Never run here."""


@pytest.fixture
def fleet(sqlite_grove):
    """An app whose broker is nowhere, current for one test, and a coordinator with a child."""
    before = Celery("before")
    app = Celery("fleet", broker="redis://127.0.0.1:1/0", backend="cache+memory://")
    app.conf.lifecycle_database_url = sqlite_grove.database.url.render_as_string()
    Lifecycle(app)
    sqlite_grove.run("coord-1")
    sqlite_grove.run("worker-1", sqlite_grove.get("coord-1"))
    yield app.task(name="trade", base=ContainerTask, shared=False)(trade)
    app.lifecycle.database.dispose()
    before.set_current()


def test_they_read_and_stop_in_the_current_app(fleet, sqlite_grove):
    assert lifecycle.get("worker-1").parent_container_id == "coord-1"
    assert [each.id for each in lifecycle.find(status="RUNNING")] == ["worker-1", "coord-1"]
    assert lifecycle.find(status="FAILED") == []
    assert [each.id for each in lifecycle.children("coord-1")] == ["worker-1"]
    assert [each.id for each in lifecycle.tree("coord-1")] == ["coord-1", "worker-1"]
    report = lifecycle.stop("coord-1", wait=False)
    assert sqlite_grove.status("coord-1", "worker-1") == ["STOPPING", "STOPPING"]
    assert set(report.pending) == {"worker-1", "coord-1"}


def test_without_a_broker_a_spawned_container_stays_due(fleet, caplog):
    container = fleet.spawn()
    assert container.refresh().dispatched_at is None
    assert f"message not published, the dispatcher will container={container.id}" in caplog.text

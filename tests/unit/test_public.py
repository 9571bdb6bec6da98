"""What `import lifecycle` offers, and what it says to a mistake in an app."""

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from celery import Celery
from kombu import Queue

import lifecycle
from lifecycle import ContainerTask, Lifecycle
from lifecycle.errors import (
    DuplicateType,
    ImpossibleSettings,
    InvalidArgument,
    LifecycleError,
    NotInstalled,
)
from lifecycle.runtime.message import as_call, read_call
from lifecycle.runtime.page import SLOTS, Page


def body(*_):
    return "sold"


# shared=False: a shared task is in every app that is made later.
@pytest.fixture
def app():
    app = Celery("fleet", set_as_current=False)
    Lifecycle(app)
    return app


@pytest.mark.parametrize("name", lifecycle.__all__)
def test_every_public_name_is_there(name):
    assert getattr(lifecycle, name).__name__ == name


def test_a_name_that_is_not_there_is_told_as_python_does():
    with pytest.raises(AttributeError, match="module 'lifecycle' has no attribute 'spwan'"):
        _ = lifecycle.spwan


def test_an_app_without_lifecycle_is_told_what_to_do():
    task = Celery("plain", set_as_current=False).task(base=ContainerTask, shared=False)(body)
    with pytest.raises(NotInstalled, match=r"whose module calls Lifecycle\(app\)"):
        _ = task.lifecycle


def test_without_a_database_the_first_use_says_what_to_set(app, monkeypatch):
    monkeypatch.delenv("LIFECYCLE_DATABASE_URL", raising=False)
    with pytest.raises(ImpossibleSettings, match=r"app\.conf\.lifecycle_database_url or .* LIFECYCLE_DATABASE_URL"):
        _ = app.lifecycle.database


def test_containers_run_on_nodes_only(app):
    with pytest.raises(LifecycleError, match="this process is no Celery worker"):
        app.lifecycle.seat()


def test_two_tasks_of_one_type_are_told(app):
    for name in ("north.trade", "south.trade"):
        app.task(name=name, base=ContainerTask, shared=False)(body)
    with pytest.raises(DuplicateType, match=r"type TRADE is that of two tasks: north\.trade and south\.trade"):
        app.lifecycle.types()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"iterations": 0}, "iterations must be -1 or at least 1, not 0"),
        ({"iterations": -2}, "iterations must be -1 or at least 1, not -2"),
        ({"iterations": -1}, "an infinite container needs an interval of at least 1 s"),
        ({"iterations": -1, "interval": 0.5}, "an infinite container needs an interval of at least 1 s"),
        ({"iterations": 2, "interval": -1}, "interval and grace cannot be negative"),
        ({"grace": -1}, "interval and grace cannot be negative"),
    ],
)
def test_options_that_cannot_be_meant_are_told_with_the_task(app, options, why):
    app.task(name="trade", base=ContainerTask, shared=False, **options)(body)
    with pytest.raises(ImpossibleSettings, match=f"^trade: {why}"):
        app.lifecycle.types()


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"task_id": "worker-1"}, "task id is its container_id"),
        ({"countdown": 1, "eta": datetime(2030, 1, 1, tzinfo=UTC)}, "countdown or eta, not both"),
        ({"grace": float("nan")}, "grace"),
        ({"player_id": True}, "player_id is a whole number, not True"),
        ({"player_id": "12"}, "player_id is a whole number, not '12'"),
        ({"tags": {"": "x"}}, "a tag's name is text of 1 to"),
        ({"tags": {"ship": 7}}, "tag ship is text of 0 to"),
        ({"resources": [""]}, "a resource is text of 1 to"),
        ({"resources": ["ship\0"]}, "a resource is text of 1 to"),
        ({"serializer": "pickle"}, "serialized as JSON, not pickle"),
        ({"args": [object()]}, "arguments and options must be JSON"),
    ],
)
def test_a_wish_that_cannot_be_meant_is_refused_before_a_database_is_asked(app, asked, why):
    task = app.task(name="trade", base=ContainerTask, shared=False)(body)
    with pytest.raises(InvalidArgument, match=why):
        task.spawn(**asked)


def test_eager_apps_run_no_containers(app):
    task = app.task(name="trade", base=ContainerTask, shared=False)(body)
    app.conf.task_always_eager = True
    with pytest.raises(InvalidArgument, match="task_always_eager runs no containers"):
        task.spawn()
    assert task.delay().get() == "sold"
    assert task() == "sold"


def test_a_container_is_not_replaced(app):
    task = app.task(name="trade", base=ContainerTask, shared=False)(body)
    with pytest.raises(InvalidArgument, match="trade: a container cannot be replaced by"):
        task.replace(task.s())


def test_a_recorded_call_keeps_its_types_and_none_of_its_times_or_live_objects():
    args = [datetime(2030, 1, 1, tzinfo=UTC), Decimal("1.10"), uuid.UUID(int=7)]
    options = {"queue": Queue("north"), "countdown": 3, "producer": object(), "headers": {"lifecycle": {}, "mine": 1}}
    recorded = json.loads(json.dumps(as_call("trade", args, None, options)))
    assert recorded["options"] == {"queue": "north", "headers": {"mine": 1}}
    assert read_call(recorded)["args"] == args


def test_a_node_has_no_more_pool_children_than_its_page_has_places():
    with pytest.raises(ValueError, match=f"at most {SLOTS} pool children; this is number {SLOTS}"):
        Page().begin(SLOTS, "worker-1")

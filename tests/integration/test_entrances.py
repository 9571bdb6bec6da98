"""Doors that pass a task by, on apps with habits of their own: what they do to plain tasks, and when they are made."""

import json
from functools import partial

import pytest
from celery import Celery, chain, signature
from celery.canvas import xmap

from lifecycle import ContainerTask, Lifecycle

PLACES = {"broker": "memory://", "backend": "cache+memory://", "set_as_current": False}


def berth(ship):
    return ship


class Terse(Celery):
    """Names none of what Celery's own `send_task` takes."""

    def send_task(self, *args, **kwargs):
        return super().send_task(*args, **kwargs)


@pytest.fixture
def harbour(sqlite_database):
    """Makes apps on a database; each has a container's task and a plain one."""
    made = []

    def make(kind=Celery, *, finalized=False):
        app = kind("harbour", **PLACES)
        app.conf.lifecycle_database_url = sqlite_database.url.render_as_string(hide_password=False)
        app.conf.task_routes = {"plain": {"queue": "side"}, "dock": {"queue": "side"}}
        if finalized:
            app.finalize()
        made.append(Lifecycle(app))
        app.task(base=ContainerTask, name="dock", shared=False)(berth)
        app.task(name="plain", shared=False)(berth)
        app.finalize()
        return app

    yield make
    for lifecycle in made:
        lifecycle.database.dispose()


def published(app, queue):
    """The ids of all messages in a queue; every app of this process has the same ones."""
    with app.connection_for_read() as connection:
        take = partial(connection.default_channel.basic_get, queue, no_ack=True)
        return [message.headers["id"] for message in iter(take, None)]


@pytest.mark.parametrize("again", [signature, xmap.from_dict], ids=["a step", "a map"])
@pytest.mark.parametrize("name", ["plain", "dock"])
def test_a_map_that_came_in_a_message_is_a_container_if_its_task_is_one(harbour, name, again):
    app = harbour()
    step = chain(app.tasks["plain"].si(1), app.tasks[name].map([1])).tasks[1]
    result = again(json.loads(json.dumps(step)), app=app).apply_async()
    queue = "side" if again == xmap.from_dict else "celery"  # Celery's own: a step says of no task whose route it is
    rows = [(row.id, row.container_type, row.queue) for row in app.lifecycle.find(limit=None)]
    assert rows == ([] if name == "plain" else [(result.id, "CELERY_MAP", queue)])
    assert result.id in published(app, queue)


def test_a_map_on_an_app_that_was_finalized_before_is_a_container(harbour):
    app = harbour(finalized=True)
    result = app.tasks["dock"].map([1]).apply_async()
    assert app.lifecycle.get(result.id).container_type == "CELERY_MAP"


def test_by_name_what_a_subclass_does_not_name_is_kept(harbour):
    app = harbour(Terse)
    sent = app.send_task(name="dock", args=[1], countdown=60, queue="dry")
    row = app.lifecycle.get(sent.id)
    assert (row.container_type, row.queue, row.wake_at is not None) == ("DOCK", "dry", True)
    assert app.send_task("dock", ("ship",), {}, 60).id in {each.id for each in app.lifecycle.find(type="DOCK")}


@pytest.mark.parametrize("where", ["class", "instance"])
def test_who_traces_calls_later_sees_them_all(harbour, monkeypatch, where):
    app, seen = harbour(Terse), []
    owner = Terse if where == "class" else app
    before = owner.send_task

    def traced(*args, **kwargs):
        seen.extend(name for name in ("dock", "plain") if name in args)
        return before(*args, **kwargs)

    monkeypatch.setattr(owner, "send_task", traced)
    app.send_task("plain")
    app.tasks["plain"].delay(1)
    app.tasks["dock"].delay(1)
    assert seen == ["plain", "plain", "dock"]


def test_what_an_app_had_put_in_its_place_before_is_passed_on_to(sqlite_database):
    app, seen = Celery("harbour", **PLACES), []
    app.conf.lifecycle_database_url = sqlite_database.url.render_as_string(hide_password=False)
    app.send_task = lambda name, *args, **kwargs: seen.append(name)
    Lifecycle(app)
    app.send_task("plain")
    assert seen == ["plain"]

"""What a type holds by itself: every door takes it, and none may leave it out."""

import pytest
from celery.app.trace import build_tracer

from lifecycle import ContainerTask
from lifecycle.errors import ImpossibleSettings, InvalidArgument, ResourceHeld
from lifecycle.runtime.message import header
from tests.integration.test_cli_verbs import Commands, make_app, url_of
from tests.integration.test_traced_runs import Shore


def fly(ship=None, *, system="X1"):
    """Never run here."""


def fly_again(self, ship):
    self.spawn([ship])


@pytest.fixture
def app(database):
    app = make_app(url_of(database))
    app.task(base=ContainerTask, name="fly", shared=False, holds=["ship:{ship}"])(fly)
    yield app
    app.lifecycle.database.dispose()


@pytest.fixture
def task(app):
    return app.tasks["fly"]


def held(app):
    return {each.resource: each.container_id for each in app.lifecycle.assignments()}


def test_whoever_starts_it_it_holds_what_its_type_says(app, task):
    spawned = task.spawn(["A"], resources=["folder:1"])
    sent = task.delay(ship="B").id
    listed = Commands(app).lines("start", "FLY", "ship=C")[0]
    first, second = task.spawn_many([(["D"], {}), ([], {"ship": "E"})])
    assert held(app) == {
        "ship:A": spawned.id,
        "folder:1": spawned.id,
        "ship:B": sent,
        "ship:C": listed,
        "ship:D": first.id,
        "ship:E": second.id,
    }
    assert spawned.id.startswith("fly-A-"), "its id is named by what its type holds"
    with pytest.raises(ResourceHeld, match="ship:B is held by container"):
        task.spawn(["B"])


def test_a_rerun_holds_the_same_once(app, task):
    first = task.spawn(["A"], resources=["ship:A", "folder:1"])
    app.lifecycle.stop(first.id)
    again = app.lifecycle.rerun(first.id)
    assert held(app) == {"ship:A": again.id, "folder:1": again.id}


def test_two_of_one_call_cannot_hold_the_same(task):
    with pytest.raises(InvalidArgument, match="a resource is given to 2 containers at once: ship:A"):
        task.spawn_many([(["A"], {}), (["A"], {"system": "X2"})])


def test_what_names_a_resource_must_be_given(app, task):
    with pytest.raises(InvalidArgument, match=r"^FLY holds 'ship:\{ship\}': say which, with ship=$"):
        task.spawn()
    assert not app.lifecycle.find()


def test_a_message_from_elsewhere_takes_it_as_it_is_recorded(grove):
    """One by name, of an app without a Lifecycle: the second finds the ship taken, and is not run."""
    shore = Shore(grove)
    holding = shore.app.task(base=ContainerTask, name="shore.fly", bind=True, shared=False, holds=["ship:{ship}"])
    task = holding(fly_again)
    shore.join()
    said = {"lifecycle": header(shore.lifecycle, recorded=False), "delivery_info": {}}
    tracer = build_tracer(task.name, task, shore.app.loader, "host", app=shore.app)
    tracer("late-1", ("A",), {}, {"id": "late-1", **said})
    row = grove.get("late-1")
    assert (row.status, row.exit_message) == ("FAILED", "ResourceHeld: ship:A is held by container late-1")
    tracer("late-2", (), {}, {"id": "late-2", **said})
    assert grove.get("late-2").exit_message.startswith("TypeError"), "its body takes no such call"


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        ("ship:{ship}", "holds is a list of names"),
        ([1], "holds is a list of names"),
        (["ship:{hull}"], "its body has no argument 'hull'"),
        (["ship:{ship.name}"], "its body has no argument 'ship.name'"),
        (["ship:{"], "holds 'ship:{': "),
    ],
)
def test_names_that_cannot_be_meant(sqlite_url, holds, said):
    app = make_app(sqlite_url)
    app.task(base=ContainerTask, name="other", shared=False, holds=holds)(fly)
    with pytest.raises(ImpossibleSettings, match=said):
        app.lifecycle.types()

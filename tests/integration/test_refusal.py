"""Who waits for a step of a canvas that does not start, and for what comes after it, whatever that is made of."""

import json

import pytest
from celery import Celery, chain, chord, group
from celery.backends import cache

from lifecycle.runtime.refusal import refuse


def step(*_):
    return None


@pytest.fixture
def app():
    cache._DUMMY_CLIENT_CACHE.clear()  # all apps of the process share it
    app = Celery("steps", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.task(name="step", shared=False)(step)
    app.finalize()
    return app


LATER = {
    "a step": lambda step: step(),
    "a chord": lambda step: chord([step(), step()], step()),
    "a chord of chains": lambda step: chord([chain(step(), step()), step()], chain(step(), step())),
    "a chord in a chord": lambda step: chord([chord([step(), step()], step()), step()], step()),
    "a group": lambda step: group(step(), chain(step(), step())),
}


@pytest.mark.parametrize("is_last", [True, False], ids=["last", "before others"])
@pytest.mark.parametrize("later", LATER)
def test_who_waits_for_any_later_part_learns_that_it_does_not_start(app, later, is_last):
    step = app.tasks["step"].si
    parts = [step(), step(), LATER[later](step), *([] if is_last else [step()])]
    tasks, results = chain(*parts).prepare_steps((), {}, parts, app=app)
    options = json.loads(json.dumps({"chain": list(tasks[:-1])}))
    refuse(app, tasks[-1].id, options, "its tree is stopped")
    states = {each.id: each.state for result in results for each in leaves(result)}
    assert set(states.values()) == {"REVOKED"}
    assert len(states) == len(json.dumps(parts).split('"step"')) - 1, "else some were not looked at"


def leaves(result):
    """Each result of one task in this one."""
    members = getattr(result, "results", None)
    found = [each for member in members for each in leaves(member)] if members is not None else [result]
    return found + (leaves(result.parent) if result.parent is not None else [])


def test_arguments_of_a_step_are_no_parts_of_it(app):
    other = app.AsyncResult("other")
    step = app.signature("step", kwargs={"tasks": [{"options": {"task_id": other.id}}]}, options={"task_id": "last"})
    refuse(app, "first", {"chain": [dict(step)]}, "its tree is stopped")
    assert (app.AsyncResult("last").state, other.state) == ("REVOKED", "PENDING")

"""What a container knows when it runs again, as its executions write it."""

import pytest
from celery import Celery

from lifecycle import Lifecycle, checkpoint, current_container
from lifecycle.errors import ExecutionSuperseded
from lifecycle.runtime import execution as executions
from lifecycle.runtime.execution import Execution


@pytest.fixture
def lifecycle(database):
    app = Celery("states", broker="memory://", set_as_current=False)
    app.conf.lifecycle_database_url = database.url.render_as_string(hide_password=False)
    yield Lifecycle(app)
    app.lifecycle.database.dispose()


@pytest.fixture
def enter(lifecycle):
    """Make a claimed container the one whose body runs here."""

    def enter(container):
        executions.enter(Execution(lifecycle.keep(container)))

    yield enter
    executions.leave()


def test_what_a_body_says_is_added_on_its_row_and_at_hand(grove, enter):
    enter(grove.run("worker-1"))
    checkpoint(page=7, ship="a")
    checkpoint(page=8)
    assert grove.get("worker-1").state == current_container().state == {"page": 8, "ship": "a"}
    checkpoint()
    assert grove.get("worker-1").state == {"page": 8, "ship": "a"}


def test_the_next_execution_knows_it(grove, enter):
    enter(grove.run("worker-1"))
    checkpoint(page=7)
    grove.rest("worker-1", seconds=-1)
    assert grove.claim("worker-1").state == {"page": 7}


def test_a_container_that_is_being_stopped_may_still_say_where_it_is(grove, enter):
    """A body without a signal meets its stop a moment later."""
    enter(grove.run("worker-1"))
    grove.mark("worker-1")
    checkpoint(page=7)
    assert grove.get("worker-1").state == {"page": 7}


@pytest.mark.parametrize("how", ["rested", "taken over", "lost", "stopped by hand"])
def test_an_execution_that_is_over_for_its_row_writes_no_state(grove, enter, how):
    enter(grove.run("worker-1"))
    if how == "lost":
        grove.lose("worker-1")
    elif how == "stopped by hand":
        grove.edit("worker-1", status="STOPPED")
    else:
        grove.rest("worker-1", seconds=-1)
    if how == "taken over":
        grove.claim("worker-1")
    with pytest.raises(ExecutionSuperseded, match="worker-1 epoch 1 is not the one that runs"):
        checkpoint(page=7)
    assert grove.get("worker-1").state == {}

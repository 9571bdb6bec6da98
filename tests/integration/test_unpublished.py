"""A broker that takes some messages and not others."""

import pytest

from lifecycle.store.clock import later, now
from lifecycle.trees import dispatch


class Choosy:
    """Refuses the messages of some containers."""

    def __init__(self, *refused):
        self.refused, self.published = refused, []

    def publish(self, container_id, message):
        if container_id in self.refused:
            raise ConnectionError("reset by peer")
        self.published.append(container_id)

    def is_empty(self, queue):
        return True


@pytest.fixture
def due(grove):
    for name in ("worker-1", "worker-2", "worker-3"):
        grove.spawn(name, wake_in=0, queue="celery")
    return grove


def test_what_the_broker_refuses_is_due_again_and_stops_no_other(due, caplog):
    broker = Choosy("worker-2")
    assert dispatch.dispatch(due.database, broker) == 2
    assert sorted(broker.published) == ["worker-1", "worker-3"]
    assert "message not published container=worker-2 error=reset by peer" in caplog.text
    assert dispatch.dispatch(due.database, Choosy()) == 0, "not at once"
    assert 0 < dispatch.seconds_to_next(due.database) <= dispatch.RETRY
    due.edit("worker-2", wake_at=later(now(), -1))
    again = Choosy()
    assert dispatch.dispatch(due.database, again) == 1
    assert again.published == ["worker-2"]
    assert due.get("worker-2").dispatched_at is not None

"""Thousands of messages that only wait are not taken for lost ones, and a lost one among them is found."""

import pytest
import sqlalchemy as sa

from lifecycle.store.clock import later, now
from lifecycle.store.tables import containers
from lifecycle.trees.dispatch import BATCH
from tests.acceptance.scene import Scene
from tests.acceptance.world import eventually

pytestmark = pytest.mark.acceptance
REDISPATCH = 2.0  # seconds; a real node waits a minute: all is thirty times faster here
BACKLOG = 5_000
CHUNK = 250  # spawned at once: a backlog is not of one moment
c = containers.c


@pytest.fixture(scope="module")
def world(new_world):
    """A dispatcher that consumes nothing of a backlog; each test's own node is one more."""
    made = new_world(heartbeat=1, lease=10, redispatch=REDISPATCH)
    made.start("watcher", queues="watcher", slots=1)
    yield made
    made.close()


@pytest.fixture
def scene(world):
    made = Scene(world)
    yield made
    made.clear()


@pytest.fixture
def gate(tmp_path):
    """What makes slow bodies fast, once it is there."""
    return tmp_path / "gate"


def fill(scene, count, queue, **kwargs):
    """Ids of children of one coordinator, which spawned some at a time."""
    root = scene.run(scene.plan("coord-123", queue="watcher", seconds=3600.0)).id
    task, ids = scene.lifecycle.types()["GATED"], []
    while len(ids) < count:
        calls = [((), kwargs)] * min(CHUNK, count - len(ids))
        ids += [each.id for each in task.spawn_many(calls, parent_container_id=root, queue=queue)]
    return ids


def waiting_in(scene, queue):
    """Messages in the broker's queue."""
    with scene.world.app.connection_for_read() as connection:
        return connection.default_channel.queue_declare(queue=queue, passive=True).message_count


def lose(scene, container_id, queue):
    """Take one message out of the broker's queue, as a broker does that forgets."""
    with scene.world.app.connection_for_read() as connection:
        channel = connection.default_channel
        if connection.transport.driver_type == "redis":
            (message,) = [each for each in channel.client.lrange(queue, 0, -1) if container_id.encode() in each]
            assert channel.client.lrem(queue, 1, message) == 1
            return
        while (message := channel.basic_get(queue)).headers["id"] != container_id:
            pass  # what was taken and not acknowledged is back in its place when the connection is closed
        channel.basic_ack(message.delivery_tag)


def sent_again(scene, ids):
    """Those whose message a dispatcher has sent."""
    query = sa.select(c.id).where(c.root_id.endswith(scene.suffix), c.dispatch_count > 0)
    with scene.lifecycle.database.read() as connection:
        return set(connection.execute(query).scalars()) & set(ids)


def oldest_waits(scene, seconds):
    """True once a message of the backlog has been on its way for so long."""
    query = sa.select(sa.func.count()).where(
        c.root_id.endswith(scene.suffix), c.status == "PENDING", later(c.dispatched_at, seconds) < now()
    )
    with scene.lifecycle.database.read() as connection:
        return connection.execute(query).scalar_one() > 0


def started(scene, ids):
    """How often the body of each began."""
    marks = scene.world.marks()
    return [len(marks.get(each, ())) for each in ids]


def all_over(scene, ids):
    eventually("all over", lambda: all(scene.lifecycle.get(each).is_ended for each in ids), 120)


def test_a_backlog_of_thousands_is_never_doubled(scene, gate):
    """First nobody consumes it, then a slow node does; its messages are many times older than what looks lost."""
    ids = fill(scene, BACKLOG, "slow", gate=str(gate), seconds=0.1)
    eventually("it waits for long", lambda: oldest_waits(scene, 4 * REDISPATCH))
    assert waiting_in(scene, "slow") == BACKLOG
    node = scene.world.start("slow", queues="slow", slots=2)
    for share in range(1, 9):  # looked at again and again while it moves
        eventually("it moves", lambda share=share: sum(started(scene, ids)) > 10 * share)
        assert sum(started(scene, ids)) + waiting_in(scene, "slow") <= BACKLOG
    assert sent_again(scene, ids) == set()
    scene.stop("coord-123", grace=2)
    runs = started(scene, ids)
    assert set(runs) == {0, 1}
    assert sum(runs) < BACKLOG / 2, "most were still waiting"
    node.end()


def test_a_backlog_runs_out_with_each_container_run_once(scene, gate):
    ids = fill(scene, 150, "steady", gate=str(gate), seconds=0.1)
    eventually("it waits for long", lambda: oldest_waits(scene, 2 * REDISPATCH))
    node = scene.world.start("steady", queues="steady", slots=2)
    eventually("it moves", lambda: sum(started(scene, ids)) > 20)
    gate.touch()
    all_over(scene, ids)
    assert started(scene, ids) == [1] * len(ids)
    assert sent_again(scene, ids[:-4]) == set(), "the queue of the last is empty before they are claimed"
    node.end()


def test_a_lost_message_in_a_backlog_is_sent_again_and_only_that(scene, gate):
    """The queue is never empty: what tells is that a message sent much later was claimed."""
    gate.touch()
    lost, *others = fill(scene, 30, "leaking", gate=str(gate), seconds=0)
    lose(scene, lost, "leaking")
    eventually("much later", lambda: oldest_waits(scene, 2 * REDISPATCH))
    last = [scene.start(scene.plan(f"last-{n}", kind="QUICK", queue="leaking", seconds=0.5)).id for n in range(20)]
    assert sent_again(scene, [lost, *others, *last]) == set()
    node = scene.world.start("leaking", queues="leaking", slots=1)
    eventually("sent again", lambda: sent_again(scene, [lost]))
    assert scene.lifecycle.get(last[-1]).started_at is None, "the queue was not empty yet"
    all_over(scene, [lost, *others, *last])
    row = scene.lifecycle.get(lost)
    assert (row.status, row.epoch) == ("COMPLETED", 1)
    assert started(scene, [lost, *others]) == [1] * 30
    assert sent_again(scene, [*others, *last[:-2]]) == set()
    node.end()


def test_a_backlog_hides_no_lost_message_of_another_queue(scene, gate):
    """More wait without being lost than are looked at in a pass, and they are older."""
    ids = fill(scene, BATCH + 1, "nobody-listens", gate=str(gate), seconds=0)
    eventually("it waits for long", lambda: oldest_waits(scene, 2 * REDISPATCH))
    lost = scene.start(scene.plan("lost", kind="ANSWER", queue="empty", value="found")).id
    lose(scene, lost, "empty")
    eventually("sent again", lambda: sent_again(scene, [lost, *ids]) == {lost}, 5 * REDISPATCH)

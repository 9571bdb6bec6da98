"""Many spawned at once, and spawned in a caller's transaction: what real nodes make of it."""

import time
from collections import Counter

import pytest
import redis
import sqlalchemy as sa

from tests.acceptance.scene import eventually
from tests.acceptance.world import load_pipelines

pytestmark = pytest.mark.acceptance

NUMBER = 30
NO_BROKER = "redis://127.0.0.1:1/0"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def on_both(request):
    return request.getfixturevalue("scene" if request.param == "sqlite" else "postgres_scene")


def test_a_body_spawns_all_its_workers_at_once(on_both):
    scene = on_both
    plan = scene.plan("coord-123", kind="RECRUITING", number=NUMBER, tags={"leg": "2", "fleet": "b"})
    scene.start({**plan, "options": {**plan["options"], "player_id": 12, "tags": {"fleet": "a", "base": "x"}}})
    row = scene.ended("coord-123")
    workers = scene.lifecycle.children(row.id)
    assert (row.status, row.progress, len(workers)) == ("COMPLETED", "1/1", NUMBER)
    inherited = {"base": "x", "fleet": "b", "leg": "2"}
    for worker in workers:
        assert (worker.player_id, worker.tags, worker.parent_epoch) == (12, inherited, 1)
        assert (worker.status, worker.epoch, worker.root_id) == ("COMPLETED", 1, row.id)
    assert sorted(worker.result for worker in workers) == list(range(NUMBER))
    assert [len(scene.world.marks()[worker.id]) for worker in workers] == [1] * NUMBER


def test_a_client_without_a_broker_spawns_what_nodes_run_later(scene):
    """The rows stay due; a node's dispatcher, which has a broker, publishes them."""
    cut_off = load_pipelines({**scene.world.env, "BROKER_URL": NO_BROKER})
    began = time.monotonic()
    made = cut_off.answer.spawn_many([((each,), {}) for each in range(NUMBER)], tags={"of": scene.suffix})
    print(f"{NUMBER} without a broker in {time.monotonic() - began:.2f} s")
    ended = [scene.lifecycle.wait(each.id, 40) for each in made]
    assert Counter((each.status, each.epoch, each.dispatch_count) for each in ended) == {("COMPLETED", 1, 1): NUMBER}
    assert [each.result for each in ended] == list(range(NUMBER))
    cut_off.lifecycle.database.dispose()


@pytest.mark.only_on("valkey", "redis")
def test_a_batch_that_the_broker_refuses_runs_once_it_takes_messages_again(brokerless_scene):
    """It is full when the messages go out together."""
    scene, broker = brokerless_scene
    with redis.Redis.from_url(broker.url) as client:
        client.config_set("maxmemory", 1)
        made = scene.lifecycle.types()["ANSWER"].spawn_many([((each,), {}) for each in range(NUMBER)])
        eventually("a dispatcher met it too", lambda: "message not published" in scene.world.log())
        assert client.llen("celery") == 0
        client.config_set("maxmemory", 0)
    ended = [scene.lifecycle.wait(each.id, 40) for each in made]
    assert Counter((each.status, each.epoch) for each in ended) == {("COMPLETED", 1): NUMBER}
    assert [len(scene.world.marks()[each.id]) for each in made] == [1] * NUMBER
    assert [each.result for each in ended] == list(range(NUMBER))


# In a caller's transaction


@pytest.fixture
def connection(on_both):
    """The caller's own."""
    engine = sa.create_engine(on_both.lifecycle.database.url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_what_a_caller_spawns_runs_after_its_commit(on_both, connection):
    scene = on_both
    plan = scene.plan("worker-1", kind="ANSWER", value=7)
    plan["options"]["connection"] = connection
    scene.start(plan)
    assert scene.found("worker-1") is None
    if connection.dialect.name == "postgresql":  # on SQLite no node can write before the commit
        other = scene.plan("due-meanwhile", kind="ANSWER", value=8)
        other["options"]["countdown"] = 0.01
        scene.start(other)
        scene.ended("due-meanwhile")  # so a dispatcher has looked
    assert (scene.found("worker-1"), scene.marks("worker-1")) == (None, [])
    connection.commit()
    committed = time.time()
    row = scene.ended("worker-1")
    assert (row.status, row.result, row.epoch) == ("COMPLETED", 7, 1)
    waited = scene.ticks("worker-1")[0]["at"] - committed
    print(f"at work {waited:.2f} s after the commit")
    assert waited < 1 + 2, "a look of the dispatcher, and two for a loaded machine"


def test_what_a_caller_takes_back_never_runs(on_both, connection):
    scene = on_both
    for name in ("worker-1", "worker-2"):
        plan = scene.plan(name, kind="ANSWER", value=7)
        plan["options"]["connection"] = connection
        scene.start(plan)
    connection.rollback()
    last = scene.plan("due-afterwards", kind="ANSWER", value=8)
    last["options"]["countdown"] = 0.01
    scene.start(last)
    scene.ended("due-afterwards")  # so a dispatcher has looked
    assert [scene.found(name) for name in ("worker-1", "worker-2")] == [None, None]
    assert scene.marks("worker-1") == scene.marks("worker-2") == []


def test_a_transaction_that_a_body_leaves_open_is_rolled_back(postgres_scene):
    """It holds the lock on the row that has to end."""
    scene = postgres_scene
    scene.start(scene.plan("untidy", kind="UNTIDY", child=scene.id("never"), keeps_state=False))
    row = scene.ended("untidy")
    assert (row.status, row.result) == ("COMPLETED", "over")
    assert scene.found("never") is None
    assert "transaction left open by the body, rolled back" in scene.world.log()


def test_state_is_refused_while_the_body_holds_its_own_row(postgres_scene):
    scene = postgres_scene
    scene.start(scene.plan("untidy", kind="UNTIDY", child=scene.id("never"), keeps_state=True))
    row = scene.ended("untidy")
    assert row.status == "FAILED"
    assert "commit the transaction that spawned here first" in row.exit_message
    assert scene.found("never") is None

"""Many containers in one call: one statement a table, one batch of messages, all or none."""

import secrets
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import sqlalchemy as sa
from celery import Celery
from celery.signals import before_task_publish
from kombu import Producer

from job.servers import Valkey
from lifecycle import ContainerTask, Lifecycle
from lifecycle.errors import InvalidArgument, ResourceHeld, SchemaMissing
from lifecycle.trees import spawn
from tests.acceptance.world import eventually
from tests.integration.test_races import WAITING, beside, rows

QUEUE = "haul"
ITS_OWN = "/14"  # a database of the broker that no other test uses
BATCHES = hasattr(Producer, "batch")  # an older kombu sends one after the other
TABLES = ("containers", "transitions", "container_tags", "assignments")


@pytest.fixture
def broker(valkey):
    client = redis.Redis.from_url(valkey.url.removesuffix("/0") + ITS_OWN)
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def haul(database, broker, valkey):
    task = haul_on(database, valkey.url.removesuffix("/0") + ITS_OWN)
    yield task
    close(task)


def haul_on(database, broker):
    """A task whose messages nobody takes from the broker."""
    app = Celery("hauliers", broker=broker, set_as_current=False)
    app.conf.task_default_queue = QUEUE
    app.conf.lifecycle_database_url = database.url.render_as_string(hide_password=False)
    Lifecycle(app)

    @app.task(name="hauliers.haul", base=ContainerTask, container_type="HAUL")
    def haul(ship, *, fuel=0):
        """Never run here."""

    return haul


def close(haul):
    haul.app.close()
    haul.lifecycle.database.dispose()


def calls(number):
    return [([f"ship-{n}"], {"fuel": n}) for n in range(number)]


def ships(number):
    return [[f"ship:{n}"] for n in range(number)]


def rows_in(grove, table):
    with grove.database.read() as connection:
        return connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one()


@pytest.fixture
def statements(haul):
    """What the spawner's engine executes, by the first three words."""
    seen = Counter()

    def note(_connection, _cursor, statement, *_):
        seen[" ".join(statement.split()[:3])] += 1

    engine = haul.lifecycle.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)


def test_a_thousand_take_no_more_statements_than_ten(grove, haul, statements):
    haul.lifecycle.database.id  # noqa: B018 - read once a process
    seen = []
    for number in (10, 1_000):
        statements.clear()
        haul.spawn_many(calls(number), tags={"fleet": "a"}, player_id=number, resources=ships(number))
        seen.append(dict(statements))
    assert seen[0] == seen[1]
    assert seen[1]["INSERT INTO containers"] == 1
    assert {name: rows_in(grove, name) for name in TABLES} == dict.fromkeys(TABLES, 1_010)


@pytest.mark.parametrize("number", [1_001, 5_001])
def test_more_than_a_page_is_recorded_and_published_in_order(grove, haul, broker, number):
    made = haul.spawn_many(calls(number), resources=ships(number))
    held = {resource: f"ship:{n}" for n, resource in enumerate(each.id for each in made)}
    assert {container: resource for resource, container in grove.held().items()} == held
    assert (rows_in(grove, "containers"), rows_in(grove, "transitions")) == (number, number)
    assert broker.llen(QUEUE) == number
    with grove.database.read() as connection:
        query = sa.text("SELECT id, message FROM containers WHERE id IN (:first, :last)")
        found = dict(connection.execute(query, {"first": made[0].id, "last": made[-1].id}).all())
    assert [f'"ship-{n}"' in str(found[made[n].id]).replace("'", '"') for n in (0, number - 1)] == [True] * 2


def test_none_are_none(grove, haul, statements):
    assert haul.spawn_many([]) == []
    assert not statements


def test_each_has_what_it_is_given(grove, haul):
    made = haul.spawn_many(
        [(["a"], {}), (("b",), {"fuel": 7})], player_id=12, tags={"fleet": "x"}, resources=[[], ["s"]]
    )
    assert [(each.player_id, each.tags, each.status) for each in made] == [(12, {"fleet": "x"}, "PENDING")] * 2
    assert [grove.held().get("s") == each.id for each in made] == [False, True]
    assert [each.refresh() for each in made] == made


# All or none


@pytest.fixture
def nothing_new(grove, broker, haul):
    """What a refused call must leave: not a row, not a message."""

    def look():
        return {name: rows_in(grove, name) for name in TABLES}, broker.llen(QUEUE)

    def check():
        assert look() == before

    grove.run("holder", resources=["ship:30"])
    before = look()
    return check


def test_one_resource_that_is_held_refuses_all(haul, nothing_new):
    with pytest.raises(ResourceHeld, match=r"^ship:30 is held by container holder$") as refused:
        haul.spawn_many(calls(50), tags={"fleet": "a"}, resources=ships(50))
    assert (refused.value.resource, refused.value.holder) == ("ship:30", "holder")
    nothing_new()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"calls": calls(2), "resources": [["ship:1"], ["ship:2", "ship:1"]]}, "a resource is given to 2 containers"),
        ({"calls": calls(2), "resources": [["ship:1"]]}, "resources are given for 1 calls, but there are 2"),
        ({"calls": calls(2), "resources": [["ship:1"], [""]]}, "a resource is text of 1 to 255 characters"),
        ({"calls": [*calls(1), ["ship-2"]]}, "calls are pairs"),
        ({"calls": [*calls(1), ([object()], {})]}, "arguments and options must be JSON"),
        ({"calls": calls(2), "task_id": "mine"}, "a container's task id is its container_id"),
        ({"calls": calls(2), "tags": {"fleet": 7}}, "tag fleet is text"),
    ],
)
def test_what_cannot_be_meant_refuses_all(haul, nothing_new, given, named):
    with pytest.raises(InvalidArgument, match=named):
        haul.spawn_many(**given)
    nothing_new()


@pytest.mark.parametrize("given", [{"calls": calls(1), "resources": ["ship:1"]}, {"calls": [("ship-1", {})]}])
def test_a_text_is_no_list(haul, nothing_new, given):
    with pytest.raises(InvalidArgument):
        haul.spawn_many(**given)
    nothing_new()


def test_arguments_that_the_task_does_not_take_refuse_all(haul, nothing_new):
    with pytest.raises(TypeError, match="no_such_argument"):
        haul.spawn_many([*calls(1), (["ship-2"], {"no_such_argument": 1})])
    nothing_new()


def test_an_error_in_the_middle_leaves_nothing(grove, haul, nothing_new):
    """The statement of a later table fails."""
    with grove.database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE assignments RENAME TO moved_away"))
    try:
        with pytest.raises(SchemaMissing, match="lacks this version's tables"):
            haul.spawn_many(calls(3), resources=ships(3))
    finally:
        with grove.database.begin() as connection:
            connection.execute(sa.text("ALTER TABLE moved_away RENAME TO assignments"))
    nothing_new()


# Generated ids


def suffixes(monkeypatch, *given):
    """The first random suffixes; then real ones."""
    real, left = secrets.token_hex, iter(given)
    monkeypatch.setattr(secrets, "token_hex", lambda size: next(left, None) or real(size))


def test_generated_ids_that_exist_get_another_suffix(grove, haul, broker, monkeypatch):
    for taken in ("haul-00000001", "haul-00000002"):
        grove.spawn(taken)
    suffixes(monkeypatch, "00000001", "00000003", "00000002")
    made = [each.id for each in haul.spawn_many(calls(3))]
    assert made[1] == "haul-00000003"
    assert len({*made, "haul-00000001", "haul-00000002"}) == 5
    assert (rows_in(grove, "containers"), broker.llen(QUEUE)) == (5, 3)


def test_two_generated_ids_of_one_call_that_are_the_same_differ(grove, haul, broker, monkeypatch):
    suffixes(monkeypatch, "00000001", "00000001")
    made = haul.spawn_many(calls(2))
    assert len({each.id for each in made}) == rows_in(grove, "containers") == broker.llen(QUEUE) == 2


def test_any_number_of_generated_ids_may_exist(grove, haul, monkeypatch):
    taken = [f"0000000{n}" for n in range(8)]
    for each in taken:
        grove.spawn(f"haul-{each}")
    suffixes(monkeypatch, *taken)
    assert len(haul.spawn_many(calls(8))) == 8


# Messages


@pytest.mark.skipif(not BATCHES, reason="kombu knows batches since 5.7")
def test_messages_go_out_in_one_batch(haul, broker):
    """Each costs a read of the broker's where it is sent alone; many fit into one here."""
    haul.spawn_many(calls(2))
    with haul.app.producer_pool.acquire(block=True) as producer:
        assert producer.supports_batch_publish
    before = broker.info("stats")["total_reads_processed"]
    haul.spawn_many(calls(1_000))
    reads = broker.info("stats")["total_reads_processed"] - before
    assert broker.llen(QUEUE) == 1_002
    assert reads < 500, "each went out alone"


def test_messages_that_could_not_all_go_out_are_all_due(sqlite_grove):
    """The broker is full before the second batch: who runs twice for it loses the claim."""
    with Valkey() as full, redis.Redis.from_url(full.url) as client:
        haul = haul_on(sqlite_grove.database, full.url)
        before_task_publish.connect(fill := Filling(client, at=1_005))
        try:
            made = haul.spawn_many(calls(1_010))
        finally:
            before_task_publish.disconnect(fill)
        client.config_set("maxmemory", 0)
        assert client.llen(QUEUE) == (gone_out := 1_000 if BATCHES else 1_004)
        assert [each.refresh().dispatched_at for each in made] == [None] * 1_010
        haul.spawn_many(calls(2))
        assert client.llen(QUEUE) == gone_out + 2, "the next batch has nothing of the broken one"
        close(haul)


class Filling:
    """Takes the broker its memory once it has heard of so many messages."""

    def __init__(self, client, at):
        self._client, self._left = client, at

    def __call__(self, **_):
        self._left -= 1
        if self._left == 0:
            self._client.config_set("maxmemory", 1)


def test_a_time_of_their_own_keeps_them_unpublished(grove, haul, broker):
    made = haul.spawn_many(calls(3), countdown=3600)
    assert [each.refresh().activity[:14] for each in made] == ["sleeping until"] * 3
    assert broker.llen(QUEUE) == 0


# The order of locks, on PostgreSQL


@pytest.mark.postgres
def test_batches_that_want_the_same_in_opposite_order_wait_for_each_other_in_turn(postgres_grove):
    """The first has `ship:1` and waits in the middle; the second must not take `ship:9` before it."""
    grove = postgres_grove

    def births(*wanted):
        return [grove.birth(f"{'-'.join(wanted)}-{each}", resources=(f"ship:{each}",)) for each in wanted]

    with ThreadPoolExecutor(2) as pool:
        with grove.database.begin() as connection:
            spawn.record(connection, grove.birth("middle", resources=("ship:5",)))
            first = beside(pool, grove, spawn.spawn_all, grove.database, births("1", "5", "9"))
            assert not first.done()
            second = pool.submit(spawn.spawn_all, grove.database, births("9", "1"))
            eventually("both wait", lambda: rows(grove, WAITING) == [(2,)] or second.done())
            connection.rollback()
        assert len(first.result(timeout=10)) == 3
        with pytest.raises(ResourceHeld, match="ship:1 is held by container 1-5-9-1"):
            second.result(timeout=10)
    assert grove.held() == {f"ship:{each}": f"1-5-9-{each}" for each in "159"}

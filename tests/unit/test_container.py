"""A container as a value, and its id."""

import json
import re
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lifecycle.domain.container import MAX_ID, Container, check_id, new_id
from lifecycle.domain.status import Status
from lifecycle.errors import InvalidArgument

AT = datetime(2025, 11, 24, 16, 23, 46, 5000, tzinfo=UTC)
GIVEN = {
    "id": "worker-1",
    "container_type": "WORK",
    "status": Status.RUNNING,
    "root_id": "coord-123",
    "depth": 1,
    "parent_container_id": "coord-123",
    "max_iterations": 1,
    "current_iteration": 0,
    "created_at": AT,
    "tags": {"a": "b"},
}


@pytest.fixture
def container():
    missing = {f.name: None for f in fields(Container) if f.name not in {"tags", "keeper"}}
    return Container(**{**missing, **GIVEN})


def test_a_root_has_no_parent(container):
    assert not container.is_root
    assert replace(container, parent_container_id=None).is_root


@pytest.mark.parametrize("status", Status)
def test_ended_is_one_of_three(container, status):
    assert replace(container, status=status).is_ended == (status in {"COMPLETED", "FAILED", "STOPPED"})


@pytest.mark.parametrize(("done", "of", "shown"), [(0, 1, "0/1"), (3, -1, "3/∞"), (2, 5, "2/5")])
def test_progress_reads_as_the_list_shows_it(container, done, of, shown):
    assert replace(container, current_iteration=done, max_iterations=of).progress == shown


@pytest.mark.parametrize(
    ("about", "activity"),
    [
        ({"node": "node1", "outcome": None}, ""),
        ({"outcome": "COMPLETED"}, "waiting for children"),
        ({"wake_at": AT + timedelta(seconds=9)}, "sleeping until 16:23:55"),
        ({"wake_at": AT + timedelta(days=1)}, "sleeping until 2025-11-25 16:23:46"),
        ({"wake_at": AT, "dispatched_at": AT}, "queued"),
        ({"status": Status.PENDING, "dispatched_at": AT}, "queued"),
        ({"status": Status.PENDING, "wake_at": AT}, "sleeping until 16:23:46"),
        ({"status": Status.STOPPING}, "waiting for children"),
        ({"status": Status.STOPPING, "node": "node1"}, ""),
        ({"status": Status.INTERRUPTED}, "goes on now"),
        ({"status": Status.INTERRUPTED, "attempt": "restart 2/3", "wake_at": AT}, "restart 2/3 now"),
        ({"status": Status.COMPLETED, "outcome": "COMPLETED"}, ""),
    ],
)
def test_activity_says_what_the_status_leaves_open(container, about, activity):
    assert replace(container, updated_at=AT, **about).activity == activity


def test_as_dict_is_json_with_utc_times_and_without_its_keeper(container):
    told = json.loads(json.dumps(container.as_dict()))
    assert told["created_at"] == "2025-11-24T16:23:46.005000+00:00"
    assert (told["status"], told["tags"], told["pid"]) == ("RUNNING", {"a": "b"}, None)
    assert set(told) == {f.name for f in fields(Container)} - {"keeper"}


def test_a_container_is_a_value(container):
    with pytest.raises(FrozenInstanceError):
        container.status = Status.STOPPED
    assert container == replace(container, keeper=object())


def test_only_a_kept_container_can_look_again(container):
    with pytest.raises(RuntimeError, match="not read through a Lifecycle"):
        container.refresh()


def test_it_asks_its_keeper(container):
    class Keeper:
        def get(self, container_id):
            return replace(container, id=container_id, status=Status.STOPPED)

        def wait(self, container_id, timeout):
            return container_id, timeout

    kept = replace(container, keeper=Keeper())
    assert kept.refresh().status is Status.STOPPED
    assert kept.wait(5) == ("worker-1", 5)


@pytest.mark.parametrize(
    ("container_type", "resources", "shape"),
    [
        ("ARBITRAGE_WORKER", ["ship:TORWINDO-8", "ship:TORWINDO-9"], r"arbitrage-worker-TORWINDO-8-[0-9a-f]{8}"),
        ("ARBITRAGE_WORKER", [], r"arbitrage-worker-[0-9a-f]{8}"),
        ("scan", ["folder:/usr/lib/python3"], r"scan-usr-lib-python3-[0-9a-f]{8}"),
        ("scan", ["plain name"], r"scan-plain-name-[0-9a-f]{8}"),
        ("scan", ["ship:"], r"scan-ship-[0-9a-f]{8}"),
    ],
)
def test_an_id_says_what_it_is(container_type, resources, shape):
    assert re.fullmatch(shape, new_id(container_type, resources))


def test_two_ids_differ():
    assert new_id("WORK") != new_id("WORK")


@given(some.text(min_size=1, max_size=400), some.text(max_size=400))
def test_an_id_fits_its_column_and_every_shell(container_type, resource):
    made = new_id(container_type, [resource])
    assert len(made) <= MAX_ID
    assert re.fullmatch(r"[A-Za-z0-9.-]+", made)
    check_id(made)


@pytest.mark.parametrize("text", ["a", "worker 1", "größe-∞", "x" * 255, "é" * 127])
def test_what_can_be_an_id(text):
    check_id(text)


@pytest.mark.parametrize(
    "text", ["", None, 5, "x" * 256, "é" * 128, "a\x00b", "a\nb", "a\x7f", "\x1b[31m", "\udcff", "a\u2028b"]
)
def test_what_cannot_be_an_id_is_said_in_one_line(text):
    with pytest.raises(InvalidArgument, match="a container id is 1 to 255 bytes of printable text") as refusal:
        check_id(text)
    assert str(refusal.value).isprintable()

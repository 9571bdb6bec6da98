"""Every way into a container, from a client and from a body: its rows, their place in the tree, and Celery's result."""

import pytest
from celery import chord
from celery.exceptions import ChordError, TaskRevokedError
from celery.result import result_from_tuple

from lifecycle.errors import InvalidParent
from tests.acceptance.world import eventually

ALL = {
    "a signature": (["ADD"], 3),
    "send_task by name": (["ADD"], 3),
    "a signature by name": (["ADD"], 3),
    "a group": (["ADD"] * 2, [2, 4]),
    "a chain": (["ADD"] * 3, 113),
    "a chord": (["ADD", "ADD", "TOTAL"], 6),
    "a chord of chains": (["ADD"] * 4 + ["TOTAL"], 9),
    "a chord in a chord": (["ADD"] * 3 + ["TOTAL"] * 2, 12),
    "a chord in a chain": (["ADD"] * 4 + ["TOTAL"], 12),
    "a group in a chain": (["ADD"] * 3, [3, 4]),
    "a chain in a group": (["ADD"] * 3, [3, 4]),
    "a chord that ends a chain": (["ADD"] * 3 + ["TOTAL"], 7),
    "map": (["CELERY_MAP"], [2, 4]),
    "starmap": (["CELERY_STARMAP"], [2, 4]),
    "chunks": (["CELERY_STARMAP"] * 2, [[2, 4], [6]]),
}
WITH_PLAIN_TASKS = {
    "plain tasks between": (["ADD"] * 2, 4),
    "a plain task that calls": (["ADD"], 3),
    "a chord of plain tasks": (["TOTAL"], 6),
    "a plain map in a chain": ([], [2, 4]),
}


def place(row):
    return (row.parent_container_id, row.player_id, row.tags, row.status)


@pytest.mark.parametrize("door", ALL)
def test_from_a_client_each_call_is_one_root(doors, door):
    types, value = ALL[door]
    before = doors.known()
    assert doors.tasks.DOORS[door]().apply_async().get(timeout=30) == value
    eventually("all ended", lambda: all(row.is_ended for row in doors.since(before)))
    rows = doors.since(before)
    assert sorted(row.container_type for row in rows) == types
    assert [place(row) for row in rows] == [(None, None, {}, "COMPLETED")] * len(types)


@pytest.mark.parametrize("is_over", [True, False], ids=["whose body is over", "whose body goes on"])
@pytest.mark.parametrize("door", ALL)
def test_from_a_body_each_call_is_one_child(doors, door, is_over):
    types, value = ALL[door]
    root = doors.tasks.opens.spawn([door, 0 if is_over else len(types)], player_id=7, tags={"fleet": "haulers"})
    row = doors.ended(root.id)
    children = doors.lifecycle.children(root.id)
    assert result_from_tuple(row.result, doors.app).get(timeout=5) == value
    assert sorted(each.container_type for each in children) == types
    assert [place(each) for each in children] == [(root.id, 7, {"fleet": "haulers"}, "COMPLETED")] * len(types)


@pytest.mark.parametrize("door", WITH_PLAIN_TASKS)
def test_plain_tasks_hand_on_whose_child_it_is_while_its_body_goes_on(doors, door):
    types, value = WITH_PLAIN_TASKS[door]
    root = doors.tasks.opens.spawn([door, len(types)], player_id=7, tags={"fleet": "haulers"})
    row = doors.ended(root.id)
    children = doors.lifecycle.children(root.id)
    assert result_from_tuple(row.result, doors.app).get(timeout=5) == value
    assert sorted(each.container_type for each in children) == types
    assert [place(each) for each in children] == [(root.id, 7, {"fleet": "haulers"}, "COMPLETED")] * len(types)


@pytest.mark.parametrize(
    ("door", "error"),
    [
        ("plain, then steps", TaskRevokedError),
        ("plain, then a chord", TaskRevokedError),
        ("plain, then a group", TaskRevokedError),
        ("a chord of plain tasks", ChordError),
    ],
)
def test_after_a_plain_task_whose_container_has_ended_who_waits_learns_that_nothing_follows(doors, door, error):
    """A plain task keeps no container open: it has no row."""
    root = doors.tasks.opens.spawn([door])
    row = doors.ended(root.id)
    last = result_from_tuple(row.result, doors.app)
    for each in getattr(last, "results", None) or [doors.app.AsyncResult(last.id)]:
        # Celery 5.5 may miss what is stored just as it begins to listen.
        eventually("told", lambda each=each: doors.app.AsyncResult(each.id).ready(), 20)
        with pytest.raises(error, match="only a RUNNING container takes children"):
            doors.app.AsyncResult(each.id).get(timeout=5)
    assert doors.lifecycle.children(root.id) == []


def test_a_plain_task_that_spawns_below_what_has_ended_gets_the_error(doors):
    row = doors.ended(doors.tasks.opens.spawn(["a plain task that spawns late"]).id)
    with pytest.raises(InvalidParent, match="only a RUNNING container takes children"):
        result_from_tuple(row.result, doors.app).get(timeout=20)
    assert doors.lifecycle.children(row.id) == []


def test_a_strangers_canvas_by_names_is_recorded_as_it_is_claimed(doors):
    add, total = (doors.stranger.signature(f"doors.{name}") for name in ("add", "total"))
    before = doors.known()
    header = [add.clone([1, 1]) | add.clone([1]), add.clone([2, 2])]
    assert chord(header, total, app=doors.stranger).apply_async().get(timeout=30) == 7
    eventually("all ended", lambda: all(row.is_ended for row in doors.since(before)))
    rows = doors.since(before)
    assert sorted(row.container_type for row in rows) == ["ADD", "ADD", "ADD", "TOTAL"]
    assert [place(row) for row in rows] == [(None, None, {}, "COMPLETED")] * 4

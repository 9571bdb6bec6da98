"""What comes after a container: links, errbacks, and what its result says of them."""

import pytest

from tests.acceptance.world import eventually

LINKS = {
    "a link": ["ADD", "NOTE"],
    "a link to a plain task": ["ADD", "ADD"],
    "an errback": ["ERRS", "FAILS"],
    "an errback that is a function": ["ADD", "FAILS"],
    "an errback of its own": ["ADD", "BLAMES_ITSELF"],
    "an errback of a soft limit": ["ERRS", "SOFTLY"],
    "an errback of a hard limit": ["ERRS", "WORKS"],
    "an errback of a chord": ["ADD", "ERRS", "FAILS"],
    "a retry": ["RETRIES"],
}
OUTLIVED = {"a link to a plain task"}  # the container may have ended before the plain task begins: then it is refused


@pytest.mark.parametrize("is_over", [True, False], ids=["whose body is over", "whose body goes on"])
@pytest.mark.parametrize("door", LINKS)
def test_from_a_body_what_comes_after_a_child_is_its_sibling(doors, door, is_over):
    if is_over and door in OUTLIVED:
        pytest.skip("a plain task keeps no container open")
    types, before = LINKS[door], doors.known()
    root = doors.tasks.opens.spawn([door, 0 if is_over else len(types)], player_id=7, tags={"fleet": "haulers"})
    doors.ended(root.id)
    children = doors.lifecycle.children(root.id)
    assert sorted(row.container_type for row in children) == types
    assert [row.id for row in doors.since(before) if row.id != root.id and row not in children] == []
    assert {(row.player_id, row.tags["fleet"], row.is_ended) for row in children} == {(7, "haulers", True)}


@pytest.mark.parametrize("door", ["a link", "an errback", "an errback of a hard limit"])
def test_what_comes_after_a_root_is_of_its_player_and_tags(doors, door):
    signature = doors.tasks.DOORS[door]()
    before = doors.known()
    first = signature.type.spawn(signature.args, player_id=7, tags={"fleet": "haulers"}, **signature.options)
    eventually("two rows over", lambda: len(rows := doors.since(before)) == 2 and all(row.is_ended for row in rows))
    (second,) = [row for row in doors.since(before) if row.id != first.id]
    assert (second.parent_container_id, second.player_id, second.tags) == (None, 7, {"fleet": "haulers"})
    assert second.result == ([2] if door == "a link" else first.id)


def test_a_result_has_its_children_whoever_published_them(doors):
    root = doors.tasks.spawns_late.spawn()
    late, soon = doors.ended(root.id).result
    result = doors.app.AsyncResult(root.id)
    assert (result.state, result.get(timeout=5)) == ("SUCCESS", [late, soon])
    assert [child.id for child in result.children] == [late, soon]
    assert [child.get(timeout=5) for child in result.children] == [[root.id, root.id]] * 2


def test_a_result_of_a_body_that_failed_raises_its_error(doors):
    result = doors.tasks.fails.delay()
    with pytest.raises(ValueError, match="rock ahead"):
        result.get(timeout=30)
    assert (result.state, doors.ended(result.id).exit_message) == ("FAILURE", "ValueError: rock ahead")


@pytest.mark.parametrize("by", ["the task", "the call", "a stranger's call"])
def test_a_result_that_is_ignored_is_on_the_row_alone(doors, by):
    if by == "the task":
        result = doors.tasks.silent.delay()
    elif by == "the call":
        result = doors.tasks.add.apply_async([1, 2], ignore_result=True)
    else:
        result = doors.stranger.send_task("doors.add", [1, 2], ignore_result=True)
        eventually("recorded", lambda: result.id in doors.known())
    row = doors.ended(result.id)
    assert (row.status, row.result) == ("COMPLETED", "told to nobody" if by == "the task" else 3)
    assert doors.app.AsyncResult(result.id).state == "PENDING"


def test_eager_calls_are_calls_of_functions(doors):
    before = doors.known()
    assert doors.tasks.add.apply([1, 2]).get() == 3
    assert doors.tasks.add(1, 2) == 3
    assert doors.known() == before

"""Ways into and out of a container that Celery users take: canvas, plain tasks between, recursion, odd values."""

import importlib.util

import pytest
from celery.exceptions import TaskRevokedError

from lifecycle.errors import InvalidArgument
from tests.acceptance.world import HERE, World, environment, eventually


class Doors(World):
    """A world whose nodes and client run the app of `doors.py`."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        spec = importlib.util.spec_from_file_location("doors", HERE / "doors.py")
        self.doors = importlib.util.module_from_spec(spec)
        with environment(self.env):
            spec.loader.exec_module(self.doors)
            self.doors.app.finalize()
            assert self.doors.lifecycle.settings.heartbeat == 1
        self.app, self.lifecycle = self.doors.app, self.doors.lifecycle

    def celery(self, *words):
        return [word if word != "pipelines" else "doors" for word in super().celery(*words)]


@pytest.fixture(scope="module")
def world(tmp_path_factory, sqlite_template, valkey):
    folder = tmp_path_factory.mktemp("doors")
    database = folder / "lifecycle.db"
    database.write_bytes(sqlite_template.read_bytes())
    made = Doors(folder, valkey.url.removesuffix("/0") + "/62", f"sqlite:///{database}", heartbeat=1, lease=10)
    made.start(queues="celery,side")
    yield made
    made.close()


def ended(world, container_id):
    return eventually(
        f"{container_id} over", lambda: row if (row := world.lifecycle.get(container_id)).is_ended else None
    )


def test_steps_of_a_chain_go_on_after_the_body_that_started_it(world):
    root = world.doors.starts_chain.spawn()
    row = ended(world, root.id)
    steps = world.lifecycle.children(root.id)
    assert (row.status, [step.result for step in steps]) == ("COMPLETED", [3, 13, 113])
    assert {step.parent_epoch for step in steps} == {1}
    assert world.app.AsyncResult(row.result).get(timeout=10) == 113


def test_a_chain_below_a_stopped_parent_ends_and_its_waiter_learns_so(world):
    hold = world.doors.hold.spawn()
    eventually("held", lambda: world.lifecycle.get(hold.id).status == "RUNNING")
    report = world.lifecycle.stop(hold.id)
    assert report.stopped == (hold.id,)
    with pytest.raises(TaskRevokedError):
        world.app.AsyncResult(hold.id).get(timeout=10)


def test_what_a_plain_task_spawns_belongs_to_the_container_that_sent_it(world):
    root = world.doors.sends_plain.spawn(player_id=12, tags={"fleet": "haulers"})
    ended(world, root.id)
    (child,) = world.lifecycle.children(root.id)
    assert (child.parent_epoch, child.player_id, child.tags) == (1, 12, {"fleet": "haulers"})
    assert ended(world, child.id).result == 7


def test_a_body_that_calls_its_own_task_calls_a_function(world):
    row = ended(world, world.doors.recursive.spawn([3]).id)
    assert (row.status, row.result, row.epoch) == ("COMPLETED", 6, 1)


def test_a_container_is_not_replaced(world):
    row = ended(world, world.doors.replaces.spawn().id)
    assert row.status == "FAILED"
    assert "cannot be replaced" in row.exit_message


def test_a_result_that_is_no_json_is_kept_as_text(world):
    row = ended(world, world.doors.returns_nan.spawn().id)
    assert (row.status, row.result) == ("COMPLETED", "{'price': nan}")


@pytest.mark.parametrize(("fails", "status"), [(False, "COMPLETED"), (True, "FAILED")])
def test_names_that_are_no_unicode_lose_no_ending(world, fails, status):
    row = ended(world, world.doors.logs_a_strange_name.spawn([fails]).id)
    assert row.status == status
    lines = eventually("logged", lambda: world.lifecycle.logs([row.id]))
    assert lines[0].message == "file caf\\udce9"
    assert not fails or row.exit_message == "ValueError: bad path caf\\udce9"


def test_a_stop_comes_between_iterations_without_an_interval(world):
    root = world.doors.many_short.spawn()
    eventually("third iteration", lambda: world.lifecycle.get(root.id).current_iteration >= 3)
    world.lifecycle.stop(root.id)
    row = world.lifecycle.get(root.id)
    assert (row.status, row.exit_message) == ("STOPPED", "Stopped by user")
    assert row.current_iteration < 90


def test_the_row_names_the_queue_of_the_task(world):
    root = world.doors.has_own_queue.spawn()
    assert root.queue == "side"
    assert ended(world, root.id).result == "side"


def test_a_chord_over_a_stopped_member_fails_at_once(world):
    result = world.doors.a_chord().apply_async()
    (held,) = eventually("held", lambda: world.lifecycle.find("RUNNING", type="HOLD"))
    world.lifecycle.stop(held.id)
    eventually("the chord has failed", lambda: result.failed() or result.state == "REVOKED")


def test_a_spawn_that_cannot_be_meant_records_nothing(world):
    before = world.lifecycle.counts()
    for wrong in ({"task_id": "x"}, {"grace": float("inf")}, {"tags": {"a": "\x00"}}, {"container_id": "港" * 90}):
        with pytest.raises(InvalidArgument):
            world.doors.add.spawn([1, 2], **wrong)
    with pytest.raises(TypeError):
        world.doors.add.spawn([1])
    assert world.lifecycle.counts() == before

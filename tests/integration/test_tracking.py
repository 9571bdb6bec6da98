"""Who spawned whom, what a child has from its parent, and who holds what: on both databases."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from lifecycle.domain.ending import completed, failed
from lifecycle.domain.status import Status
from lifecycle.errors import (
    ContainerExists,
    ContainerNotFound,
    ContainerStopped,
    ExecutionSuperseded,
    InvalidArgument,
    InvalidParent,
    LifecycleError,
    PlayerMismatch,
    ResourceHeld,
)
from lifecycle.store import containers
from lifecycle.store.tables import containers as table
from lifecycle.trees import spawn

# The seed's feature "Parent-Child Container Tracking"


def test_create_container_with_parent_id(grove):
    grove.run("coord-123", player_id=1)
    worker = grove.spawn("worker-1", "coord-123", player_id=1)
    assert worker.parent_container_id == "coord-123"
    assert not worker.is_root
    assert grove.get("coord-123").parent_container_id is None


def test_create_root_container_without_parent(grove):
    coordinator = grove.spawn("coord-123", player_id=1)
    assert coordinator.parent_container_id is None
    assert coordinator.is_root
    assert (coordinator.root_id, coordinator.depth, coordinator.status) == ("coord-123", 0, "PENDING")


def test_query_child_containers(grove):
    for coordinator in ("coord-123", "coord-456"):
        grove.run(coordinator, player_id=1)
    grove.spawn("worker-1", "coord-123", player_id=1)
    grove.spawn("worker-2", "coord-123", player_id=1)
    grove.spawn("worker-3", "coord-456", player_id=1)
    with pytest.raises(PlayerMismatch):  # here a child of another player cannot even be made
        grove.spawn("worker-4", "coord-123", player_id=2)
    assert grove.children("coord-123") == ["worker-1", "worker-2"]
    assert grove.children("coord-456") == ["worker-3"]


def test_self_referencing_parent_is_rejected(grove):
    with pytest.raises(InvalidParent, match=r"^invalid parent reference"):
        grove.spawn("coord-123", "coord-123")
    assert not recorded(grove)
    grove.spawn("coord-123")
    with pytest.raises(InvalidParent, match=r"^invalid parent reference"):
        grove.spawn("coord-123", "coord-123")


# The place in the tree


def test_self_reference_is_refused_by_the_database_too(grove):
    with pytest.raises(IntegrityError, match="chk_no_self_parent"):
        grove.plant([{"id": "coord-123", "root_id": "coord-123", "parent_container_id": "coord-123"}])


def test_a_circle_cannot_be_written(grove):
    grove.run("a")
    grove.spawn("b", "a")
    with pytest.raises(IntegrityError, match="invalid parent reference"):
        grove.edit("a", parent_container_id="b")


def test_a_parent_cannot_be_deleted_under_its_child(grove):
    grove.run("a")
    grove.spawn("b", "a")
    with pytest.raises(IntegrityError), grove.database.begin() as connection:
        connection.execute(table.delete().where(table.c.id == "a"))


def test_every_level_knows_its_root_depth_and_parents_epoch(grove):
    grove.run("root")
    grove.run("sub", "root")
    grove.rest("sub", seconds=-1)
    grove.claim("sub")
    leaf = grove.spawn("leaf", grove.get("sub"))
    assert (leaf.root_id, leaf.depth, leaf.parent_epoch) == ("root", 2, 2)
    assert grove.spawn("guest", "sub").parent_epoch is None, "no execution of its parent spawned it"


def test_children_are_told_apart_by_life_and_age(grove):
    grove.run("root")
    for child in ("b", "a", "c"):
        grove.run(child, "root")
    grove.end("a")
    for minute, child in enumerate(("b", "a", "c")):
        grove.edit(child, created_at=datetime(2025, 11, 24, 10, minute, tzinfo=UTC))
    assert grove.children("root") == ["b", "a", "c"]
    assert grove.children("root", live=True) == ["b", "c"]
    assert grove.children("root", live=False) == ["a"]


def test_an_unknown_parent_is_named(grove):
    with pytest.raises(InvalidParent, match="invalid parent reference: no container nobody"):
        grove.spawn("worker-1", "nobody")
    assert not recorded(grove)


@pytest.mark.parametrize("status", ["PENDING", "INTERRUPTED", "STOPPING", "COMPLETED", "FAILED", "STOPPED"])
def test_only_a_running_parent_takes_children_from_outside(grove, status):
    grove.run("coord-123")
    grove.edit("coord-123", status=status)
    with pytest.raises(InvalidParent, match=f"coord-123 is {status}; only a RUNNING container takes children"):
        grove.spawn("worker-1", "coord-123")
    assert recorded(grove) == ["coord-123"]


def test_a_resting_parent_takes_children(grove):
    grove.run("coord-123")
    grove.rest("coord-123")
    assert grove.spawn("worker-1", "coord-123").depth == 1


def test_a_parent_whose_body_is_over_takes_no_children(grove):
    grove.run("coord-123")
    grove.spawn("worker-1", "coord-123")
    grove.end("coord-123")
    with pytest.raises(InvalidParent, match="coord-123 is RUNNING, its body is over"):
        grove.spawn("worker-2", "coord-123")


def test_an_execution_that_is_being_stopped_hears_so_when_it_spawns(grove):
    execution = grove.run("coord-123")
    grove.mark("coord-123")
    with pytest.raises(ContainerStopped, match="coord-123 is being stopped"):
        grove.spawn("worker-1", execution)
    assert recorded(grove) == ["coord-123"]


def test_a_stale_execution_hears_so_when_it_spawns(grove):
    stale = grove.run("coord-123")
    grove.rest("coord-123", seconds=-1)
    current = grove.claim("coord-123")
    with pytest.raises(ExecutionSuperseded, match="coord-123 runs as epoch 2, this is epoch 1"):
        grove.spawn("worker-1", stale)
    assert grove.spawn("worker-1", current).parent_epoch == 2


@pytest.mark.parametrize("status", ["INTERRUPTED", "COMPLETED", "FAILED", "STOPPED"])
def test_an_execution_whose_row_is_taken_away_hears_so_when_it_spawns(grove, status):
    execution = grove.run("coord-123")
    grove.edit("coord-123", status=status)
    with pytest.raises(ExecutionSuperseded, match=f"coord-123 is {status}"):
        grove.spawn("worker-1", execution)


# What a child has from its parent


def test_a_child_has_its_parents_player(grove):
    grove.run("coord-123", player_id=12)
    assert grove.spawn("worker-1", "coord-123").player_id == 12
    with pytest.raises(PlayerMismatch, match="player 13 cannot own a child of coord-123, of player 12"):
        grove.spawn("worker-2", "coord-123", player_id=13)


def test_a_child_of_nobodys_container_is_nobodys(grove):
    grove.run("coord-123")
    assert grove.spawn("worker-1", "coord-123").player_id is None
    with pytest.raises(PlayerMismatch):
        grove.spawn("worker-2", "coord-123", player_id=1)


def test_tags_are_inherited_unless_overridden(grove):
    grove.run("coord-123", tags={"system": "X1-YZ19", "goods": "iron"})
    grove.run("worker-1", "coord-123", tags={"goods": "gold", "ship": "TORWINDO-8"})
    grandchild = grove.spawn("part-1", "worker-1")
    assert grandchild.tags == {"system": "X1-YZ19", "goods": "gold", "ship": "TORWINDO-8"}
    assert grove.get("coord-123").tags == {"system": "X1-YZ19", "goods": "iron"}


def test_containers_are_found_by_every_filter_at_once(grove):
    grove.run("a", player_id=1, tags={"goods": "iron"}, container_type="TRADE")
    grove.spawn("b", player_id=1, tags={"goods": "iron"}, container_type="TRADE")
    grove.run("c", player_id=1, tags={"goods": "gold"}, container_type="TRADE")
    grove.run("d", player_id=2, tags={"goods": "iron"}, container_type="TRADE")
    grove.run("e", player_id=1, tags={"goods": "iron"}, container_type="SCAN")
    wanted = {"player_id": 1, "tags": {"goods": "iron"}, "container_type": "TRADE"}
    with grove.database.read() as connection:
        assert [found.id for found in containers.find(connection, status=[Status.RUNNING], **wanted)] == ["a"]
        assert containers.count_by_status(connection, **wanted)["PENDING"] == 1


@pytest.mark.parametrize("given", ["pending", ["PENDING"], ("Pending", Status.FAILED), {Status.PENDING}])
def test_containers_are_found_by_a_status_in_plain_words(grove, given):
    grove.spawn("worker-1")
    grove.run("worker-2")
    with grove.database.read() as connection:
        assert [each.id for each in containers.find(connection, status=given)] == ["worker-1"]
        assert containers.find(connection, status=[]) == []


def test_an_unknown_status_finds_nothing_but_an_error(grove):
    with grove.database.read() as connection, pytest.raises(InvalidArgument, match="unknown status DONE;"):
        containers.find(connection, status=["done"])


def test_another_players_container_is_not_found(grove):
    grove.spawn("coord-123", player_id=1)
    with grove.database.read() as connection, pytest.raises(ContainerNotFound, match="container not found: coord-123"):
        containers.get(connection, "coord-123", player_id=2)


# One container an id, one holder a resource


def test_an_id_is_taken_once(grove):
    grove.spawn("worker-1", container_type="FIRST", resources=("ship:1",))
    with pytest.raises(ContainerExists, match="container already exists: worker-1"):
        grove.spawn("worker-1", container_type="SECOND", resources=("ship:2",))
    assert grove.get("worker-1").container_type == "FIRST"
    assert grove.held() == {"ship:1": "worker-1"}


def test_a_held_resource_names_its_holder(grove):
    grove.spawn("worker-1", player_id=1, resources=("ship:TORWINDO-8",))
    with pytest.raises(ResourceHeld, match="ship:TORWINDO-8 is held by container worker-1") as refusal:
        grove.spawn("worker-2", player_id=1, resources=("ship:TORWINDO-8",))
    assert (refusal.value.resource, refusal.value.holder) == ("ship:TORWINDO-8", "worker-1")


@pytest.mark.parametrize("player", [1, None])
def test_all_resources_or_none_and_no_container(grove, player):
    grove.spawn("worker-1", player_id=player, resources=("ship:2",))
    with pytest.raises(ResourceHeld):
        grove.spawn("worker-2", player_id=player, resources=("ship:1", "ship:2", "ship:3"))
    assert recorded(grove) == ["worker-1"]
    assert grove.held() == {"ship:2": "worker-1"}


def test_each_player_has_a_ship_of_the_same_name(grove):
    for player in (None, 1, 2):
        grove.spawn(f"worker-{player}", player_id=player, resources=("ship:1",))
    assert len(recorded(grove)) == 3


def test_a_resource_named_twice_is_held_once(grove):
    grove.spawn("worker-1", resources=("ship:1", "ship:1"))
    assert grove.held() == {"ship:1": "worker-1"}


@pytest.mark.parametrize("ending", [completed(), failed("engine broke")])
def test_a_resource_is_free_once_its_holder_has_ended(grove, ending):
    grove.run("worker-1", resources=("ship:1",))
    grove.end("worker-1", ending)
    grove.spawn("worker-2", resources=("ship:1",))
    assert grove.held() == {"ship:1": "worker-2"}


def test_a_resource_is_held_while_its_holder_waits_for_children(grove):
    grove.run("coord-123", resources=("ship:1",))
    grove.run("worker-1", "coord-123")
    grove.end("coord-123")
    with pytest.raises(ResourceHeld):
        grove.spawn("coord-124", resources=("ship:1",))
    grove.end("worker-1")
    assert grove.held() == {}


# Bad values


@pytest.mark.parametrize("given", [{"wake_in": 3600}, {"wake_in": 0}, {}])
def test_only_a_row_without_a_wake_time_is_published_by_its_spawner(grove, given):
    container = grove.spawn("worker-1", **given)
    assert (container.dispatched_at is None) == ("wake_in" in given)
    assert (container.wake_at is None) == ("wake_in" not in given)


def test_a_refused_spawn_leaves_nothing_behind_in_its_callers_transaction(grove):
    grove.spawn("holder", resources=("ship:1",))
    with grove.database.begin() as connection:
        with pytest.raises(LifecycleError):
            spawn.record(connection, grove.birth("holder"))
        spawn.record(connection, grove.birth("worker-1"))
    assert recorded(grove) == ["holder", "worker-1"]


def recorded(grove):
    with grove.database.read() as connection:
        return sorted(connection.execute(sa.select(table.c.id)).scalars())

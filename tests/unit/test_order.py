"""The orders of a tree: a stop takes children first, a list shows parents first; siblings always oldest first."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lifecycle.trees.stop import stop_order, tree_order


def rows(**parents):
    return [SimpleNamespace(id=name, parent_container_id=parent) for name, parent in parents.items()]


def test_the_seeds_tree():
    tree = rows(coord="gone", sub="coord", worker_1="sub", worker_2="sub")
    assert stop_order(tree) == ["worker_1", "worker_2", "sub", "coord"]


def test_each_subtree_is_over_before_its_younger_sibling_begins():
    tree = rows(root=None, a="root", b="root", a1="a", b1="b", a2="a")
    assert stop_order(tree) == ["a1", "a2", "a", "b1", "b", "root"]


def test_a_list_shows_parents_first():
    tree = rows(root=None, a="root", b="root", a1="a", b1="b", a2="a")
    assert tree_order(tree) == ["root", "a", "a1", "a2", "b", "b1"]


def test_a_target_under_a_parent_outside_the_stop_is_a_root():
    assert stop_order(rows(worker="coord")) == ["worker"]


def test_orphans_of_an_ended_target_stand_side_by_side():
    assert stop_order(rows(a="ended", b="ended", a1="a")) == ["a1", "a", "b"]


def test_nothing_to_stop():
    assert stop_order([]) == []


def test_a_chain_of_5000():
    chain = [SimpleNamespace(id=n, parent_container_id=n - 1 if n else None) for n in range(5_000)]
    assert stop_order(chain) == list(range(4_999, -1, -1))
    assert tree_order(chain) == list(range(5_000))


@pytest.mark.parametrize(("order", "goes_first"), [(stop_order, "child"), (tree_order, "parent")])
@given(picks=some.lists(some.integers(min_value=0), max_size=60))
def test_any_tree(order, goes_first, picks):
    parents = [None] + [pick % (n + 1) for n, pick in enumerate(picks)]
    ordered = order([SimpleNamespace(id=n, parent_container_id=parent) for n, parent in enumerate(parents)])
    place = {name: n for n, name in enumerate(ordered)}
    assert sorted(ordered) == list(range(len(parents)))
    for child, parent in list(enumerate(parents))[1:]:
        assert (place[child] < place[parent]) == (goes_first == "child")
        for younger in range(child + 1, len(parents)):
            assert parents[younger] != parent or place[child] < place[younger]

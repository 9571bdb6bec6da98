"""The picture of the main job: what of a tree a screen shows, and how."""

import io
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from job import view
from lifecycle import Container, Status
from lifecycle.cli import table
from lifecycle.cli.tree import arrange

AT = datetime(2025, 11, 24, tzinfo=UTC)
NOTHING = {field.name: None for field in fields(Container) if field.name not in {"tags", "keeper"}}


class Tree(list):
    """Grown in the order in which `Lifecycle.tree` returns it."""

    def add(self, name, parent=None, status="RUNNING", **about):
        depth = next(each.depth for each in self if each.id == parent) + 1 if parent else 0
        place = {"id": name, "parent_container_id": parent, "depth": depth, "created_at": AT + timedelta(len(self))}
        about = {"max_iterations": 1, "current_iteration": 0, **about}
        self.append(Container(**{**NOTHING, **place, **about, "status": Status(status), "updated_at": AT}))
        return self


@pytest.fixture
def crawl():
    """Three folders: one done, one that waits for two batches, one that failed."""
    tree = Tree().add("root", outcome="COMPLETED").add("a", "root", "COMPLETED").add("a-1", "a", "COMPLETED")
    tree.add("b", "root", outcome="COMPLETED").add("b-1", "b", node="node1").add("b-2", "b", "PENDING")
    return tree.add("c", "root", "FAILED", exit_message="[no] luck")


def drawn(tree, width=80, height=24):
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(view.Frame(tree))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_frame_has_the_counts_and_the_tree(crawl):
    assert drawn(crawl) == [
        "7 containers: 1 PENDING, 3 RUNNING (1 executing), 2 COMPLETED, 1 FAILED",
        "root         RUNNING    waiting for children",
        "  ├─ a       COMPLETED",
        "  │  └─ a-1  COMPLETED",
        "  ├─ b       RUNNING    waiting for children",
        "  │  ├─ b-1  RUNNING",
        "  │  └─ b-2  PENDING    queued",
        "  └─ c       FAILED     [no] luck",
    ]


def test_without_room_what_is_busy_stays_and_the_rest_is_counted(crawl):
    assert drawn(crawl, height=view.AROUND + 4)[1:] == [
        "root         RUNNING    +2 COMPLETED below  waiting for children",
        "  ├─ b       RUNNING    +1 PENDING below  waiting for children",
        "  │  └─ b-1  RUNNING",
        "  └─ c       FAILED     [no] luck",
    ]


def test_with_no_room_at_all_the_root_stays(crawl):
    assert drawn(crawl, height=1)[1:] == [
        "root  RUNNING    +1 PENDING, 2 RUNNING, 2 COMPLETED, 1 FAILED below  waiting fo…"
    ]


def test_when_all_has_ended_the_first_level_stays():
    tree = Tree().add("root", status="COMPLETED")
    for folder in range(30):
        tree.add(f"f{folder}", "root", "COMPLETED").add(f"f{folder}-1", f"f{folder}", "COMPLETED")
    counts, root, *folders = drawn(tree)
    assert counts == "61 containers: 61 COMPLETED"
    assert root.endswith("COMPLETED  +30 COMPLETED below")
    assert [line.split()[1] for line in folders] == [f"f{folder}" for folder in range(15)]
    assert all(line.endswith("COMPLETED  +1 COMPLETED below") for line in folders)


def test_what_was_stopped_is_shown_before_what_is_done():
    tree = Tree().add("root", status="STOPPED")
    for folder in range(30):
        tree.add(f"f{folder}", "root", "COMPLETED" if folder < 20 else "STOPPED")
    assert [line.split()[1] for line in drawn(tree)[2:]] == ["f0", "f1", "f2", "f3", "f4"] + [
        f"f{folder}" for folder in range(20, 30)
    ]


def test_a_long_id_keeps_its_beginning_and_its_end():
    (line,) = drawn(Tree().add("crawl-folder-with-a-long-name-87daeda7", node="n"), width=64)[1:]
    assert line == "crawl-folder-wi…ng-name-87daeda7  RUNNING"


def test_it_draws_as_the_list_does(crawl):
    """Two places know lines and colours, for the job keeps to the public API."""
    theirs = [(entry.container, entry.branch) for entry in arrange(crawl, None)]
    assert list(view.branches(crawl)) == theirs
    assert view.COLOURS == table.COLOURS


def test_changes_are_a_line_each(crawl):
    console = Console(file=io.StringIO(), width=80)
    changes = view.Changes(console)
    changes.show(crawl)
    changes.show(crawl)
    changes.show(crawl[:1] + Tree().add("root").add("a", "root", "STOPPED", exit_message="[no] luck")[1:])
    lines = [line.partition("  ")[2] for line in console.file.getvalue().splitlines()]
    assert len(lines) == 8
    assert lines[0] == "RUNNING      root  waiting for children"
    assert lines[-1] == "STOPPED        a  [no] luck"


@pytest.mark.parametrize(("number", "words"), [(0, "0 files"), (1, "1 file"), (1700, "1,700 files")])
def test_counts_are_words(number, words):
    assert view.count(number, "file") == words

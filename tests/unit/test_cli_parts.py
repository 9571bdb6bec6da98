"""The parts of the commands that need no database: texts, values, trees, tables."""

import io
import json
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from rich.console import Console

from lifecycle.cli import VERBS, container, logs
from lifecycle.cli.listing import echo_array, hidden
from lifecycle.cli.start import parse_value
from lifecycle.cli.table import Cut, page
from lifecycle.cli.targets import highest
from lifecycle.cli.text import clean, clean_lines, count, milliseconds, seconds
from lifecycle.cli.tree import Entry, arrange
from lifecycle.domain.check import Finding, Level, sum_up
from lifecycle.domain.status import Status
from lifecycle.errors import ContainerNotFound
from lifecycle.runtime.check import within


@pytest.mark.parametrize("name", [name for verb, about in VERBS.items() for name in (verb, *about.aliases)])
def test_every_verb_and_alias_is_there(name):
    assert container.get_command(None, name).help


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain [red]text[/red] ∞", "plain [red]text[/red] ∞"),
        ("two\nlines\tand\rmore", "two lines and more"),
        ("\x1b[31mred\x07\x9b\u202e\u200b", "�[31mred����"),
        (None, "None"),
        ("", ""),
    ],
)
def test_what_rows_hold_moves_no_cursor(written, shown):
    assert clean(written) == shown


def test_a_line_of_a_log_message_cannot_pass_for_another_entry():
    assert clean_lines("first\n2025-11-24 16:45:09.000 ERROR forged\r") == (
        "first\n    2025-11-24 16:45:09.000 ERROR forged "
    )


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_array_written_one_by_one_is_the_text_of_the_whole(number, capsys):
    rows = [
        {"id": f"worker-{n}", "exit_message": "two\nlines\u2028", "tags": {"n": n}, "state": {}} for n in range(number)
    ]
    echo_array([SimpleNamespace(as_dict=lambda row=row: row) for row in rows])
    assert capsys.readouterr().out == json.dumps(rows, indent=2) + "\n"


def test_times_are_utc():
    time = datetime.fromisoformat("2025-11-24T17:45:09.123987+01:00")
    assert (seconds(time), milliseconds(time)) == ("2025-11-24 16:45:09", "2025-11-24 16:45:09.123")


def test_counts_are_words():
    assert [count(0), count(1), count(1204)] == ["0 containers", "1 container", "1,204 containers"]


@pytest.mark.parametrize(
    ("counts", "parts"),
    [
        ({Status.PENDING: 12, Status.FAILED: 4, Status.STOPPED: 1200}, "12 PENDING, 1,204 ended"),
        ({Status.PENDING: 1, Status.STOPPING: 2, Status.COMPLETED: 1}, "1 PENDING, 2 STOPPING, 1 ended"),
        ({Status.COMPLETED: 1}, "1 ended"),
        ({Status.PENDING: 1}, "1 PENDING"),
        ({Status.RUNNING: 5, Status.INTERRUPTED: 1}, None),
    ],
)
def test_what_is_hidden(counts, parts):
    found = hidden({status: counts.get(status, 0) for status in Status})
    assert found == ([f"hidden: {parts}", "--show-all"] if parts else [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ('{"a": [1]}', {"a": [1]}),
        ('"7"', "7"),
        ("TORWINDO-8", "TORWINDO-8"),
        ("", ""),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ("[" * 100_000, "[" * 100_000),
        ("9" * 5_000, "9" * 5_000),
    ],
)
def test_values_are_json_where_they_parse(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize(
    ("text", "ago"),
    [("30s", timedelta(seconds=30)), ("10m", timedelta(minutes=10)), ("2h", timedelta(hours=2)), ("1d", timedelta(1))],
)
def test_since_a_time_ago(text, ago):
    assert abs(datetime.now(UTC) - ago - logs._since(None, None, text)) < timedelta(seconds=5)


@pytest.mark.parametrize("text", ["2025-11-24T16:45:09", "2025-11-24T16:45:09Z", "2025-11-24 17:45:09+01:00"])
def test_since_a_time_in_utc(text):
    assert logs._since(None, None, text) == datetime(2025, 11, 24, 16, 45, 9, tzinfo=UTC)


# Checks


def test_a_check_is_one_line_of_all_problems_the_worst_first():
    problems = [(Level.WARN, "slow"), (Level.FAIL, "dead"), (Level.WARN, "old")]
    assert sum_up("nodes", problems, "fine") == Finding("nodes", Level.FAIL, "dead; slow; old")
    assert sum_up("nodes", [], "fine") == Finding("nodes", Level.OK, "fine")


def test_a_check_names_a_few_problems_and_counts_the_rest():
    problems = [(Level.WARN, str(number)) for number in range(1_205)]
    assert sum_up("nodes", problems, "fine").message == "0; 1; 2; 3; 4; and 1,200 more"


def test_a_call_that_takes_too_long_is_left_behind():
    over = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        within(0.05, over.wait)
    over.set()
    assert within(5, lambda: 7) == 7
    with pytest.raises(ValueError, match="no luck"):
        within(5, lambda: int("no luck"))


@pytest.mark.parametrize(
    ("ids", "tops"),
    [("a d", "a"), ("d a", "a"), ("c d", "c d"), ("e", "e"), ("e a", "e a"), ("f e", "e"), ("c", "c"), ("", "")],
)
def test_what_is_stopped_with_another_is_no_target(ids, tops):
    """`e` is detached from `d`, `f` is below `e`."""
    links = {"a": None, "b": "a", "c": "b", "d": "b", "e": None, "f": "e"}
    assert highest(ids.split(), links) == tops.split()


# Trees


def row(container_id, parent=None, at=0):
    created = datetime(2025, 11, 24, tzinfo=UTC) + timedelta(seconds=at)
    return SimpleNamespace(id=container_id, parent_container_id=parent, created_at=created)


def drawn(matched, others=()):
    known = {each.id: each for each in others}

    def read(container_id):
        if container_id not in known:
            raise ContainerNotFound(container_id)
        return known[container_id]

    return [f"{'' if e.matches else '(above) '}{e.branch}{e.container.id}" for e in arrange(matched, read)]


def test_a_tree_is_drawn_with_the_seeds_lines():
    rows = [row("old"), row("new", at=1), row("c", "new", 4), row("b", "new", 3), row("d", "b", 5), row("e", "b", 6)]
    assert drawn(rows) == [
        "new",
        "  ├─ b",
        "  │  ├─ d",
        "  │  └─ e",
        "  └─ c",
        "old",
    ]


def test_what_matches_hangs_under_its_ancestors():
    above = [row("root"), row("middle", "root", 1)]
    assert drawn([row("leaf", "middle", 2)], above) == ["(above) root", "(above)   └─ middle", "     └─ leaf"]


def test_the_child_of_a_pruned_parent_is_shown():
    assert drawn([row("leaf", "gone")]) == ["leaf"]


def test_a_chain_of_5000_is_drawn():
    assert len(drawn([row("0"), *(row(str(n), str(n - 1), n) for n in range(1, 5000))])) == 5000


# Screens


def printed(*renderables, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for each in renderables:
        console.print(each)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_an_id_without_room_keeps_its_beginning_and_its_end():
    assert printed(Cut("arbitrage-worker-TORWINDO-8-87daeda7"), width=20) == ["arbitr…DO-8-87daeda7"]
    assert printed(Cut("arbitrage-worker-TORWINDO-8-87daeda7"), width=1) == ["…"]


@pytest.mark.parametrize(("height", "rows", "more"), [(24, 20, "+20 more"), (43, 40, None), (42, 38, "+2 more")])
def test_a_page_fits_the_screen(height, rows, more):
    lines = printed(*page([entry(n) for n in range(40)], "Total", height=height, tree=True, wide=False))
    assert len(lines) <= height
    assert lines[-1] == "Total"
    assert sum(line.startswith("id-") for line in lines) == rows
    assert (lines[-2] if more else None) == more


def entry(number):
    about = {"container_type": "[red]TYPE[/red]", "status": Status.RUNNING, "progress": "0/∞"}
    return Entry(SimpleNamespace(id=f"id-{number}", **about))

"""`container sweep` and `container recover` on rows of a real database; and settings that no command takes."""

import os
import pty
import re
import sys
from contextlib import suppress

import pytest
import sqlalchemy as sa

from lifecycle.cli import container
from lifecycle.domain.ending import stopped
from lifecycle.store.tables import containers
from tests.integration.test_cli_verbs import NASTY, NOBODY, Commands, make_app, url_of

NOTHING_SWEPT = {"orphans": [], "by_hand": [], "lost": [], "settled": [], "released": []}
NOTHING_RECOVERED = {"lost": [], "superseded": [], "resumed": [], "waiting": []}
IMPOSSIBLE = [
    ("lease", 8, "two heartbeats of 5.0 s do not fit in a lease of 8.0 s less its margin of 0.8 s"),
    ("grace", -1, "lifecycle_grace cannot be negative: -1.0"),
    ("max_restarts", -1, "lifecycle_max_restarts must be a whole number from 0, not -1"),
    ("restart_backoff", "5,soon", "lifecycle_restart_backoff must be numbers of seconds with commas between them"),
    ("restart_backoff", "5,-1", "1,000,000,000, as 5,30,120, not '5,-1'"),
    ("healthy_after", "inf", "lifecycle_healthy_after must be a finite number of seconds, not inf"),
    ("sweep_every", 0, "lifecycle_sweep_every must be more than 0 s, not 0.0"),
    ("recover_every", "now and then", "lifecycle_recover_every must be a number, not 'now and then'"),
]


@pytest.fixture
def celery(database):
    return Commands(make_app(url_of(database)))


@pytest.fixture
def mess(grove):
    """One of each that a sweep finds."""
    grove.run("coord-123", resources=("ship:1",))
    grove.run("worker-1", "coord-123")
    grove.spawn("part-1", "worker-1")
    grove.spawn("worker-2", "coord-123")
    grove.edit("coord-123", status="COMPLETED", node=None)
    grove.run("stopping")
    grove.edit("stopping", status="STOPPING")
    grove.register("node-2")
    grove.spawn("lost")
    grove.claim("lost", node="node-2")
    grove.silence("node-2")
    grove.plant([{"id": "over", "root_id": "over", "status": "RUNNING", "outcome": "COMPLETED", "epoch": 1}])
    return grove


@pytest.fixture
def cut_off(grove):
    """A coordinator that waits for its second restart, a child lost with it, a retry, and one that may go on."""
    coordinator = grove.run("coord-123", player_id=12)
    grove.run("worker-1", coordinator)
    grove.edit("coord-123", restart_count=1)
    grove.lose("worker-1")
    grove.lose("coord-123")
    grove.run("retrying")
    grove.interrupt("retrying", why="Timeout: no answer", wait=3600.0, attempt="retry 1/5")
    grove.run("ready")
    grove.interrupt("ready")
    return grove


# sweep


def test_sweep_says_what_it_found(celery, mess):
    assert celery.lines("sweep") == [
        "worker-1  orphaned worker: its parent has ended",
        "worker-2  orphaned worker: its parent has ended",
        "stopping  STOPPING by hand: no stop drives it",
        "lost  lost its node: the node is dead",
        "over  ended late: nothing held it back",
        "ship:1  resource: its holder has ended",
        "Cleaned up 2 orphaned workers, and mended 4 more",
    ]
    assert mess.status("worker-1", "part-1", "worker-2", "stopping", "lost", "over") == [
        "STOPPING",
        "STOPPED",
        "STOPPED",
        "STOPPING",
        "INTERRUPTED",
        "COMPLETED",
    ]
    assert mess.held() == {}
    assert celery.lines("sweep") == ["No orphans found"]


def test_a_dry_sweep_says_the_same_and_changes_nothing(celery, mess):
    before = everything(mess)
    told = celery.lines("sweep", "--dry-run")
    assert everything(mess) == before
    assert told[-1] == "Would clean up 2 orphaned workers, and mend 4 more"
    assert told[:-1] == celery.lines("sweep")[:-1]
    assert celery.lines("sweep", "--dry-run") == ["No orphans found"]


def test_one_orphan_is_no_plural(celery, grove):
    grove.run("coord-123")
    grove.spawn("worker-1", "coord-123")
    grove.edit("coord-123", status="COMPLETED", node=None)
    assert celery.lines("sweep", "--dry-run")[-1] == "Would clean up 1 orphaned worker"
    assert celery.lines("sweep")[-1] == "Cleaned up 1 orphaned worker"


def test_sweep_as_json(celery, mess):
    expected = {
        "orphans": ["worker-1", "worker-2"],
        "by_hand": ["stopping"],
        "lost": ["lost"],
        "settled": ["over"],
        "released": ["ship:1"],
    }
    assert celery.json("sweep", "--json", "--dry-run") == {**expected, "dry_run": True}
    assert celery.json("sweep", "--json") == {**expected, "dry_run": False}
    assert celery.json("sweep", "--json") == {**NOTHING_SWEPT, "dry_run": False}


def test_sweep_needs_no_broker(database, mess):
    commands = Commands(make_app(url_of(database), NOBODY))
    assert commands.lines("sweep")[-1] == "Cleaned up 2 orphaned workers, and mended 4 more"


# recover


def test_recover_says_what_goes_on_and_what_waits(celery, cut_off):
    told = celery.lines("recover")
    assert told[:2] == ["worker-1  stopped", "ready  goes on"]
    assert told[2].split("  ")[0] == "CONTAINER ID"
    rows = [" ".join(line.split()) for line in told[4:-1]]
    assert rows[0] in {f"coord-123 node lost restart 2/3 in {seconds} s" for seconds in range(25, 31)}
    assert rows[1] in {f"retrying Timeout: no answer retry 1/5 in {seconds} s" for seconds in range(3595, 3601)}
    assert told[-1] == "Total: 2 interrupted containers"
    assert cut_off.status("coord-123", "worker-1", "retrying", "ready") == [
        "INTERRUPTED",
        "STOPPED",
        "INTERRUPTED",
        "PENDING",
    ]
    assert celery.lines("recover") == celery.lines("recover", "--dry-run")


def test_a_dry_recovery_tells_who_handles_what_and_changes_nothing(celery, cut_off):
    before = everything(cut_off)
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in celery.lines("recover", "--dry-run")[2:-1]}
    assert everything(cut_off) == before
    assert rows["worker-1"] == "node lost never: parent coord-123 will handle"
    assert rows["ready"] == "node shut down once what it left has ended"
    assert set(rows) == {"coord-123", "worker-1", "retrying", "ready"}


def test_one_that_waits_for_what_it_left_says_so(celery, grove):
    grove.run("worker-1", grove.run("coord-123"))
    grove.lose("coord-123")
    grove.edit("coord-123", wake_at=None)
    told = celery.lines("recover")
    assert told[0] == "worker-1  stopped"
    assert " ".join(told[-2].split()) == "coord-123 node lost restart 1/3 once what it left has ended"
    assert told[-1] == "Total: 1 interrupted container"
    grove.end("worker-1", stopped())
    assert celery.lines("recover") == ["coord-123  goes on"]


def test_what_was_lost_is_named(celery, grove):
    grove.run("worker-1")
    grove.silence()
    assert celery.lines("recover", "--dry-run") == celery.lines("recover")[:1] == ["worker-1  its node was dead"]


def test_nothing_to_recover(celery, grove):
    grove.run("worker-1")
    assert celery.lines("recover") == celery.lines("recover", "--dry-run") == ["Nothing is interrupted"]
    assert celery.json("recover", "--json") == {**NOTHING_RECOVERED, "dry_run": False}


def test_recover_as_json(celery, cut_off):
    told = celery.json("recover", "--json", "--dry-run")
    by_id = {row["id"]: row for row in told["waiting"]}
    assert (told["dry_run"], told["lost"], told["superseded"], told["resumed"]) == (True, [], [], [])
    assert {name: row["parent_handles"] for name, row in by_id.items()} == {
        "coord-123": False,
        "worker-1": True,
        "retrying": False,
        "ready": False,
    }
    assert (by_id["retrying"]["attempt"], by_id["retrying"]["why"]) == ("retry 1/5", "Timeout: no answer")
    assert by_id["coord-123"]["wake_at"] == cut_off.get("coord-123").wake_at.isoformat()
    told = celery.json("recover", "--json")
    assert (told["dry_run"], told["superseded"], told["resumed"]) == (False, ["worker-1"], ["ready"])
    assert [row["id"] for row in told["waiting"]] == ["coord-123", "retrying"]


def test_a_list_shows_which_restart_it_waits_for(celery, cut_off):
    lines = {line.split()[0]: line for line in celery.lines("list", "--wide", "--status", "INTERRUPTED")[2:-1]}
    assert "restart 2/3 in " in lines["coord-123"]
    assert "retry 1/5 in " in lines["retrying"]
    assert any("restart 2/3 in " in line for line in celery.lines("get", "coord-123"))


# On a terminal


def test_on_a_terminal_lines_fit_and_tell_the_same(celery, cut_off, monkeypatch):
    cut_off.edit("retrying", exit_message="Timeout: no answer from the market of " + "X1-" * 40)
    told = on_terminal(celery, monkeypatch, 70, "recover", "--dry-run")
    assert all(len(line) <= 70 for line in told), told
    assert "restart 2/3 in " in "\n".join(told)
    assert "…" in next(line for line in told if line.startswith("retrying"))
    assert told[-1] == "Total: 4 interrupted containers"


def test_sweeps_text_on_a_terminal(celery, mess, monkeypatch):
    assert on_terminal(celery, monkeypatch, 80, "sweep")[-1] == "Cleaned up 2 orphaned workers, and mended 4 more"


@pytest.mark.parametrize("verb", ["sweep", "recover"])
def test_what_rows_hold_moves_no_cursor(celery, grove, verb):
    grove.run("coord-123")
    grove.run(NASTY, "coord-123", resources=(NASTY,))
    if verb == "sweep":
        grove.edit("coord-123", status="COMPLETED", node=None)
    else:
        grove.lose(NASTY, why=NASTY)
    text = "\n".join(celery.lines(verb))
    assert "[red]x[/red]" in text
    assert not {"\x1b", "\u202e"} & set(text)


def on_terminal(commands, monkeypatch, width, *arguments):
    """The verb on a terminal of so many columns; lines as they come there, without colours."""
    ours, its = pty.openpty()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(commands.context, "no_color", True)
    with os.fdopen(its, "w") as screen:
        monkeypatch.setattr(sys, "stdout", screen)
        container.main([*arguments], obj=commands.context, standalone_mode=False)
        monkeypatch.undo()
    text = b""
    with suppress(OSError):  # at its end a terminal that nobody holds any more is an error
        while said := os.read(ours, 4096):
            text += said
    os.close(ours)
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).splitlines()]


# What cannot be


@pytest.mark.parametrize(("name", "value", "said"), IMPOSSIBLE)
def test_impossible_settings_are_one_line(sqlite_database, name, value, said):
    commands = Commands(make_app(url_of(sqlite_database)))
    commands.context.app.conf[f"lifecycle_{name}"] = value
    for verb in ("list", "sweep", "recover"):
        assert said in commands.refusal(verb)


def test_without_tables_nothing_is_swept(sqlite_url):
    commands = Commands(make_app(sqlite_url))
    for verb in ("sweep", "recover"):
        assert "migrate" in commands.refusal(verb)
        assert "migrate" in commands.refusal(verb, "--dry-run")


def everything(grove):
    """All that is recorded of containers."""
    with grove.database.read() as connection:
        return connection.execute(sa.select(containers).order_by(containers.c.id)).all()

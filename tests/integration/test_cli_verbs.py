"""Every verb on rows of a real database, and every mistake: one line on stderr, an exit code, nothing changed."""

import json
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from inspect import signature
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from celery import Celery
from click.testing import CliRunner

from lifecycle import ContainerTask, Lifecycle
from lifecycle.cli import container
from lifecycle.domain.ending import completed, failed
from lifecycle.store import logs, schema, tables

NOBODY = "redis://127.0.0.1:1/0"
APART = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}  # click 8.2 has no other way
NASTY = "[red]x[/red]\x1b[31m\nnext\u202e"


def make_app(url, broker="memory://"):
    app = Celery("shop", broker=broker, backend="cache+memory://", set_as_current=False)
    app.conf.lifecycle_database_url = url
    app.conf.broker_transport_options = {"max_retries": 0, "socket_connect_timeout": 1}
    app.conf.task_publish_retry = False
    Lifecycle(app)

    @app.task(base=ContainerTask, name="work", shared=False)
    def work(n=0, names=()):
        return n

    return app


class Commands:
    """`celery -A shop container …`, in this process."""

    def __init__(self, app):
        self.context = SimpleNamespace(app=app, no_color=False)

    def __call__(self, *arguments):
        return CliRunner(**APART).invoke(container, [str(each) for each in arguments], obj=self.context)

    def lines(self, *arguments):
        ran = self(*arguments)
        assert (ran.exit_code, ran.stderr) == (0, "")
        return ran.stdout.splitlines()

    def rows(self, *arguments):
        """The first two words of each row of a table."""
        return [line.split()[0] for line in self.lines(*arguments)[2:-1]]

    def json(self, *arguments):
        return json.loads("\n".join(self.lines(*arguments)))

    def refusal(self, *arguments):
        ran = self(*arguments)
        assert ran.exit_code not in (0, None)
        assert isinstance(ran.exception, SystemExit)
        assert ran.stdout == ""
        assert ran.stderr.startswith("Error: ")
        assert ran.stderr.count("\n") == 1
        return ran.stderr.strip()


class Heard:
    """A doorbell that reaches everybody."""

    def __init__(self):
        self.rings, self.told = [], []

    def ring(self, root_id, depth):
        self.rings.append((root_id, depth))
        return True

    def publish(self, container_id, message):
        """Nothing is published here."""

    def is_empty(self, queue):
        return False

    def revoked(self, container_ids, reason):
        self.told.append(list(container_ids))

    def failed(self, container_id, reason):
        """Nobody waits for a result here."""


@contextmanager
def listening(database, seen):
    """Every statement of a database."""

    def note(_connection, _cursor, statement, *_):
        seen.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


def url_of(database):
    return database.url.render_as_string(hide_password=False)


@pytest.fixture
def celery(database):
    return Commands(make_app(url_of(database)))


@pytest.fixture
def no_broker(database):
    return Commands(make_app(url_of(database), NOBODY))


@pytest.fixture
def family(grove):
    """A coordinator with two workers, one of them done, and a container that waits."""
    grove.run("coord-123", player_id=12, tags={"fleet": "haulers"}, max_iterations=-1)
    grove.run("worker-1", "coord-123", container_type="WORKER", resources=("ship:A", "ship:B"), tags={"n": "1"})
    grove.run("worker-2", "coord-123", container_type="WORKER")
    grove.end("worker-2", failed("ValueError: no luck"))
    grove.spawn("waiting", player_id=3)
    return grove


# list


def test_a_list_ends_with_what_it_hides(celery, family):
    *table, total = celery.lines("list")
    assert table[0].split("  ")[0] == "CONTAINER ID"
    assert table[0].split()[2:] == ["TYPE", "STATUS", "ITERATION", "CREATED"]
    assert set(table[1]) == {"─"}
    assert [line.split()[:4] for line in table[2:]] == [
        ["worker-1", "WORKER", "RUNNING", "0/1"],
        ["coord-123", "WORK", "RUNNING", "0/∞"],
    ]
    created = family.get("coord-123").created_at
    assert table[3].endswith(f"{created:%Y-%m-%d %H:%M:%S}")
    assert total == "Total: 2 containers (hidden: 1 PENDING, 1 ended; --show-all)"


def test_an_empty_list_says_so(celery, grove):
    assert celery.lines("list") == ["No containers found"]
    grove.spawn("waiting")
    assert celery.lines("list") == ["No containers found (hidden: 1 PENDING; --show-all)"]
    assert celery.lines("list", "--status", "failed") == ["No containers found"]
    assert celery.lines("list", "-q") == []
    assert celery.json("list", "--json") == []


def test_a_limit_says_what_it_leaves_out(celery, family):
    assert celery.lines("list", "-a", "--limit", 3)[-1] == "Total: 4 containers (newest 3 shown, --limit for more)"
    assert celery.lines("list", "-a", "--limit", 4)[-1] == "Total: 4 containers"
    ran = celery("list", "-aq", "--limit", 3)
    assert (ran.exit_code, len(ran.stdout.splitlines()), ran.stderr) == (0, 3, "1 more: raise --limit\n")


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["--player-id", "12"], {"coord-123", "worker-1"}),
        (["--player-id", "3", "-a"], {"waiting"}),
        (["--tag", "fleet=haulers"], {"coord-123", "worker-1"}),
        (["--tag", "fleet=haulers", "--tag", "n=1"], {"worker-1"}),
        (["--type", "WORKER", "-a"], {"worker-1", "worker-2"}),
        (["--status", "pending,Failed"], {"waiting", "worker-2"}),
    ],
)
@pytest.mark.parametrize("verb", ["list", "ls", "ps"])
def test_filters(celery, family, verb, filters, found):
    assert set(celery.rows(verb, *filters)) == found


def test_json_has_the_columns_as_keys(celery, family):
    first, second = celery.json("list", "--json")
    assert first == json.loads(json.dumps(family.get("worker-1").as_dict()))
    assert (second["id"], second["tags"]) == ("coord-123", {"fleet": "haulers"})


def test_a_tree(celery, family):
    family.run("sub-coord", "coord-123")
    family.run("worker-3", "sub-coord")
    lines = celery.lines("list", "--tree")
    assert lines[0].split("  ")[0] == "CONTAINER ID"
    assert lines[0].split()[2:] == ["TYPE", "STATUS", "ITERATION"]
    assert [line.partition(" WORK")[0].rstrip() for line in lines[2:-1]] == [
        "coord-123",
        "  ├─ worker-1",
        "  └─ sub-coord",
        "     └─ worker-3",
    ]
    assert lines[-1] == "Total: 4 containers (hidden: 1 PENDING, 1 ended; --show-all)"


def test_a_tree_shows_above_what_matches_but_does_not_count_it(celery, family):
    lines = celery.lines("list", "--tree", "--status", "FAILED")
    assert [line.split()[:2] for line in lines[2:-1]] == [["coord-123", "WORK"], ["└─", "worker-2"]]
    assert lines[-1] == "Total: 1 container (+1 ancestor)"


def test_wide_has_more_columns_and_nothing_is_cut(celery, family):
    family.edit("worker-2", exit_message="long " * 300)
    lines = celery.lines("list", "-a", "--wide")
    assert lines[0].split()[6:] == ["ACTIVITY", "PARENT", "PLAYER", "NODE", "RESTARTS", "EXIT", "MESSAGE", "TAGS"]
    row = next(line for line in lines if line.startswith("worker-2"))
    assert ("long " * 300).strip() in row
    assert row.endswith("fleet=haulers")
    assert "  queued  " in next(line for line in lines if line.startswith("waiting"))


def test_watch_prints_one_copy_where_there_is_no_terminal(celery, family):
    assert celery.lines("list", "--watch", "--tree") == celery.lines("list", "--tree")


def test_what_rows_hold_is_printed_safely(celery, family):
    family.edit("worker-1", container_type=NASTY, exit_message=NASTY)
    family.edit("coord-123", container_type="[/nothing]")
    for arguments in (["list", "--wide"], ["list", "--tree"], ["get", "worker-1"], ["list", "--json"]):
        text = "\n".join(celery.lines(*arguments))
        assert "[red]x[/red]" in text
        assert not {"\x1b", "\u202e"} & set(text)
    assert "[/nothing]" in "\n".join(celery.lines("list"))


def test_help_has_the_seeds_examples(celery):
    text = "\n".join(celery.lines("list", "--help"))
    for example in ("", " --show-all", " --status COMPLETED", " --status FAILED,STOPPED"):
        assert f"celery -A workers container list --player-id 12{example}\n" in text


# get


@pytest.mark.parametrize("part", ["worker-1", "ker-1"])
@pytest.mark.parametrize("verb", ["get", "inspect"])
def test_get_shows_all(celery, family, verb, part):
    first, *lines = celery.lines(verb, part)
    fields = dict(line.split(None, 1) for line in lines if line.startswith("  ") and line != "  none")
    assert first == "worker-1"
    assert set(family.get("worker-1").as_dict()) - {"id"} <= set(fields)
    assert (fields["status"], fields["parent_container_id"]) == ("RUNNING", "coord-123")
    assert fields["tags"] == "fleet=haulers n=1"
    assert fields["exit_code"] == "-"
    assert fields["ship:A"].startswith("since 20")
    assert lines[lines.index("children") + 1] == "  none"
    assert [line.split("  ")[2].strip() for line in lines[lines.index("history") + 1 :]] == [
        "PENDING",
        "PENDING → RUNNING",
    ]


def test_get_counts_children(celery, family):
    lines = celery.lines("get", "coord-123")
    children = lines[lines.index("children") + 1 : lines.index("history") - 1]
    assert [line.split() for line in children] == [["RUNNING", "1"], ["FAILED", "1"]]


def test_get_says_what_it_waits_for(celery, family):
    family.end("coord-123", completed())
    status = next(line for line in celery.lines("get", "coord-123") if "status" in line)
    assert status.split(None, 1) == ["status", "RUNNING  waiting for children"]


def test_get_as_json(celery, family):
    found = celery.json("get", "worker-1", "--json")
    assert found["id"] == "worker-1"
    assert [each["resource"] for each in found["resources"]] == ["ship:A", "ship:B"]
    assert found["children"] == {}
    assert [each["to_status"] for each in found["history"]] == ["PENDING", "RUNNING"]


# logs


def say(grove, container_id, message, level="INFO", *, minute=0, count=1):
    at = datetime(2025, 11, 24, 16, minute, 9, 123000, tzinfo=UTC)
    about = {"epoch": 1, "logger": "test", "at": at, "level": level, "message": message, "count": count}
    with grove.database.begin() as connection:
        logs.append(connection, [{"container_id": container_id, **about}])


@pytest.fixture
def logged(family):
    say(family, "coord-123", "spawned", "DEBUG")
    say(family, "worker-1", "working", minute=1)
    say(family, "coord-123", "again", "WARNING", minute=2, count=1_200)
    say(family, "coord-123", f"two\n{NASTY}", "ERROR", minute=3)
    return family


def test_logs(celery, logged):
    assert celery.lines("logs", "coord-123") == [
        "2025-11-24 16:00:09.123 DEBUG    spawned",
        "2025-11-24 16:02:09.123 WARNING  again (x1,200)",
        "2025-11-24 16:03:09.123 ERROR    two",
        "    [red]x[/red]�[31m",
        "    next�",
    ]


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (["--tail", "1"], ["two"]),
        (["--tail", "0"], []),
        (["--level", "warning"], ["again", "two"]),
        (["--since", "2025-11-24T16:02:00Z"], ["again", "two"]),
        (["--since", "10m"], []),
        (["--level", "DEBUG", "--tail", "2"], ["again", "two"]),
    ],
)
def test_some_of_the_logs(celery, logged, options, messages):
    lines = celery.lines("logs", "coord-123", *options)
    assert [line.split()[3] for line in lines if line[0] != " "] == messages


def test_logs_with_children_say_whose(celery, logged):
    lines = celery.lines("logs", "coord-123", "--with-children", "--tail", "3")
    assert lines[0] == "2025-11-24 16:01:09.123 INFO     [worker-1] working"
    assert lines[1].endswith("[coord-123] again (x1,200)")


def test_all_pages_of_logs(celery, family, monkeypatch):
    monkeypatch.setattr("lifecycle.cli.logs.PAGE", 3)
    for number in range(10):
        say(family, "worker-1", f"line-{number}")
    assert [line.split()[-1] for line in celery.lines("logs", "worker-1")] == [f"line-{n}" for n in range(10)]


def test_following_ends_with_the_container(celery, logged, monkeypatch):
    """What is logged while it follows comes once, also lines that become visible late."""
    monkeypatch.setattr("lifecycle.cli.logs.POLL", 0.01)
    steps = iter(
        [
            lambda: say(logged, "worker-1", "one"),
            lambda: None,
            lambda: [say(logged, "worker-1", "two"), logged.end("worker-1", completed())],
        ]
    )
    monkeypatch.setattr("lifecycle.cli.logs.time.sleep", lambda _: next(steps)())
    lines = celery.lines("logs", "-f", "--tail", "0", "worker-1")
    assert [line.split()[-1] for line in lines] == ["one", "two"]
    assert [line.split()[-1] for line in celery.lines("logs", "-f", "worker-1")] == ["working", "one", "two"]


# start


def test_start_records_a_container(celery, grove):
    how = ["--player-id", "12", "--tag", "a=b", "--resource", "ship:A", "--grace", "7", "--id", "w-1"]
    assert celery.lines("start", "WORK", "n=3", "names=x", "names=[1]", *how) == ["w-1"]
    found = grove.get("w-1")
    assert (found.status, found.player_id, found.tags, found.grace) == ("PENDING", 12, {"a": "b"}, 7.0)
    assert grove.held() == {"ship:A": "w-1"}
    with grove.database.read() as connection:
        message = connection.execute(sa.select(tables.containers.c.message)).scalar()
    assert '"names": ["x", [1]]' in json.dumps(message)


def test_start_without_a_broker_loses_nothing(no_broker, grove):
    ran = no_broker("start", "WORK", "--id", "w-1")
    assert (ran.exit_code, ran.stdout) == (1, "w-1\n")
    assert ran.stderr == "Error: the broker could not be reached: the container is recorded, and a node will start it\n"
    assert grove.status("w-1") == "PENDING"


# stop


def test_stop_prints_the_order_and_a_summary(celery, grove):
    grove.spawn("done")
    grove.plant([{"id": "coord-123", "root_id": "coord-123"}])
    grove.edit("coord-123", status="RUNNING", node=None)
    for worker in ("worker-1", "worker-2"):
        grove.spawn(worker, "coord-123")
    assert celery.lines("stop", "coord-123") == [
        "worker-1   stopped",
        "worker-2   stopped",
        "coord-123  stopped",
        "3 stopped",
    ]
    assert celery.lines("stop", "coord-123") == ["coord-123  already ended", "3 already ended"]
    assert grove.status("done") == "PENDING"


def test_stop_says_why_one_could_not_be_stopped(celery, family, monkeypatch):
    family.mark("coord-123")
    monkeypatch.setattr("lifecycle.trees.stop.time.sleep", lambda _: family.give_up("worker-1", "never\nreturns"))
    family.lose("coord-123")
    ran = celery("stop", "coord-123", "--grace", "0")
    assert ran.exit_code == 1
    assert ran.stdout.splitlines()[0] == "worker-1   not stopped: never returns"
    assert ran.stdout.splitlines()[-1].startswith("1 stopped, 1 not stopped")


def test_stop_without_waiting(celery, family):
    assert celery.lines("stop", "coord-123", "--no-wait", "--reason", "lunch")[-1].startswith("2 stopping")
    found = family.get("worker-1")
    assert (found.status, found.stop_reason) == ("STOPPING", "lunch")
    assert (found.stop_deadline - family.get("coord-123").updated_at).total_seconds() > 20


@pytest.mark.parametrize("kill", [["kill"], ["stop", "--force"]])
def test_kill_leaves_no_grace(celery, family, kill):
    celery.lines(*kill, "coord-123", "--no-wait")
    found = family.get("worker-1")
    assert abs((found.stop_deadline - found.updated_at).total_seconds()) < 1


def test_a_dry_run_stops_nothing(celery, family):
    assert celery.lines("stop", "coord-123", "--dry-run") == [
        "worker-1   RUNNING",
        "coord-123  RUNNING",
        "Would stop 2 containers",
    ]
    assert family.status("coord-123", "worker-1") == ["RUNNING", "RUNNING"]


def test_several_are_stopped_once(celery, grove):
    for coordinator in ("a", "b"):
        grove.plant([{"id": coordinator, "root_id": coordinator}])
        grove.edit(coordinator, status="RUNNING")
        grove.spawn(f"{coordinator}-worker", coordinator)
    assert celery.lines("stop", "a-worker", "b", "a", "a") == [
        "b-worker  stopped",
        "b         stopped",
        "a-worker  stopped",
        "a         stopped",
        "4 stopped",
    ]


def test_with_one_mistake_nothing_is_stopped(celery, family):
    assert "container not found: nope" in celery.refusal("stop", "coord-123", "nope")
    assert family.status("coord-123") == "RUNNING"


def test_stop_without_a_broker_goes_through_the_database(no_broker, grove):
    grove.run("w-1")
    grove.silence()
    ran = no_broker("stop", "w-1")
    assert ran.exit_code == 0
    assert ran.stdout == "w-1  stopped\n1 stopped\n"
    assert ran.stderr == "the broker could not be reached: nodes see the stop in the database within a second\n"


# stop --tag, stop --all


@pytest.fixture
def forest(grove):
    """Trees with a tag on some: `a` with two below, `b`, and `d` under `c`, which has none; `gone` has ended."""
    grove.spawn("gone", tags={"fleet": "haulers"})
    grove.stop("gone")
    grove.run("a", tags={"fleet": "haulers"}, player_id=12)
    grove.spawn("a-1", "a", tags={"deep": "yes"})
    grove.run("a-2", "a")
    grove.spawn("a-2-1", "a-2", tags={"deep": "yes"})
    grove.spawn("a-other", "a", detached=True)
    grove.spawn("b", tags={"fleet": "haulers", "home": "X1"}, player_id=3)
    grove.run("c")
    grove.spawn("d", "c", tags={"fleet": "haulers"})
    return grove


def live_of(grove):
    with grove.database.read() as connection:
        return list(connection.execute(sa.select(tables.containers.c.id).where(tables.live())).scalars())


@pytest.mark.parametrize(
    ("options", "order", "extent"),
    [
        (["--tag", "fleet=haulers"], "d b a-other a-2-1 a-2 a-1 a", "4 trees with 7 containers"),
        (["--tag", "fleet=haulers", "--tag", "home=X1"], "b", "1 container"),
        (["--tag", "deep=yes"], "a-2-1 a-1", "2 trees with 2 containers"),
        (["--tag", "fleet=haulers", "--player-id", "12"], "a-other a-2-1 a-2 a-1 a", "2 trees with 5 containers"),
        (["--all"], "d c b a-other a-2-1 a-2 a-1 a", "4 trees with 8 containers"),
        (["--all", "--player-id", "3"], "b", "1 container"),
    ],
)
def test_what_fits_is_stopped_from_there_down_and_once(celery, forest, options, order, extent):
    *lines, total = celery.lines("stop", *options, "--dry-run")
    assert total == f"Would stop {extent}"
    assert {line.split()[0] for line in lines} == set(order.split())
    live = live_of(forest)
    assert set(order.split()) <= set(live)
    assert celery("stop", *options, "--yes", "--no-wait").exit_code == 0
    going = [each for each in live if forest.status(each) in ("STOPPING", "STOPPED")]
    assert set(going) == set(order.split())


def test_an_orphan_goes_down_with_the_tree_it_is_of(celery, forest):
    forest.edit("a-2", status="COMPLETED", node=None)
    assert celery.lines("stop", "--all", "--player-id", 12, "--dry-run")[-1] == "Would stop 2 trees with 4 containers"


@pytest.mark.parametrize("verb", ["stop", "kill"])
@pytest.mark.parametrize("options", [["--tag", "fleet=haulers"], ["--all"]])
def test_what_is_not_named_is_not_stopped_unasked(celery, forest, verb, options):
    ran = celery(verb, *options)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("Error: this would stop 4 trees with ")
    assert ran.stderr.endswith("containers: say --yes, or --dry-run to see which\n")
    assert {"STOPPING", "STOPPED"}.isdisjoint(forest.status(*live_of(forest)))


@pytest.mark.parametrize(
    "options", [["--tag", "fleet=none"], ["--all", "--player-id", "99"], ["--tag", "fleet=none", "--dry-run"]]
)
def test_that_nothing_fits_is_no_mistake(celery, forest, options):
    assert celery.lines("stop", *options) == ["No live container fits: nothing to stop"]


def test_a_thousand_trees_cost_few_statements_before_they_are_marked(celery, grove):
    tagged = [{"id": f"root-{n}", "root_id": f"root-{n}"} for n in range(1_000)]
    grove.plant(tagged)
    below = [{"id": f"root-{n}-1", "root_id": f"root-{n}", "parent_container_id": f"root-{n}"} for n in range(1_000)]
    grove.plant([{**row, "depth": 1} for row in below])
    seen = []
    with listening(celery.context.app.lifecycle.database, seen):
        assert celery.lines("stop", "--all", "--dry-run")[-1] == "Would stop 1,000 trees with 2,000 containers"
    assert len([statement for statement in seen if "SELECT" in statement]) < 20


def test_a_thousand_roots_that_stand_alone_are_marked_together(celery, grove):
    grove.plant([{"id": f"root-{n}", "root_id": f"root-{n}"} for n in range(1_000)])
    seen = []
    with listening(celery.context.app.lifecycle.database, seen):
        assert celery.lines("stop", "--all", "--yes", "--reason", "night")[-1] == "1,000 stopped"
    assert len(seen) < 60
    assert {grove.get(f"root-{n}").stop_reason for n in (0, 999)} == {"night"}


def test_many_trees_ring_once_and_tell_results_once(celery, grove):
    for number in range(5):
        grove.spawn(f"root-{number}")
        grove.run(f"running-{number}")
    heard = Heard()
    celery.context.app.lifecycle.doorbell = heard
    celery.lines("stop", "--all", "--yes", "--no-wait")
    assert len(heard.rings) == 1
    assert [sorted(told) for told in heard.told] == [[f"root-{number}" for number in range(5)]]


# wait


def test_wait_says_how_each_ended(celery, family):
    family.end("worker-1", completed())
    family.edit("worker-1", status="COMPLETED", exit_code=0)
    ran = celery("wait", "worker-1", "worker-2", "ker-1")
    assert ran.stdout == "worker-1  COMPLETED 0\nworker-2  FAILED 1: ValueError: no luck\n"
    assert (ran.exit_code, ran.stderr) == (1, "")
    assert celery.lines("wait", "worker-1") == ["worker-1  COMPLETED 0"]


def test_wait_exits_as_the_first_that_did_not_complete(celery, family):
    family.spawn("stopped")
    family.stop("stopped")
    assert celery("wait", "stopped", "worker-2").exit_code == 143
    assert celery("wait", "worker-2", "stopped").exit_code == 1


def test_wait_waits(celery, family, monkeypatch):
    monkeypatch.setattr("lifecycle.runtime.records.time.sleep", lambda _: family.end("worker-1", completed()))
    assert celery.lines("wait", "worker-1") == ["worker-1  COMPLETED 0"]


@pytest.mark.parametrize("seconds", [0, 0.1])
def test_wait_no_longer_than_asked(celery, family, seconds):
    ran = celery("wait", "worker-2", "coord-123", "--timeout", seconds)
    assert ran.exit_code == 124
    assert ran.stdout == "worker-2   FAILED 1: ValueError: no luck\n"
    assert ran.stderr == "Error: not ended in time: coord-123 is RUNNING\n"


def test_a_wait_can_be_left(celery, family, monkeypatch):
    def leave(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lifecycle.runtime.records.time.sleep", leave)
    ran = celery("wait", "worker-1")
    assert (ran.exit_code, ran.stderr) == (130, "not waiting any more: what runs goes on\n")
    assert family.status("worker-1") == "RUNNING"


# rerun


def test_rerun_does_the_same_once_more(celery, grove):
    how = ["--player-id", 12, "--tag", "a=b", "--resource", "ship:A", "--grace", 7]
    (old,) = celery.lines("start", "WORK", "n=3", *how)
    celery.lines("stop", old)
    (new,) = celery.lines("rerun", old, "--player-id", 12)
    assert new != old
    found = grove.get(new)
    assert (found.status, found.player_id, found.tags, found.grace) == ("PENDING", 12, {"a": "b"}, 7.0)
    assert grove.held() == {"ship:A": new}


def test_rerun_without_a_broker_loses_nothing(no_broker, celery, grove):
    (old,) = celery.lines("start", "WORK")
    ran = no_broker("rerun", old)
    assert (ran.exit_code, grove.status(ran.stdout.strip())) == (1, "PENDING")
    assert ran.stderr == "Error: the broker could not be reached: the container is recorded, and a node will start it\n"


# assignments


def test_assignments(celery, family):
    family.spawn("free", resources=("dock:1",))
    assert [line.split() for line in celery.lines("assignments")[:1]] == [
        ["RESOURCE", "PLAYER", "CONTAINER", "STATUS", "SINCE"]
    ]
    *rows, total = celery.lines("assignments")[2:]
    assert [line.split()[:4] for line in rows] == [
        ["ship:A", "12", "worker-1", "RUNNING"],
        ["ship:B", "12", "worker-1", "RUNNING"],
        ["dock:1", "-", "free", "PENDING"],
    ]
    assert total == "Total: 3 resources"
    assert celery.rows("assignments", "--player-id", 12) == ["ship:A", "ship:B"]
    assert celery.lines("assignments", "--player-id", 99) == ["No resources held"]


def test_assignments_as_json(celery, family):
    first, _ = celery.json("assignments", "--json")
    at = first.pop("assigned_at")
    assert datetime.fromisoformat(at).tzinfo is not None
    assert first == {"resource": "ship:A", "player_id": 12, "container_id": "worker-1", "status": "RUNNING"}
    assert celery.json("assignments", "--json", "--player-id", 99) == []


def test_release_what_hands_have_left(celery, family):
    family.edit("worker-1", status="COMPLETED", node=None)
    assert celery.lines("assignments", "--release", "ship:A") == ["released ship:A, held by worker-1"]
    assert celery.json("assignments", "--release", "ship:B", "--json")["status"] == "COMPLETED"
    assert family.held() == {}


def test_what_a_live_one_holds_needs_force(celery, family):
    said = celery.refusal("assignments", "--release", "ship:A")
    assert said == "Error: ship:A is held by container worker-1, which lives: stop it, or add --force"
    assert family.held() == {"ship:A": "worker-1", "ship:B": "worker-1"}
    assert celery.lines("assignments", "--release", "ship:A", "--force") == ["released ship:A, held by worker-1"]
    assert family.held() == {"ship:B": "worker-1"}


# check


def checked(celery):
    """Level and message by check."""
    ran = celery("check", "--json")
    assert ran.stderr == ""
    found = {each["check"]: (each["level"], each["message"]) for each in json.loads(ran.stdout)}
    assert ran.exit_code == any(level == "FAIL" for level, _ in found.values())
    return found


def test_check_says_one_line_each_and_a_total(celery, grove):
    ran = celery("check")
    assert (ran.exit_code, ran.stderr) == (1, "")  # the grove's node is but a row
    *lines, total = ran.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["ok", "settings"],
        ["ok", "database"],
        ["ok", "schema"],
        ["ok", "broker"],
    ]
    counts = Counter(line.split()[0] for line in lines)
    assert total == ", ".join(f"{counts[level]} {level}" for level in ("ok", "skip", "warn", "FAIL") if counts[level])


def test_check_finds_a_task_that_acknowledges_late(celery, grove):
    @celery.context.app.task(base=ContainerTask, name="shop.late", acks_late=True, shared=False)
    def late():
        """Acknowledged when it is over."""

    level, said = checked(celery)["acks_late"]
    assert level == "warn"
    assert said.startswith("shop.late acknowledges late: ")


def test_check_finds_two_tasks_of_one_type(celery, grove):
    @celery.context.app.task(base=ContainerTask, name="other.work", shared=False)
    def work():
        """Of the same name as another."""

    said = "container type WORK is that of two tasks: other.work and work"
    assert checked(celery)["settings"] == ("FAIL", said)


def test_check_finds_settings_that_cannot_be_meant(celery, grove):
    celery.context.app.conf.lifecycle_lease = 1
    level, said = checked(celery)["settings"]
    assert level == "FAIL"
    assert "two heartbeats of 5.0 s do not fit" in said


def test_check_without_a_url_says_what_to_set(monkeypatch):
    monkeypatch.delenv("LIFECYCLE_DATABASE_URL", raising=False)
    level, said = checked(Commands(make_app(None)))["database"]
    assert level == "FAIL"
    assert said.startswith("no database is set: give app.conf.lifecycle_database_url")


def test_check_reads_what_waits_where_nobody_consumes(celery, grove):
    grove.spawn("here")
    grove.spawn("there", queue="there")
    grove.spawn("over", queue="over")
    grove.stop("over")
    grove.run("running", queue="busy")
    grove.run("resting", queue="there")
    grove.rest("resting")
    level, said = checked(celery)["queues"]
    assert level == "FAIL"
    assert "1 waiting in queue celery, which no node consumes" in said
    assert "2 waiting in queue there, which no node consumes: start one with -Q there" in said
    assert "over" not in said
    assert "busy" not in said


# migrate


def test_migrate_prints_what_it_applied(database_url):
    celery = Commands(make_app(database_url))
    assert celery.lines("migrate", "--revision", "0002") == ["0001", "0002"]
    assert celery.lines("migrate")[-1] == schema.head()
    assert celery.lines("migrate") == ["already up to date"]


def test_migrate_goes_back_only_when_told_so_twice(database_url):
    celery = Commands(make_app(database_url))
    *_, before, head = celery.lines("migrate")
    assert celery.refusal("migrate", "--revision", before).endswith(
        f"at revision {head}: to go back to {before} add --back"
    )
    assert celery.refusal("migrate", "--back", "--revision", before) == (
        "Error: what newer revisions hold would be lost: add --yes"
    )
    assert "--back needs --revision" in celery.refusal("migrate", "--back", "--yes")
    assert celery.lines("migrate", "--back", "--revision", before, "--yes") == [head]
    assert celery.lines("migrate", "--back", "--revision", before, "--yes") == ["already there"]
    assert celery.lines("migrate") == [head]


# Mistakes

ONE = [["get"], ["logs"], ["logs", "-f"], ["stop"], ["stop", "--dry-run"], ["kill"], ["wait"], ["rerun"]]


@pytest.mark.parametrize("verb", ONE)
def test_an_unknown_id(celery, family, verb):
    assert celery.refusal(*verb, "nope") == "Error: container not found: nope"


@pytest.mark.parametrize("verb", ONE)
def test_an_ambiguous_part(celery, family, verb):
    said = celery.refusal(*verb, "worker-")
    assert said == "Error: 'worker-' fits more than one container: worker-1, worker-2; give more of the id"


@pytest.mark.parametrize("verb", ONE)
def test_another_players(celery, family, verb):
    assert celery.refusal(*verb, "worker-1", "--player-id", 3) == "Error: container not found: worker-1"
    assert family.status("worker-1") == "RUNNING"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "--status", "RUNING"], "unknown status RUNING; choose from PENDING, RUNNING"),
        (["list", "--status", ""], "unknown status ''"),
        (["list", "--tag", "fleet"], "'fleet' is not key=value"),
        (["list", "--tag", "=x"], "'=x' is not key=value"),
        (["list", "--tag", "a=1", "--tag", "a=2"], "a cannot be both '1' and '2'"),
        (["list", "--player-id", "me"], "'me' is not a valid integer"),
        (["list", "--player-id", "99999999999"], "99999999999 is not between"),
        (["list", "--limit", "0"], "0 is not between 1 and"),
        (["list", "--limit", "9" * 30], "is not between 1 and"),
        (["list", "--json", "--watch"], "exclude each other"),
        (["list", "--json", "-q"], "exclude each other"),
        (["list", "extra"], "unexpected extra argument"),
        (["list", "--nope"], "No such option"),
        (["list", "--type", "\udcff"], "not UTF-8: '\\udcff'"),
        (["nope"], "No such command 'nope'"),
        (["get"], "Missing argument 'ID'"),
        (["get", ""], "container not found"),
        (["logs", "coord-123", "--tail", "-1"], "-1 is not between 0 and"),
        (["logs", "coord-123", "--level", "loud"], "'loud' is not one of"),
        (["logs", "coord-123", "--since", "yesterday"], "neither a time ago"),
        (["logs", "coord-123", "--since", "9999999999d"], "neither a time ago"),
        (["start"], "Missing argument 'TYPE'"),
        (["start", "NOPE"], "no container type NOPE; registered are: "),
        (["start", "WORK", "n"], "'n' is not key=value"),
        (["start", "WORK", "nope=1"], "unexpected keyword argument 'nope'"),
        (["start", "WORK", "--id", "coord-123"], "container already exists: coord-123"),
        (["start", "WORK", "--id", "x" * 300], "1 to 255 bytes of printable text"),
        (["start", "WORK", "--tag", "k=" + "x" * 300], "text of 0 to 255 characters"),
        (["start", "WORK", "--player-id", "12", "--resource", "ship:A"], "ship:A is held by container worker-1"),
        (["start", "WORK", "--grace", "-1"], "-1.0 is not between 0 and"),
        (["stop"], "Missing argument 'ID...', or --tag, or --all"),
        (["stop", "coord-123", "--all"], "IDs, --tag and --all exclude each other"),
        (["kill", "coord-123", "--tag", "a=b", "--yes"], "IDs, --tag and --all exclude each other"),
        (["stop", "--all", "--tag", "a=b", "--yes"], "IDs, --tag and --all exclude each other"),
        (["stop", "--tag", "fleet", "--yes"], "'fleet' is not key=value"),
        (["assignments", "--force"], "--force is for --release"),
        (["assignments", "--release", "ship:Z"], "nobody holds ship:Z"),
        (["assignments", "--release", "ship:A", "--player-id", "3"], "nobody holds ship:A"),
        (["assignments", "--release", "ship:A", "--player-id", "12"], "held by container worker-1, which lives"),
        (["rerun", "worker-1"], "no task of this app can run worker-1 again: its type is WORKER"),
        (["wait"], "Missing argument 'ID...'"),
        (["wait", "coord-123", "--timeout", "-1"], "-1.0 is not between 0 and"),
        (["stop", "coord-123", "--grace", "nan"], "nan is not between 0 and"),
        (["stop", "coord-123", "--grace", "soon"], "'soon' is not a valid float"),
        (["stop", "coord-123", "--force", "--grace", "1"], "leave out --grace"),
        (["migrate", "--revision", "nope"], "Can't locate revision identified by 'nope'"),
    ],
)
def test_a_mistake_is_one_line(celery, family, arguments, said):
    assert said in celery.refusal(*arguments)
    assert family.status("coord-123", "worker-1") == ["RUNNING", "RUNNING"]
    assert len(family.children("coord-123")) == 2


ALL = [
    ["list"],
    ["list", "--tree", "--json"],
    ["get", "x"],
    ["logs", "x"],
    ["start", "WORK"],
    ["stop", "x"],
    ["kill", "x"],
    ["stop", "--all", "--yes"],
    ["wait", "x"],
    ["rerun", "x"],
    ["assignments"],
    ["assignments", "--release", "x"],
]


@pytest.mark.parametrize("arguments", ALL)
def test_an_unmigrated_database(database_url, arguments):
    said = Commands(make_app(database_url)).refusal(*arguments)
    assert said.endswith("run: celery -A <app> container migrate")


@pytest.mark.parametrize("arguments", [*ALL, ["migrate"]])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "no database is set: give app.conf.lifecycle_database_url"),
        ("nonsense", "not a database URL"),
        ("mysql://me:hunter2@host/x", "names 'mysql'"),
        ("sqlite:////nonexistent/x.db", "unable to open database file"),
        ("postgresql://me:hunter2@127.0.0.1:1/x", "cannot be used"),
    ],
)
def test_no_database(monkeypatch, arguments, url, said):
    monkeypatch.delenv("LIFECYCLE_DATABASE_URL", raising=False)
    found = Commands(make_app(url)).refusal(*arguments)
    assert said in found
    assert "hunter2" not in found


@pytest.mark.parametrize("arguments", [*ALL, ["migrate"]])
def test_an_app_without_a_lifecycle(arguments):
    said = Commands(Celery("bare", set_as_current=False)).refusal(*arguments)
    assert said == "Error: no Lifecycle in this Celery app; give -A your_app, whose module calls Lifecycle(app)"


@pytest.mark.parametrize("arguments", [["list", "-a"], ["get", "worker-1"], ["logs", "worker-1"], ["stop", "worker-1"]])
def test_a_row_with_an_unknown_status(celery, family, arguments):
    family.edit("worker-1", status="WEIRD")
    assert celery.refusal(*arguments) == "Error: container worker-1 has an unknown status: 'WEIRD'"

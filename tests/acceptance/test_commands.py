"""The commands as an operator types them: `celery -A shop container …`, on real rows and a real node."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from lifecycle.store import containers, schema, tables
from lifecycle.store.engine import Database
from lifecycle.trees.spawn import Birth, Parent, spawn
from tests.acceptance.world import die_with_tests, eventually

pytestmark = pytest.mark.acceptance

SHOP = """
import logging, os, time
from celery import Celery
from lifecycle import ContainerTask, Lifecycle, sleep

app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend=os.environ.get("SHOP_BACKEND", "cache+memory://"))
app.conf.update(broker_transport_options={"socket_connect_timeout": 1}, task_publish_retry=False)
Lifecycle(app)
log = logging.getLogger("shop")

@app.task(base=ContainerTask)
def work(n=0, name=""):
    for number in range(n):
        log.warning("%s %s", name, number)
        sleep(0.2)

@app.task(base=ContainerTask)
def coordinator(workers=1, n=1000):
    for number in range(workers):
        work.spawn(kwargs={"n": n}, resources=[f"ship:{number}"])

@app.task(base=ContainerTask)
def stubborn():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Shop:
    """A Celery app in a folder of its own, and its database."""

    def __init__(self, folder: Path, url: str):
        self.folder = folder
        (folder / "shop.py").write_text(SHOP)
        self.env = {**os.environ, "LIFECYCLE_DATABASE_URL": url, "SHOP_BROKER": "memory://"}
        self.env.pop("NO_COLOR", None)
        self.database = Database(url)

    def command(self, *arguments):
        return [sys.executable, "-m", "celery", "-A", "shop", *arguments]

    def run(self, *arguments):
        command = self.command("container", *arguments)
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )

    def lines(self, *arguments):
        ran = self.run(*arguments)
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout.splitlines()

    def listed(self, *arguments):
        """Id to status of each row of a list."""
        lines = self.lines("list", *arguments)
        return {line.split()[0]: line.split()[2] for line in lines[2:-1]}

    def statuses(self, player_id):
        """Of all containers of a player, as the database has them."""
        with self.database.read() as connection:
            return [str(each.status) for each in containers.find(connection, player_id=player_id)]

    def add(self, container_id, container_type, status, parent=None, **values):
        above = Parent(id=parent) if parent else None
        birth = Birth(id=container_id, container_type=container_type, by="test", parent=above, **values)
        spawn(self.database, birth)
        table = tables.containers
        with self.database.begin() as connection:
            connection.execute(table.update().where(table.c.id == container_id).values(status=status))


@pytest.fixture
def shop(tmp_path, sqlite_url):
    made = Shop(tmp_path, sqlite_url)
    schema.migrate(made.database)
    yield made
    made.database.dispose()


# The seed's feature "Container List Filtering"


@pytest.fixture
def background(shop):
    for container_id, container_type, status in (
        ("coord-1", "ARBITRAGE", "RUNNING"),
        ("worker-1", "ARBITRAGE", "RUNNING"),
        ("worker-2", "ARBITRAGE", "COMPLETED"),
        ("coord-2", "CONTRACT", "STOPPED"),
        ("worker-3", "CONTRACT", "FAILED"),
        ("worker-4", "CONTRACT", "INTERRUPTED"),
    ):
        shop.add(container_id, container_type, status, player_id=12)
    shop.add("other", "ARBITRAGE", "RUNNING", player_id=13)
    return shop


def test_default_list_shows_only_active_containers(background):
    found = background.listed("--player-id", "12")
    assert found == {"coord-1": "RUNNING", "worker-1": "RUNNING", "worker-4": "INTERRUPTED"}
    assert background.lines("list", "--player-id", "12")[-1] == "Total: 3 containers (hidden: 3 ended; --show-all)"


def test_show_all_containers_with_show_all_flag(background):
    assert len(background.listed("--player-id", "12", "--show-all")) == 6


def test_filter_by_specific_status(background):
    assert background.listed("--player-id", "12", "--status", "COMPLETED") == {"worker-2": "COMPLETED"}


def test_filter_by_multiple_statuses(background):
    found = background.listed("--player-id", "12", "--status", "FAILED,STOPPED")
    assert found == {"coord-2": "STOPPED", "worker-3": "FAILED"}


def test_explicit_status_overrides_show_all(background):
    found = background.listed("--player-id", "12", "--show-all", "--status", "RUNNING")
    assert found == {"coord-1": "RUNNING", "worker-1": "RUNNING"}


# Where it is printed


@pytest.fixture
def forest(shop):
    """40 containers with long names."""
    shop.add("coordinator-of-many-1f2e3d4c", "COORDINATOR", "RUNNING", max_iterations=-1)
    for number in range(39):
        name = f"arbitrage-worker-TORWINDO-{number}-{'x' * 60}-{number:08x}"
        shop.add(name, "ARBITRAGE_WORKER", "RUNNING", "coordinator-of-many-1f2e3d4c")
    return shop


def test_a_pipe_gets_all_of_it_and_no_colour(forest):
    forest.env |= {"FORCE_COLOR": "1", "COLUMNS": "40", "TERM": "xterm-256color"}
    lines = forest.lines("list", "--tree", "--watch")
    assert "\x1b" not in "".join(lines)
    assert len(lines) == 2 + 40 + 1
    assert lines[-2].startswith(f"  └─ arbitrage-worker-TORWINDO-38-{'x' * 60}-00000026  ARBITRAGE_WORKER")


class Screen:
    """A command on a terminal of 80 by 24."""

    def __init__(self, shop, *arguments):
        self.fd, other = pty.openpty()
        termios.tcsetwinsize(other, (24, 80))
        env = {**shop.env, "TERM": "xterm-256color"}
        env.pop("COLUMNS", None)
        self.process = subprocess.Popen(
            shop.command("container", *arguments), cwd=shop.folder, env=env, stdin=other, stdout=other, stderr=other
        )
        os.close(other)
        self.seen = ""

    def wait_for(self, text):
        while text not in self.seen:
            self.seen += os.read(self.fd, 65_536).decode(errors="replace")

    def end(self, number=None):
        """Signal it, and read on to its end; its exit code."""
        if number is not None:
            self.process.send_signal(number)
        try:
            while data := os.read(self.fd, 65_536):
                self.seen += data.decode(errors="replace")
        except OSError:  # a terminal without a process
            os.close(self.fd)
        return self.process.wait(10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_is_cut_to_the_screen_and_leaves_it_as_it_was(forest, number):
    screen = Screen(forest, "list", "--tree", "--watch")
    screen.wait_for("Total: 40 containers")
    first = screen.seen
    forest.add("late", "WORK", "RUNNING")
    screen.wait_for("Total: 41 containers")
    assert screen.end(number) == 0
    assert screen.seen.endswith(("\x1b[?1049l\x1b[?25h", "\x1b[?25h\x1b[?1049l", "\x1b[?1049l"))
    lines = ANSI.sub("", first).splitlines()
    assert "+20 more" in [line.strip() for line in lines]
    assert max(len(line) for line in lines) <= 80
    assert sum("ARBITRAGE_WORKER" in line for line in lines) == 19


def test_a_terminal_gets_colours_and_ids_that_can_still_be_used(forest):
    screen = Screen(forest, "list")
    assert screen.end() == 0
    assert "\x1b[32mRUNNING" in screen.seen
    shown = re.search(r"(\S+)…(\S+00000026)", ANSI.sub("", screen.seen))
    assert forest.lines("get", shown[2])[0].startswith(shown[1])


def test_a_reader_that_leaves_is_no_error(forest):
    command = subprocess.list2cmdline(forest.command("container", "list"))
    shell = ["bash", "-c", f"{command} | head -1"]
    ran = subprocess.run(shell, cwd=forest.folder, env=forest.env, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("CONTAINER ID")
    assert ran.stderr == ""


def test_without_an_app_it_says_what_to_give(shop):
    command = [sys.executable, "-m", "celery", "container", "list"]
    ran = subprocess.run(command, cwd=shop.folder, env=shop.env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    said = "Error: no Lifecycle in this Celery app; give -A your_app, whose module calls Lifecycle(app)\n"
    assert ran.stderr == said


# On a node


@pytest.fixture(scope="module")
def node(tmp_path_factory, new_place):
    """A shop with a node, for all tests that follow."""
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(folder, f"sqlite:///{folder / 'lifecycle.db'}")
    schema.migrate(shop.database)
    own = new_place()
    shop.env |= {"SHOP_BROKER": own["broker"], "SHOP_BACKEND": own["results"]}
    command = shop.command("worker", "-c", "4", "-l", "INFO", "--without-mingle", "--without-gossip")
    with (folder / "node.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=shop.env,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_tests,  # noqa: PLW1509 - one libc call
        )
    eventually("a node", lambda: b" ready." in (folder / "node.log").read_bytes())
    yield shop
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shop.database.dispose()


def test_start_list_logs_and_stop(node):
    started = node.lines("start", "COORDINATOR", "workers=2", "--id", "coord-123", "--player-id", "12")
    assert started == ["coord-123"]
    eventually("three run", lambda: node.statuses(12) == ["RUNNING"] * 3)
    coordinator, *workers = [
        line.split("  WORK")[0].rstrip() for line in node.lines("list", "--tree", "--player-id", "12")[2:-1]
    ]
    assert coordinator.split()[0] == "coord-123"
    assert [re.sub("-[0-9a-f]{8}$", "", line) for line in workers] == ["  ├─ work-0", "  └─ work-1"]
    *order, total = node.lines("stop", "coord-123", "--reason", "lunch")
    assert [line.split()[0] for line in order] == [*(line.split()[-1] for line in workers), "coord-123"]
    assert {line.split()[1] for line in order} == {"stopped"}
    assert total == "3 stopped"
    assert node.statuses(12) == ["STOPPED"] * 3
    fields = dict(line.split(None, 1) for line in node.lines("get", "coord-123") if line.startswith("  stop_"))
    assert (fields["stop_reason"], fields["stop_message"]) == ("lunch", "Stopped by user")


def test_follow_the_logs_to_the_end(node):
    (started,) = node.lines("start", "WORK", "n=5", "name=tick")
    lines = node.lines("logs", "-f", started)
    assert [line.split(" ", 2)[2] for line in lines] == [f"WARNING  tick {number}" for number in range(5)]
    assert lines == node.lines("logs", started)


def test_start_and_wait_for_the_exit_code(node):
    ran = node.run("start", "WORK", "--wait")
    assert (ran.returncode, ran.stderr) == (0, "COMPLETED 0\n")
    ran = node.run("start", "WORK", "n=x", "--wait")
    assert ran.returncode == 1
    assert ran.stderr.startswith("FAILED 1: TypeError")


def test_kill_takes_what_does_not_stop(node):
    node.lines("start", "STUBBORN", "--id", "stub-1", "--player-id", "1")
    eventually("it runs", lambda: node.statuses(1) == ["RUNNING"])
    assert node.lines("kill", "stub-1") == ["stub-1  stopped", "1 stopped"]


def test_an_interrupted_stop_goes_on(node):
    node.lines("start", "STUBBORN", "--id", "stub-2", "--player-id", "2")
    eventually("it runs", lambda: node.statuses(2) == ["RUNNING"])
    screen = Screen(node, "stop", "stub-2", "--grace", "4")
    screen.wait_for("stopping")
    assert screen.end(signal.SIGINT) == 130
    assert "not waiting any more: the stop goes on" in ANSI.sub("", screen.seen)
    eventually("it is killed", lambda: node.statuses(2) == ["STOPPED"])


def test_many_trees_are_asked_for_and_stopped_together(node):
    for name in ("fleet-1", "fleet-2"):
        node.lines(
            "start", "COORDINATOR", "workers=1", "--id", name, "--tag", "fleet=x", "--player-id", name[-1:] + "0"
        )
    node.lines("start", "WORK", "n=1000", "--id", "apart", "--player-id", "30")
    eventually(
        "all run", lambda: [node.statuses(player) for player in (10, 20, 30)] == [["RUNNING"] * 2] * 2 + [["RUNNING"]]
    )
    screen = Screen(node, "stop", "--tag", "fleet=x")
    screen.wait_for("[y/N]")
    assert re.search(r"fleet-2  2 containers\s+fleet-1  2 containers\s+Stop 2 trees with 4 containers\?", screen.seen)
    assert [node.statuses(player) for player in (10, 20)] == [["RUNNING"] * 2] * 2
    os.write(screen.fd, b"y\n")
    assert screen.end() == 0
    assert "4 stopped" in ANSI.sub("", screen.seen)
    assert [node.statuses(player) for player in (10, 20, 30)] == [["STOPPED"] * 2] * 2 + [["RUNNING"]]
    node.lines("kill", "--all", "--player-id", "30", "--yes")
    assert node.statuses(30) == ["STOPPED"]


def test_no_is_an_answer(node):
    node.lines("start", "WORK", "n=1000", "--id", "kept", "--player-id", "40")
    screen = Screen(node, "stop", "--all", "--player-id", "40")
    screen.wait_for("[y/N]")
    os.write(screen.fd, b"n\n")
    assert screen.end() == 1
    assert {"STOPPING", "STOPPED"}.isdisjoint(node.statuses(40))
    node.lines("kill", "kept")


def test_rerun_and_wait(node):
    node.run("start", "WORK", "n=2", "name=once", "--id", "once", "--wait", "--player-id", "50")
    ran = node.run("rerun", "once", "--wait", "--player-id", "50")
    assert (ran.returncode, ran.stderr) == (0, "COMPLETED 0\n")
    again = ran.stdout.strip()
    assert [line.split(" ", 2)[2] for line in node.lines("logs", again)] == ["WARNING  once 0", "WARNING  once 1"]
    assert node.lines("wait", "once", again) == [f"{'once':{len(again)}}  COMPLETED 0", f"{again}  COMPLETED 0"]


def test_a_wait_lasts_as_long_as_its_container(node):
    (started,) = node.lines("start", "WORK", "n=1000")
    ran = node.run("wait", started, "--timeout", "0.1")
    assert (ran.returncode, ran.stdout) == (124, "")
    screen = Screen(node, "wait", started)
    screen.wait_for(f"waiting for {started}")
    node.lines("kill", started)
    assert screen.end() == 143
    assert f"{started}  STOPPED 143: Stopped by user" in ANSI.sub("", screen.seen)

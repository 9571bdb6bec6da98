"""README's code and commands, carried out as a newcomer would: its files, its lines, a real node."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
APP, *SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PREPARED, PLAYED = (block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
COMMAND_BLOCK = re.search(r"^## Commands\n\n```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1]
COMMANDS = {line.split()[4]: line for line in re.sub(r"\n +", " ", COMMAND_BLOCK).splitlines()}
PATIENCE = 40.0  # seconds: for a loaded machine, never a measure
MOST_LINES = 20

pytestmark = pytest.mark.acceptance


class Newcomer:
    """A folder with README's file in it, and a shell there; the broker is on another port than README's."""

    def __init__(self, folder, broker):
        self.folder = folder
        (folder / "fleet.py").write_text(APP)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LIFECYCLE_", "CELERY_"))}
        self.environment = {**clean, "CELERY_BROKER_URL": broker, "CELERY_RESULT_BACKEND": broker}

    def command(self, line):
        program, *words = shlex.split(line)
        assert program == "celery", line
        return [sys.executable, "-m", "celery", *words]

    def run(self, line):
        where = {"cwd": self.folder, "env": self.environment, "timeout": PATIENCE}
        done = subprocess.run(self.command(line), **where, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, line):
        with (self.folder / "worker.log").open("wb") as log:
            where = {"cwd": self.folder, "env": self.environment, "stdout": log, "stderr": subprocess.STDOUT}
            return subprocess.Popen(self.command(line), **where, start_new_session=True)

    def containers(self):
        return json.loads(self.run("celery -A fleet container list --show-all --json"))

    def eventually(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition(found := self.containers()):
            assert time.monotonic() < end, (self.folder / "worker.log").read_text()
        return found


@pytest.fixture
def newcomer(tmp_path, valkey):
    """In a database of the broker that no other test uses."""
    return Newcomer(tmp_path, valkey.url.removesuffix("/0") + "/63")


@pytest.fixture
def node(newcomer):
    """README's first block: the tables, and a worker that runs until the test is over."""
    *before, worker = PREPARED
    for line in before:
        newcomer.run(line)
    process = newcomer.start(worker)
    yield process
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_code_is_short():
    assert len([line for line in APP.splitlines() if line.strip()]) <= MOST_LINES


def test_a_newcomer_starts_sees_and_stops_a_tree(newcomer, node):
    start, see, stop = PLAYED
    root = newcomer.run(start).strip()
    newcomer.eventually(lambda found: sum(each["current_iteration"] > 0 for each in found) == 3)
    tree = newcomer.run(see)
    assert re.search(rf"^{root} +FLEET +RUNNING +1/1$", tree, re.MULTILINE)
    assert re.search(r"^  ├─ trader-TORWINDO-1-\w{8} +TRADER +RUNNING +\d+/∞$", tree, re.MULTILINE)
    assert re.search(r"^  └─ trader-TORWINDO-2-\w{8} +TRADER +RUNNING +\d+/∞$", tree, re.MULTILINE)
    stopped = newcomer.run(stop).splitlines()
    assert stopped[-1] == "3 stopped"
    assert [line.split()[0].rpartition("-")[0] for line in stopped[:-1]] == [
        "trader-TORWINDO-1",
        "trader-TORWINDO-2",
        "fleet",
    ]
    assert {each["status"] for each in newcomer.containers()} == {"STOPPED"}


def test_the_same_from_python(newcomer, node):
    calls = ["container = fleet.spawn([['TORWINDO-1', 'TORWINDO-2']])", "report = app.lifecycle.stop(container.id)"]
    for call in calls:
        assert call.partition(" = ")[2].replace("'", '"') in README
    script = f"""
import time
from fleet import app, fleet
{calls[0]}
while app.lifecycle.get(container.id).outcome is None:
    time.sleep(0.05)
{calls[1]}
assert report.ok and report.order[-1] == container.id and len(report.stopped) == 3, report
"""
    where = {"cwd": newcomer.folder, "env": newcomer.environment, "timeout": PATIENCE}
    subprocess.run([sys.executable, "-c", script], **where, check=True)


def test_the_key_of_a_repetition_is_read_in_a_body(newcomer, node):
    """The short snippet, in a body of three iterations back to back: each has a key of its own."""
    snippet, _ = SNIPPETS
    body = [*snippet.splitlines(), "logging.getLogger('keyed').warning('key %s %d', *key)"]
    task = ["@app.task(base=ContainerTask, iterations=3)", "def keyed():", *(f"    {line}" for line in body)]
    imports = ["import logging", "from lifecycle import current_container"]
    (newcomer.folder / "keyed.py").write_text("\n".join([*imports, APP, *task]) + "\n")
    worker = newcomer.start("celery -A keyed worker --concurrency=1 -Q keyed")
    try:
        script = "from keyed import keyed; print(keyed.spawn(queue='keyed').wait(30).id)"
        where = {"cwd": newcomer.folder, "env": newcomer.environment, "timeout": PATIENCE}
        done = subprocess.run([sys.executable, "-c", script], **where, check=True, capture_output=True, text=True)
        container = done.stdout.strip()
        logged = newcomer.run(f"celery -A keyed container logs {container}")
        assert re.findall(r"key (\S+) (\d)", logged) == [(container, str(number)) for number in range(3)]
    finally:
        worker.terminate()
        worker.wait(PATIENCE)


def test_a_body_is_told_whether_its_node_shuts_down_or_it_is_stopped(newcomer, node):
    """The long snippet, on one node and then on the next."""
    _, snippet = SNIPPETS
    names = "ContainerInterrupted, CutShort, checkpoint, current_container"
    imports = ["import logging", f"from lifecycle import {names}", "log = logging.getLogger(__name__)"]
    (newcomer.folder / "surveys.py").write_text("\n".join([*imports, APP, snippet]))
    line = "celery -A surveys worker --concurrency=1 -Q surveys --loglevel=INFO"
    with running(newcomer, line):
        script = "from surveys import survey; print(survey.spawn([1000], queue='surveys').id)"
        where = {"cwd": newcomer.folder, "env": newcomer.environment, "timeout": PATIENCE}
        done = subprocess.run([sys.executable, "-c", script], **where, check=True, capture_output=True, text=True)
        container = done.stdout.strip()
        newcomer.eventually(lambda found: found[0]["state"].get("place"))
    with running(newcomer, line):
        newcomer.eventually(lambda found: found[0]["status"] == "RUNNING" and found[0]["epoch"] == 2)
        newcomer.run(f"celery -A surveys container stop {container}")
    logged = newcomer.run(f"celery -A surveys container logs {container}")
    assert re.findall("the node shuts down, another goes on|stopped for good", logged) == [
        "the node shuts down, another goes on",
        "stopped for good",
    ]


@contextmanager
def running(newcomer, line):
    worker = newcomer.start(line)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(PATIENCE)


@pytest.fixture(scope="module")
def help_of():
    """The help of a verb, as its command prints it."""
    known = {}

    def read(verb):
        if verb not in known:
            command = [sys.executable, "-m", "celery", "-A", "workers", "container", verb, "--help"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
            assert done.returncode == 0, done.stderr
            known[verb] = done.stdout
        return known[verb]

    return read


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_option_shown_exists_and_every_option_is_shown(verb, help_of):
    has = set(re.findall(r"--[a-z-]+", help_of(verb).partition("Options:")[2])) - {"--help"}
    assert set(re.findall(r"--[a-z-]+", COMMANDS[verb])) == has


def test_every_verb_is_shown():
    from lifecycle.cli import VERBS

    assert list(COMMANDS) == list(VERBS)


@pytest.mark.parametrize("alias", ["ls", "ps", "inspect"])
def test_aliases_are_commands(alias, help_of):
    assert f"`{alias}`" in README
    assert "Usage:" in help_of(alias)

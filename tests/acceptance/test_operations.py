"""docs/operations.md, carried out: every shell block in order, in one shell, on a real PostgreSQL with real nodes."""

import os
import re
import shutil
import sys
import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from job.binaries import postgres_bin
from job.processes import Process
from job.servers import Valkey
from lifecycle.store import schema
from tests.acceptance.world import eventually

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "operations.md").read_text()
PROGRAMS = ("psql", "pg_dump", "pg_restore", "createdb")
ASKED_FOR = ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "LIFECYCLE_DATABASE_URL", "REDIS_URL", "CRAWLED")
PATIENCE = 120.0  # seconds a block may take on a loaded machine, never a measure
FOLDERS, FILES = 4, 3_000  # at 20 a second and slot, five minutes
WIDEST = 160  # characters of a line: what a diff can show
READER = (
    'while read -r name <&3; do . "./$name.sh" >"$name.out" 2>"$name.err" </dev/null 3<&-; touch "$name.done"; done'
)
NEXT_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "{this}"
down_revision = "{last}"


def upgrade() -> None:
    op.add_column("containers", sa.Column("note", sa.Text))


def downgrade() -> None:
    op.drop_column("containers", "note")
"""
BYSTANDERS = """
    INSERT INTO containers
           (id, root_id, parent_container_id, detached, status, container_type, wake_at, created_at, updated_at)
    SELECT id, id, parent, detached, status, 'FLEET_WORKER', now() + interval '1 day', now(), now()
    FROM (VALUES (1, 'root', NULL, false, 'RUNNING'), (2, 'cut-off', NULL, false, 'INTERRUPTED'),
                 (3, 'child-of-cut-off', 'cut-off', false, 'RUNNING'), (4, 'ended', NULL, false, 'STOPPED'),
                 (5, 'detached', 'ended', true, 'RUNNING')) AS rows (place, id, parent, detached, status) ORDER BY place
"""

SPARED = "container_type = 'FLEET_WORKER' AND status IN ('RUNNING', 'INTERRUPTED')"
HELD = """
    SELECT count(*) FROM assignments a JOIN containers c ON c.id = a.container_id
    WHERE a.released_at IS NULL AND c.status IN ('COMPLETED', 'FAILED', 'STOPPED')
"""
ENDED = {"COMPLETED", "FAILED", "STOPPED"}
TRIALS = (
    "1. A lost process",
    "2. A cascading stop",
    "3. What the list shows",
    "4. An orphan",
    "5. Nested coordinators",
)

pytestmark = [pytest.mark.acceptance, pytest.mark.postgres]


@dataclass(frozen=True)
class Block:
    """Lines to be pasted, under their heading, and what they are said to print."""

    heading: str
    lines: str
    prints: str


def blocks():
    found, heading = [], ""
    parts = re.compile(r"^#+ (?P<heading>[^\n]*)$|^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
    for part in parts.finditer(DOCUMENT):
        if part["heading"]:
            heading = part["heading"]
        elif part["kind"] == "sh":
            found.append(Block(heading, part["text"], ""))
        elif part["kind"] == "text":
            found[-1] = Block(heading, found[-1].lines, part["text"])
    return found


def squeezed(text):
    """Without what depends on the width of a column."""
    lines = (re.sub(r"[-─+]{2,}", lambda run: run[0][0], " ".join(line.split())) for line in text.splitlines())
    return [line for line in lines if line]


def pattern(prints):
    """`…` is anything in a line; on a line of its own, any lines."""
    lines = (re.escape(line).replace("…", ".*") + "\n" for line in squeezed(prints))
    return "".join("(?:.*\n)*" if line == ".*\n" else line for line in lines)


class Shell:
    """One bash that stops at the first error, and takes all that it started with it when it goes."""

    def __init__(self, folder, environment):
        self.folder, self.count = folder, 0
        os.mkfifo(folder / "names")
        command = ["bash", "-e", "-o", "pipefail", "-c", f"cd {folder}\n{READER} 3<names"]
        self.process = Process("shell", command, log=folder / "shell.log", env=environment)
        self.process.start()
        self.names = (folder / "names").open("w")

    def run(self, lines):
        """What they print; fails with all that was said if one of them fails."""
        self.count += 1
        name = self.folder / f"block-{self.count:02}"
        name.with_suffix(".sh").write_text(lines)
        self.names.write(f"{name.name}\n")
        self.names.flush()
        end = time.monotonic() + PATIENCE
        while not name.with_suffix(".done").exists():
            going_on = self.process.alive and time.monotonic() < end
            assert going_on, self.story(name, lines)
            time.sleep(0.02)
        return name.with_suffix(".out").read_text()

    def story(self, name, lines):
        said = [name.with_suffix(kind).read_text() for kind in (".out", ".err") if name.with_suffix(kind).exists()]
        return "\n".join(["failed, or took too long:", lines, *said, *log_of(self.folder)])

    def close(self):
        self.names.close()
        self.process.kill()


def log_of(folder):
    log = folder / "node.log"
    return log.read_text().splitlines()[-20:] if log.exists() else []


class Operator:
    """Reads the document from top to bottom, and does between the blocks what its sentences ask for."""

    def __init__(self, folder, environment):
        self.folder, self.left = folder, deque(blocks())
        self.shell = Shell(folder, environment)

    def follow(self, heading, most=100):
        """Paste the blocks under a heading, which is the next one that has any."""
        done = 0
        while self.left and self.left[0].heading == heading and done < most:
            self.paste(self.left.popleft())
            done += 1
        assert done, f"next is {self.left[0].heading if self.left else 'the end'}, not {heading}"

    def paste(self, block):
        printed = self.shell.run(block.lines)
        found = "".join(f"{line}\n" for line in squeezed(printed))
        assert re.fullmatch(pattern(block.prints), found), f"{block.lines}\nprints\n{printed}\nnot\n{block.prints}"

    def put_in_place(self, release):
        """What the shell runs from now on."""
        link = self.folder / "current"
        link.unlink(missing_ok=True)
        link.symlink_to(self.folder / release)

    def ask(self, query):
        return self.shell.run(f'psql -tA <<"END"\n{query}\nEND\n').split()

    def statuses(self, root=None):
        """Of a tree, or of all."""
        return set(self.ask("SELECT DISTINCT status FROM containers" + (f" WHERE root_id = '{root}'" if root else "")))

    def eventually(self, condition):
        end = time.monotonic() + PATIENCE
        while self.ask(f"SELECT {condition}") != ["t"]:
            assert time.monotonic() < end, f"{condition}: never"
            time.sleep(0.1)

    def start_crawl(self):
        """A tree at work: batches run, and more of them wait."""
        root = self.shell.run("celery -A workers container start CRAWL_COORDINATOR folder=$CRAWLED").strip()
        files = f"FROM containers WHERE root_id = '{root}' AND container_type = 'CRAWL_FILES'"
        self.eventually(f"count(node) > 0 AND count(*) > 10 AND bool_or(status = 'PENDING') {files}")
        return root

    def orphan(self, root):
        """As a hand-made UPDATE does it: the coordinator is STOPPED, and one that waits as well."""
        self.ask(f"UPDATE containers SET status = 'STOPPED' WHERE id = '{root}'")
        self.ask(
            f"UPDATE containers SET status = 'STOPPED' WHERE id = (SELECT id FROM containers WHERE root_id = '{root}'"
            " AND container_type = 'CRAWL_FILES' AND status = 'PENDING' ORDER BY created_at DESC LIMIT 1)"
        )


@pytest.fixture
def operator(tmp_path, postgres):
    """A role and a database as the document has them, a broker, and two releases."""
    missing = [name for name in PROGRAMS if not (postgres_bin() / name).exists()]
    if missing:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell(f"no {', '.join(missing)} beside the PostgreSQL server: install its client programs")
    postgres._execute("CREATE ROLE lifecycle LOGIN CREATEDB PASSWORD 'hunter2'")
    postgres._execute("CREATE DATABASE lifecycle OWNER lifecycle")
    make_releases(tmp_path)
    make_files(tmp_path / "crawled")
    with Valkey() as broker:
        reader = Operator(tmp_path, environment(tmp_path, postgres.port, broker.url))
        yield reader
        reader.shell.close()
    for name in ("lifecycle", "lifecycle_restored"):
        postgres.drop_database(name)
    postgres._execute("DROP ROLE lifecycle")


def make_releases(folder):
    """`before` is this code; `after` has one more revision, as every later release may."""
    for release in ("before", "after"):
        for part in ("lifecycle", "migrations", "workers"):
            shutil.copytree(ROOT / part, folder / release / part)
    last = schema.head()
    this = f"{int(last) + 1:04}"
    (folder / f"after/migrations/versions/{this}_note.py").write_text(NEXT_REVISION.format(this=this, last=last))


def make_files(folder):
    """For a crawl that lasts as long as the slowest machine needs."""
    for place in (folder / str(number) for number in range(FOLDERS)):
        place.mkdir(parents=True)
        for number in range(FILES):
            (place / f"{number}.py").touch()


def environment(folder, port, broker):
    """The variables that the document asks for, a `~/.pgpass`, and programs on PATH."""
    passwords = folder / ".pgpass"
    passwords.touch(mode=0o600)
    passwords.write_text(f"127.0.0.1:{port}:*:lifecycle:hunter2\n")
    values = ("127.0.0.1", str(port), "lifecycle", "lifecycle", f"postgresql://lifecycle@127.0.0.1:{port}/lifecycle")
    programs = (str(postgres_bin()), str(Path(sys.executable).parent), os.environ["PATH"])
    return {
        **dict(zip(ASKED_FOR, (*values, broker, str(folder / "crawled")), strict=True)),
        "PGPASSFILE": str(passwords),
        "PATH": os.pathsep.join(programs),
        "PYTHONPATH": str(folder / "current"),
        "LIFECYCLE_SWEEP_EVERY": "86400",  # the reader is to be faster than a node
    }


def test_the_document_is_carried_out_from_top_to_bottom(operator):
    operator.put_in_place("before")
    operator.follow("Before you begin")
    operator.follow("Install")
    at_work = operator.start_crawl()
    upgrade(operator, at_work)
    try_by_hand(operator)
    roll_back(operator)
    restore(operator, at_work)
    clean_up_with_commands(operator, at_work)
    clean_up_with_sql(operator)
    operator.follow("Retention")
    operator.follow("Watch")
    assert not operator.left


def upgrade(operator, at_work):
    operator.follow("Step 1: back up, migrate, look", most=1)
    operator.put_in_place("after")
    operator.follow("Step 1: back up, migrate, look")
    operator.follow("Step 2: the new code")
    cut_off_and_back = "bool_or(epoch = 1 AND status = 'PENDING') AND NOT bool_or(status = 'INTERRUPTED')"
    operator.eventually(f"{cut_off_and_back} AND count(node) > 0 FROM containers WHERE root_id = '{at_work}'")
    assert not operator.statuses(at_work) & ENDED - {"COMPLETED"}
    assert operator.ask(f"SELECT sum(restart_count) FROM containers WHERE root_id = '{at_work}'") == ["0"]
    operator.shell.run(f"celery -A workers container stop {at_work}")
    operator.follow("Step 3: verify")


def try_by_hand(operator):
    for trial in TRIALS:
        operator.follow(trial)
    assert operator.statuses() <= ENDED


def roll_back(operator):
    operator.follow("The code alone", most=1)
    operator.put_in_place("before")
    operator.follow("The code alone")
    operator.start_crawl()
    operator.put_in_place("after")
    operator.follow("Code and database", most=2)
    assert operator.statuses() <= ENDED
    assert operator.ask("SELECT count(*) FROM information_schema.columns WHERE column_name = 'note'") == ["0"]
    operator.put_in_place("before")
    operator.follow("Code and database")
    operator.follow("The parents alone")
    assert operator.ask("SELECT count(parent_container_id) FROM containers") == ["0"]


def restore(operator, at_work):
    operator.follow("Restore the backup", most=2)
    assert operator.statuses(at_work) >= {"INTERRUPTED"}
    assert operator.ask("SELECT count(parent_container_id) > 0 FROM containers") == ["t"]
    operator.follow("Restore the backup")
    assert operator.statuses(at_work) >= {"RUNNING"}


def clean_up_with_commands(operator, at_work):
    operator.orphan(at_work)
    operator.ask(BYSTANDERS)
    operator.follow("Sweep")
    operator.eventually(f"bool_and(status = ANY('{{{','.join(ENDED)}}}')) FROM containers WHERE root_id = '{at_work}'")
    assert operator.ask(HELD) == ["0"]


def clean_up_with_sql(operator):
    orphaned = operator.start_crawl()
    operator.orphan(orphaned)
    operator.follow("Find orphans with SQL")
    operator.follow("End them with SQL")
    assert operator.statuses(orphaned) <= ENDED
    assert operator.ask(HELD) == ["0"]
    told = f"SELECT count(*) FROM containers c WHERE root_id = '{orphaned}' AND exit_message LIKE 'Orphaned worker%'"
    assert int(operator.ask(told)[0]) > FOLDERS
    last = "SELECT to_status FROM transitions WHERE container_id = c.id ORDER BY id DESC LIMIT 1"
    assert operator.ask(f"{told} AND ({last}) IS DISTINCT FROM status") == ["0"]
    assert operator.ask(f"SELECT id FROM containers WHERE {SPARED} ORDER BY id") == [
        "child-of-cut-off",
        "cut-off",
        "detached",
        "root",
    ]
    operator.ask(f"DELETE FROM containers WHERE {SPARED} AND parent_container_id IS NOT NULL")
    operator.ask(f"DELETE FROM containers WHERE {SPARED}")


def test_a_stopping_written_by_hand_is_ended_in_order(postgres_scene):
    """As the document's table says: history and resources as in a stop."""
    scene = postgres_scene
    scene.run(scene.plan("boss", scene.plan("left", resources=["ship:left"]), scene.plan("right")))
    scene.edit("left", status="STOPPING")
    assert scene.ended("left").exit_code == 143
    assert scene.history("left")[-1] == "STOPPED"
    assert not scene.lifecycle.holdings(scene.id("left"))
    assert scene.status("right", "boss") == ["RUNNING", "RUNNING"]


def test_what_is_below_a_stopping_written_by_hand_goes_with_the_next_sweep(postgres_scene):
    scene = postgres_scene
    scene.run(scene.plan("boss", scene.plan("worker")))
    scene.edit("boss", status="STOPPING")
    eventually("boss is off its node", lambda: scene.get("boss").node is None)
    assert scene.status("boss", "worker") == ["STOPPING", "RUNNING"]
    assert scene.id("boss") in scene.lifecycle.sweep().by_hand
    assert [scene.ended(name).exit_code for name in ("worker", "boss")] == [143, 143]


def test_an_ending_written_by_hand_is_followed_by_its_process_and_its_parent(postgres_scene):
    scene = postgres_scene
    scene.allows_strays = True
    scene.start(scene.plan("boss", scene.plan("worker", resources=["ship:worker"]), seconds=0))
    eventually("the body of boss over, worker at work", lambda: scene.ticks("worker") and scene.get("boss").outcome)
    scene.edit("worker", status="COMPLETED")
    assert scene.ended("boss").status == "COMPLETED"
    eventually("its process gone", lambda: "stray execution killed" in scene.world.log())
    assert scene.lifecycle.holdings(scene.id("worker"))  # what is left to do
    scene.lifecycle.sweep()
    assert not scene.lifecycle.holdings(scene.id("worker"))


def test_a_running_written_by_hand_is_run_once_more(postgres_scene):
    scene = postgres_scene
    scene.start(scene.plan("once", kind="WORKER", seconds=0))
    first = scene.ended("once")
    scene.edit("once", status="RUNNING", dispatched_at=first.created_at - timedelta(hours=1))
    assert eventually("run again", lambda: (row := scene.get("once")).is_ended and row).epoch == first.epoch + 1


def test_the_variables_that_the_reader_is_to_set_are_those_of_the_test():
    (block,) = re.findall(r"^```bash\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert tuple(re.findall(r"(\w+)=", block)) == ASKED_FOR


def test_the_words_to_look_for_in_logs_are_said_by_the_code():
    code = "".join(path.read_text() for path in (ROOT / "lifecycle").rglob("*.py"))
    words = re.findall(r"`([A-Za-z ,]+)`", DOCUMENT.partition("| words | they mean |")[2].partition("\n\n")[0])
    assert len(words) == 14
    assert [each for each in words if f'"{each}' not in code] == []


def test_links_lead_to_headings():
    headings = re.findall(r"^#+ (.*)", DOCUMENT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", DOCUMENT)) - anchors == set()


def test_no_line_is_wider_than_a_diff():
    assert [line for line in DOCUMENT.splitlines() if len(line) > WIDEST] == []

"""README's Django lines, carried out in a new project, and spawns that wait for Django's transactions."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.acceptance.world import eventually

pytest.importorskip("django")

HERE = Path(__file__).parent
SECTION = re.search(r"^## Django\n(.*?)^## ", (HERE.parents[1] / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]
FILES = re.findall(r"^```py\n# (\S+)\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
PREPARED, PLAYED = (
    block.splitlines() for block in re.findall(r"^```bash\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
)
PATIENCE = 120.0  # seconds: each command starts Django and Celery, on a loaded machine
TRANSACTIONS = """
import json
from contextlib import suppress
from django.db import connections, transaction
from lifecycle import find, stop
from orders.tasks import pack

class Undone(Exception):
    pass

def found():
    return sorted(each.id for each in find(status="PENDING"))

def leave(name):
    seen[name] = found()
    for each in seen[name]:
        stop(each, wait=False)

seen = {"before": found()}

with transaction.atomic():
    seen["returned"] = [
        pack.spawn_on_commit([1], container_id="spawned"),
        pack.delay_on_commit(2),
        pack.apply_async_on_commit([3], task_id="applied"),
    ]
    seen["within"] = found()
leave("committed")

pack.spawn_on_commit([4], container_id="outside")
leave("outside")

with suppress(Undone), transaction.atomic():
    pack.spawn_on_commit([5])
    pack.delay_on_commit(6)
    pack.apply_async_on_commit([7])
    raise Undone
leave("rolled back")

with transaction.atomic():
    with suppress(Undone), transaction.atomic():
        pack.spawn_on_commit([8])
        raise Undone
    pack.spawn_on_commit([9], container_id="outer")
leave("inner rolled back")

connections.databases["other"] = connections.databases["default"].copy()
with suppress(Undone), transaction.atomic():
    with transaction.atomic(using="other"):
        pack.spawn_on_commit([10], container_id="other", using="other")
        seen["within other"] = found()
    leave("other committed")
    raise Undone

with suppress(Undone), transaction.atomic():
    pack.spawn([11], container_id="spawn")
    pack.apply_async([12], task_id="apply_async")
    seen["at once"] = found()
    raise Undone
leave("at once, rolled back")

print(json.dumps(seen))
"""

pytestmark = [pytest.mark.acceptance, pytest.mark.postgres]


class Shop:
    """A project of `startproject`; libpq and Celery are told by the environment that the servers are elsewhere."""

    def __init__(self, folder, broker, postgres):
        self.folder = folder / "shop"
        server = sa.make_url(postgres.url)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LIFECYCLE_", "CELERY_"))}
        clean.pop("DJANGO_SETTINGS_MODULE", None)
        self.environment = {
            **clean,
            "CELERY_BROKER_URL": broker,
            "CELERY_RESULT_BACKEND": broker,
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGUSER": server.username,
            "PGPASSWORD": server.password,
        }

    def command(self, line):
        program, *words = shlex.split(line)
        return [sys.executable, *(["-m", program] if program in {"celery", "django"} else []), *words]

    def run(self, line, cwd=None):
        where = {"cwd": cwd or self.folder, "env": self.environment, "timeout": PATIENCE}
        done = subprocess.run(self.command(line), **where, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def ask(self, script):
        """What a script in Django's shell prints last."""
        return json.loads(self.run(f"python manage.py shell -c {shlex.quote(script)}").splitlines()[-1])

    @contextmanager
    def worker(self, line):
        """A worker until the end of the block; `said` is its log, which a failed test shows."""
        self.log = self.folder / "worker.log"
        with self.log.open("wb") as log:
            where = {"cwd": self.folder, "env": self.environment, "stdout": log, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(self.command(line), **where, start_new_session=True)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            print(self.said())

    def said(self):
        return self.log.read_text()


@pytest.fixture(scope="module")
def shop(tmp_path_factory, valkey, postgres):
    """README's files in a new project, and both sets of tables."""
    shop = Shop(tmp_path_factory.mktemp("django"), valkey.url.removesuffix("/0") + "/62", postgres)
    shop.run("django startproject shop", cwd=shop.folder.parent)
    shop.run("python manage.py startapp orders")
    for path, text in FILES:
        with (shop.folder / path).open("a") as file:
            file.write(text)
    shutil.copy(HERE / "trials.py", shop.folder)
    postgres.create_database("shop")
    for line in PREPARED[:-1]:
        shop.run(line)
    yield shop
    postgres.drop_database("shop")


def test_a_project_of_django_runs_and_stops_a_container(shop):
    start, see, stop = PLAYED
    with shop.worker(PREPARED[-1]):
        shop.run(start)
        running = re.compile(r"^(pack-\w{8}) +PACK +RUNNING ", re.MULTILINE)
        container = eventually("it runs", lambda: running.search(shop.run(see)), PATIENCE)[1]
        assert shop.run(stop).splitlines()[-1] == "1 stopped"
        assert f"{container} " not in shop.run(see)
    assert "Traceback" not in shop.said()


@pytest.fixture(scope="module")
def seen(shop):
    """What was recorded at each point of some transactions; no node is there to run it."""
    return shop.ask(TRANSACTIONS)


def test_what_is_to_start_on_commit_waits_for_the_commit(seen):
    assert seen["returned"] == [None, None, None]
    assert seen["within"] == seen["before"] == []
    applied, delayed, spawned = seen["committed"]
    assert (applied, delayed.partition("-")[0], spawned) == ("applied", "pack", "spawned")
    assert seen["outside"] == ["outside"]


def test_a_transaction_that_is_rolled_back_leaves_nothing(seen):
    assert seen["rolled back"] == []
    assert seen["inner rolled back"] == ["outer"]


def test_a_spawn_waits_for_the_database_that_it_names(seen):
    assert seen["within other"] == []
    assert seen["other committed"] == ["other"]


def test_without_on_commit_it_starts_at_once_as_with_celery(seen):
    assert seen["at once"] == seen["at once, rolled back"] == ["apply_async", "spawn"]


def test_what_a_body_spawns_on_commit_is_its_child_and_sees_what_it_wrote(shop):
    with shop.worker("celery -A shop worker --concurrency=2 -Q trials -I trials"):
        spawned = shop.ask("""
import json
from lifecycle import children
from trials import parent

top = parent.spawn(queue="trials").wait(60)
print(json.dumps([[each.container_type, each.result] for each in children(top.id)]))
""")
    assert spawned == [["LOOK", True]]


def test_a_stop_within_the_end_of_a_transaction_leaves_the_process_usable(shop):
    """Django refuses to work where a transaction was never left, and the pool keeps the process."""
    with shop.worker("celery -A shop worker --concurrency=1 -Q trials -I trials"):
        torn, *after = shop.ask("""
import json
import time
from lifecycle import stop
from trials import look, tear

torn = tear.spawn(queue="trials")
while not torn.refresh().state:
    time.sleep(0.05)
stop(torn.id)
after = look.spawn(["torn"], queue="trials").wait(60)
print(json.dumps([torn.refresh().status, after.status, after.exit_message, after.result]))
""")
    assert torn == "STOPPED"
    assert after == ["COMPLETED", None, False]
    assert "transaction left open" in shop.said()

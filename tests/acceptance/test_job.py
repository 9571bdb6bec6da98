"""The main job as a person meets it: it shows its tree, ends in order, and leaves nothing behind."""

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("dev.py", "job", "lifecycle", "migrations", "workers", "pyproject.toml", "requirements.txt")
MARK = "JOB_OF"
FIRST_TREE_WITHIN = 45.0  # seconds, beside two other files of tests
ENDS_WITHIN = 30.0
TREE_LINE = re.compile(r"\d\d:\d\d:\d\d +(PENDING|RUNNING) +crawl")
SCOUT_LINE = re.compile(r"\d\d:\d\d:\d\d +RUNNING +scout-TORWINDO-\w+-\w{8}\b")
BUSY_LINE = re.compile(r"\d\d:\d\d:\d\d +RUNNING +crawl-(folder|files)")

pytestmark = pytest.mark.acceptance


@pytest.fixture
def place(tmp_path, valkey):
    """A copy of the project, so that the job of a developer may run meanwhile."""
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    return tmp_path


@pytest.fixture
def much(tmp_path):
    """A folder whose crawl does not end before the test does."""
    for folder in range(60):
        (tmp_path / "much" / f"{folder}").mkdir(parents=True)
        for number in range(200):
            (tmp_path / "much" / f"{folder}" / f"{number}.py").write_text("one two three " * 2_000)
    return tmp_path / "much"


@pytest.fixture
def job(place):
    """Starts the job; whatever a failed test leaves is killed, and its guards follow."""
    started = []

    def start(*arguments, **environment):
        command = [sys.executable, "-m", "job", *map(str, arguments)]
        started.append(launch(command, place, environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_small_crawl_shows_its_tree_and_ends_by_itself(job, place, tmp_path):
    folder = tmp_path / "few" / "below"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("one two")
    output, _ = (process := job(folder.parent)).communicate(timeout=60)
    assert process.returncode == 0, output
    assert TREE_LINE.search(output)
    assert re.search(r"COMPLETED +crawl-files-below-1-\w{8}\n", output)
    assert re.search(r"crawl-coordinator-\w+ COMPLETED after .* s\. 4 containers: 4 COMPLETED\n", output)
    assert output.endswith("1 of 1 file new or changed since the last crawl\n")
    assert left_of(place) == []
    again, _ = job(folder.parent).communicate(timeout=60)
    assert again.endswith("0 of 1 file new or changed since the last crawl; rm var/crawl.db reads all again\n")


def test_a_folder_may_bear_any_name(job, tmp_path):
    for name in ("few/few", "few/top"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.py").write_text("one")
    (tmp_path / "few" / "b.py").write_text("two")
    output, _ = job(tmp_path / "few").communicate(timeout=60)
    assert output.endswith("3 of 3 files new or changed since the last crawl\n")


def test_a_path_is_the_callers(monkeypatch, tmp_path):
    """`dev.py run few` from another folder; nothing that lies there is imported."""
    monkeypatch.chdir(tmp_path)
    dev = importlib.reload(importlib.import_module("dev"))
    monkeypatch.setattr(dev, "prepare", lambda: None)
    called = []
    monkeypatch.setattr(dev.os, "execv", lambda _, command: called.append((Path.cwd(), command[1:])))
    dev.main(["run", "few"])
    assert called == [(tmp_path, ["-P", "-m", "job", "few"])]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_its_pid_alone_ends_it_in_order(job, place, much, number):
    process = job(much)
    wait_for_tree(process)
    wait_for(BUSY_LINE, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 128 + number, output
    assert left_of(place) == []
    assert not (place / "var" / "env").exists()
    if number != signal.SIGHUP:
        assert re.search(r"STOPPED +crawl-coordinator-\w+  Stopped by user\n", output)
        assert re.search(r"Stopped \d+ containers, children before parents", output)
    assert "ForkPoolWorker exited" not in logs(place)


def test_it_ends_when_the_signal_was_inherited_as_ignored(place, much):
    script = f"trap '' INT TERM HUP; exec {sys.executable} -m job {much}"
    process = launch(["sh", "-c", script], place)
    wait_for_tree(process)
    process.terminate()
    process.communicate(timeout=ENDS_WITHIN)
    assert left_of(place) == []


def test_a_kill_leaves_no_process_after_a_second(job, place, much):
    process = job(much)
    wait_for(BUSY_LINE, process)
    assert any("valkey" in command for command in left_of(place))
    process.kill()
    deadline = time.monotonic() + 1
    while left_of(place) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_of(place) == []


def test_the_line_it_prints_stops_the_tree_from_a_second_terminal(job, place, much):
    process = job(much)
    line = next(line for line in wait_for(BUSY_LINE, process) if "container stop" in line)
    stopped = subprocess.run(line, shell=True, cwd=place, capture_output=True, text=True, timeout=60, check=False)
    assert stopped.returncode == 0, stopped.stderr
    output, _ = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 0, output
    assert re.search(r"crawl-coordinator-\w+ STOPPED after", output)
    assert left_of(place) == []


def test_a_second_job_in_the_folder_is_refused(job, much):
    wait_for_tree(job(much))
    output, _ = (second := job()).communicate(timeout=FIRST_TREE_WITHIN)
    assert second.returncode == 1
    assert re.fullmatch(r"job: another run is going on in this folder \(pid \d+\): stop it first\n", output)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, r"job: the broker at REDIS_URL does not answer: .*\n"),
        ({"REDIS_URL": "nonsense"}, r"job: the broker at REDIS_URL does not answer: .*\n"),
        ({"LIFECYCLE_DATABASE_URL": "postgresql://127.0.0.1:1/none"}, r"job: migrate: .*\n"),
    ],
)
def test_what_it_cannot_reach_is_one_line(job, place, environment, message):
    output, _ = (process := job(**environment)).communicate(timeout=30)
    assert process.returncode == 1
    assert re.fullmatch(message, output)
    assert left_of(place) == []


def test_the_fleet_flies_until_it_is_told_to_end(job, place):
    pytest.importorskip("httpx_retries", reason="the fleet needs the extra `fleet`")
    process = job("fleet", "--ships", 2, "--probes", 2)
    wait_for(SCOUT_LINE, process)
    assert any("workers.fleet.universe" in command for command in left_of(place))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 128 + signal.SIGINT, output
    assert re.search(r"STOPPED +fleet-coordinator-fleet-\w+  Stopped by user\n", output)
    assert left_of(place) == []


def launch(command, place, environment=None):
    env = {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "LIFECYCLE_DATABASE_URL"}}
    env |= {MARK: str(place), **(environment or {})}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=place, env=env)


def wait_for_tree(process):
    start = time.monotonic()
    wait_for(TREE_LINE, process)
    assert time.monotonic() - start < FIRST_TREE_WITHIN


def wait_for(pattern, process):
    """Its lines up to the first that fits."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if pattern.match(line):
            return lines
    pytest.fail(f"ended before its output fitted: {''.join(lines)}")


def left_of(place):
    """Command lines of all that the job of this place started, wherever they moved to since."""
    mark, found = f"{MARK}={place}\0".encode(), []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text().replace("\0", " "))
    return [command for command in found if command]  # a zombie has none


def logs(place):
    return "".join(log.read_text() for log in (place / "var" / "log").iterdir())

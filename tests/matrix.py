"""The tests elsewhere: other Pythons, the oldest and the newest libraries that the metadata allow, another PostgreSQL.

python3 dev.py test --matrix [--list] [--only NAME]... [arguments of pytest]

One combination after the other, each in a venv that is made anew in .matrix/ and stays there to look into.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from dev import INSTALL_LOCKED, INSTALL_PROJECT

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".matrix"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LIBRARIES = ("postgres", "flower")  # extras that users install with it: as old as the project itself says
TOOLS = ("embedded", "fleet", "dev")  # always the newest: they are ours
NAMED = ("celery", "kombu", "SQLAlchemy", "alembic", "click", "rich", "redis", "psycopg2-binary", "flower")
POSTGRES = {"15": Path("/usr/lib/postgresql/15/bin"), "18": None}  # Debian's; none is that of the wheel
NO_TESTS = 5  # pytest's exit code where its arguments choose none
PARTS = {
    "database": ["-n", "2", "--dist", "loadfile", "tests/unit", "tests/integration"],
    # A node starts, spawns, stops, retries, loses a child and leaves; ways in and out; Flower.
    "nodes": [
        *("-n", "3", "--dist", "loadfile"),
        "tests/acceptance/test_stop.py",
        "tests/acceptance/test_restart.py",
        "tests/acceptance/test_revokes.py",
        "tests/acceptance/test_doors.py",
        "tests/acceptance/test_canvas.py",
        "tests/acceptance/test_links.py",
        "tests/acceptance/test_limits.py",
        "tests/acceptance/test_flower.py",
        "tests/acceptance/test_crashes.py::test_a_killed_pool_child_is_told_within_a_second_and_runs_again",
        "tests/acceptance/test_shutdown.py::test_a_body_is_interrupted_cleans_up_and_runs_elsewhere",
    ],
}
ABOUT = f"""
import json, platform, subprocess
from importlib.metadata import version
from job.binaries import postgres_bin
postgres = subprocess.run([postgres_bin() / "postgres", "--version"], capture_output=True, text=True).stdout.split()[2]
found = {{"Python": platform.python_version(), "PostgreSQL": postgres}}
print(json.dumps(found | {{name: version(name) for name in {NAMED}}}))
"""


class Missing(Exception):
    """What this machine has not, in one line."""


@dataclass(frozen=True)
class Combination:
    """A Python, the age of the libraries, and a PostgreSQL."""

    python: str
    libraries: str
    postgres: str

    @property
    def name(self) -> str:
        return f"{self.python}-{self.libraries}-pg{self.postgres}"

    @property
    def venv(self) -> Path:
        return PLACE / self.name / "venv"


# Not all that can be combined: each value once, and the ends together.
COMBINATIONS = (
    Combination("3.11", "oldest", "15"),
    Combination("3.12", "locked", "15"),
    Combination("3.13", "newest", "18"),
)


@dataclass
class Outcome:
    """What a combination came to."""

    name: str
    versions: dict[str, str] = field(default_factory=dict)
    tests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("passed", "failed", "skipped"), 0))
    seconds: float = 0.0
    trouble: str = ""

    @property
    def good(self) -> bool:
        return not self.trouble and not self.tests["failed"] and self.tests["passed"] > 0


def main(arguments: list[str]) -> int:
    """Run what was asked for; 1 if anything failed, or is missing where nothing may be (`CI=true`)."""
    parser = argparse.ArgumentParser(prog="dev.py test --matrix", allow_abbrev=False)
    parser.add_argument("--list", action="store_true", help="name the combinations, and their Python, and run nothing")
    parser.add_argument("--only", action="append", choices=[each.name for each in COMBINATIONS], help="this one alone")
    options, words = parser.parse_known_args(arguments)
    outcomes, missing = [], []
    for combination in (each for each in COMBINATIONS if options.only is None or each.name in options.only):
        try:
            python, environment = python_of(combination.python), environment_of(combination.postgres)
        except Missing as part:
            missing.append(f"NOT RUN {combination.name}: {part}")
            continue
        print(f"== {combination.name}: {python}", flush=True)
        if not options.list:
            outcomes.append(outcome_of(combination, python, environment, words))
    print_table(outcomes, missing)
    return int(not all(each.good for each in outcomes) or bool(missing and os.environ.get("CI") == "true"))


def python_of(version: str) -> str:
    """An interpreter of that version: on PATH, or one of pyenv's."""
    for candidate in pythons(version):
        probe = [candidate, "-c", "import sys, venv; print('{}.{}'.format(*sys.version_info), sys.executable)"]
        told = subprocess.run(probe, capture_output=True, text=True, check=False).stdout.strip()
        if told.startswith(f"{version} "):
            return told.partition(" ")[2]
    raise Missing(f"no Python {version} on PATH or among pyenv's")


def pythons(version: str) -> Iterator[str]:
    if on_path := shutil.which(f"python{version}"):  # pyenv's shim is there for versions that it does not start
        yield on_path
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from map(str, sorted(versions.glob(f"{version}.*/bin/python"), reverse=True))


def environment_of(postgres: str) -> dict[str, str]:
    """The tests' environment, where the server is the one that is meant."""
    environment = {name: value for name, value in os.environ.items() if name != "TEST_PG_BINDIR"}
    binaries = POSTGRES[postgres]
    if binaries is None:
        return environment
    if not (binaries / "initdb").is_file():
        raise Missing(f"no PostgreSQL {postgres} in {binaries}")
    return {**environment, "TEST_PG_BINDIR": str(binaries)}


def outcome_of(combination: Combination, python: str, environment: dict[str, str], words: list[str]) -> Outcome:
    outcome, began = Outcome(combination.name), time.monotonic()
    own = str(combination.venv / "bin" / "python")
    try:
        install(combination, python, own)
        outcome.versions = versions_of(own, environment)
        for part, what in PARTS.items():
            report = combination.venv.with_name(f"{part}.xml")
            report.unlink(missing_ok=True)
            command = [own, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *what, *words]
            count(outcome, subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode, report)
    except subprocess.CalledProcessError as failure:
        outcome.trouble = str(failure)
    outcome.seconds = time.monotonic() - began
    return outcome


def install(combination: Combination, python: str, own: str) -> None:
    uv = shutil.which("uv")
    made = [uv, "venv", "--quiet", "--clear", "--python", python] if uv else [python, "-m", "venv", "--clear"]
    subprocess.run([*made, str(combination.venv)], check=True)
    pip = [uv, "pip", "install", "--quiet", "--python", own] if uv else [own, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *requirements(combination.libraries)], check=True, cwd=ROOT)
    subprocess.run([*pip, *INSTALL_PROJECT], check=True, cwd=ROOT)


def requirements(libraries: str) -> list[str]:
    """What to install: the lock, or what pyproject.toml asks for, at its lower bounds or as new as it gets."""
    if libraries == "locked":
        return INSTALL_LOCKED
    extras = PROJECT["optional-dependencies"]
    ours = [*PROJECT["dependencies"], *(each for extra in LIBRARIES for each in extras[extra])]
    tools = [each for extra in TOOLS for each in extras[extra]]
    chosen = [each.replace(">=", "==") for each in ours] if libraries == "oldest" else ours
    return ["--only-binary", ":all:", *chosen, *tools]


def versions_of(own: str, environment: dict[str, str]) -> dict[str, str]:
    told = subprocess.run([own, "-c", ABOUT], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, str] = json.loads(told.stdout)
    return found


def count(outcome: Outcome, code: int, report: Path) -> None:
    """Add what pytest wrote; an end without a report, or one that no test explains, is trouble of its own."""
    if report.exists():
        suite = ET.parse(report).getroot().find("testsuite")
        assert suite is not None
        tests, failures, errors, skipped = (
            int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")
        )
        outcome.tests["passed"] += tests - failures - errors - skipped
        outcome.tests["failed"] += failures + errors
        outcome.tests["skipped"] += skipped
    if code not in (0, NO_TESTS) and not outcome.tests["failed"]:
        outcome.trouble = f"pytest ended with {code}"


def print_table(outcomes: list[Outcome], missing: list[str]) -> None:
    for each in outcomes:
        verdict = "passed" if each.good else "FAILED"
        numbers = ", ".join(f"{number} {word}" for word, number in each.tests.items())
        print(f"\n{verdict}  {each.name}: {numbers}, {each.seconds:.0f} s{each.trouble and f': {each.trouble}'}")
        print("        " + ", ".join(f"{name} {version}" for name, version in each.versions.items()))
    print("\n".join(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Four commands, from nothing but Python 3.11 with venv (uv is used when it is on PATH).

python3 dev.py run [folder]                    the main job: crawls the *.py files of a folder, until Ctrl-C
python3 dev.py run fleet                       the trading fleet in a universe of its own; --ships N, --probes N
python3 dev.py test [arguments of pytest]      linters, types, floors, tests, coverage; with arguments only pytest
python3 dev.py test --matrix                   the tests on other Pythons, libraries and PostgreSQL
python3 dev.py test --stack                    docker-compose.yml on a Docker engine of its own
python3 dev.py chaos --minutes M --seed N      random trees under faults; --broker redis|rabbitmq
python3 dev.py bench [spawn] [stop] [mark] [retention]
                                               benchmarks against plain Celery; --rounds N, --profile
python3 dev.py bench sleepers | tree | stream  under load; --containers N, --seconds N, --rate N
python3 dev.py bench peers                     beside DBOS, Ray, Procrastinate and Dramatiq
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

CALLER = Path.cwd()
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.txt"
STAMP = VENV / "dev.stamp"
OLDEST = (3, 11)
INSTALL_LOCKED = ["--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]
INSTALL_PROJECT = ["--no-deps", "--no-build-isolation", "-e", str(ROOT)]
ELSEWHERE = ["tests/unit", "tests/integration", "tests/model", "tests/chaos"]
TESTS_FAILED = 1  # what pytest says of a run that came to its end
MEASURED = ["-m", "coverage", "run"]
TESTS = ["-m", "pytest", "--dist", "loadfile", "-n"]  # some at once, a file each: most of the time they wait
BY_NAME = "--no-loadscope-reorder"  # else the long files come last
ACCEPTANCE = [*TESTS, "3", BY_NAME, "--durations", "40", "tests/acceptance", "--broker"]
ALONE = ["-n", "0", "--last-failed", "--last-failed-no-failures", "none"]
STAGES = {
    "ruff check": ["-m", "ruff", "check"],
    "ruff format": ["-m", "ruff", "format", "--check"],
    "mypy": ["-m", "mypy"],
    "import-linter": ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
    "coverage erase": ["-m", "coverage", "erase"],  # what a run left that was cut off
    "pytest": [*MEASURED, *TESTS, "2", *ELSEWHERE],
    "pytest docker": [*MEASURED, "-m", "pytest", "tests/docker"],
    "stack": ["-m", "tests.stack"],
    "pytest acceptance on valkey": [*MEASURED, *ACCEPTANCE, "valkey"],
    "pytest browser": [*MEASURED, "-m", "pytest", "tests/browser"],
    "pytest acceptance on redis": [*ACCEPTANCE, "redis"],
    "pytest acceptance on rabbitmq": [*ACCEPTANCE, "rabbitmq"],
    "chaos": ["-m", "chaos", "--minutes", "2", "--seed", "1"],
    "coverage combine": ["-m", "coverage", "combine", "--quiet"],
    "coverage report": ["-m", "coverage", "report"],
}


class Refusal(Exception):
    """What is wrong and what to do, in one line."""


def main(arguments: list[str]) -> int:
    verbs: dict[str, Callable[[list[str]], int]] = {"run": run, "test": test, "chaos": chaos, "bench": bench}
    verb, *rest = arguments or ["help"]
    if verb not in verbs:
        print(__doc__.strip())
        return 0 if verb in {"help", "-h", "--help"} else 2
    try:
        os.chdir(ROOT)
        prepare()
        return verbs[verb](rest)
    except Refusal as refusal:
        print(f"dev.py: {refusal}", file=sys.stderr)
    except subprocess.CalledProcessError as failure:
        print(f"dev.py: failed ({failure.returncode}): {' '.join(map(str, failure.cmd))}", file=sys.stderr)
    except KeyboardInterrupt:
        print("dev.py: interrupted", file=sys.stderr)
    return 1


def run(arguments: list[str]) -> int:
    # In our place: a signal to this pid reaches the job. Where the caller stands: -P, for a job.py may lie there.
    os.chdir(CALLER)
    os.execv(PYTHON, [str(PYTHON), "-P", "-m", "job", *arguments])


def test(arguments: list[str]) -> int:
    for suite in ("matrix", "stack"):
        if f"--{suite}" in arguments:
            words = [word for word in arguments if word != f"--{suite}"]
            os.execv(PYTHON, [str(PYTHON), "-m", f"tests.{suite}", *words])
    if arguments:
        os.execv(PYTHON, [str(PYTHON), "-m", "pytest", *arguments])
    for stage, command in STAGES.items():
        print(f"== {stage}", flush=True)
        if code := exit_code(command):
            print(f"== {stage} failed", file=sys.stderr)
            return code if code > 0 else 128 - code
    return 0


def exit_code(command: list[str]) -> int:
    """The exit code of a stage; a test of real time that failed beside others has to pass alone."""
    code = subprocess.run([str(PYTHON), *command], check=False).returncode
    if code == TESTS_FAILED and "pytest" in command:
        print("== what failed, alone", flush=True)
        code = subprocess.run([str(PYTHON), *command, *ALONE], check=False).returncode
    return code


def chaos(arguments: list[str]) -> int:
    os.execv(PYTHON, [str(PYTHON), "-m", "chaos", *arguments])


def bench(arguments: list[str]) -> int:
    os.execv(PYTHON, [str(PYTHON), "-m", "benchmarks", *arguments])


def prepare() -> None:
    """Have `.venv` hold what the lock says; nothing to do when the stamp says so."""
    if sys.version_info < OLDEST:
        raise Refusal(f"needs Python 3.11 or later, this is {sys.version.split()[0]}: run it with a newer python3")
    with alone():
        wanted = fingerprint()
        if STAMP.exists() and STAMP.read_text() == wanted and works(PYTHON):
            return
        # First gone, last written: an interrupted install is done again.
        STAMP.unlink(missing_ok=True)
        install()
        unfinished = STAMP.with_suffix(".new")
        unfinished.write_text(wanted)
        unfinished.replace(STAMP)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One install at a time; the lock goes with the process, whatever happens to it."""
    with Path(__file__).open() as ourselves:
        fcntl.flock(ourselves, fcntl.LOCK_EX)
        yield


def fingerprint() -> str:
    """Changes with the lock, the project's file and the place, for an editable install names it."""
    parts = [LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), str(ROOT).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def install() -> None:
    uv = shutil.which("uv")
    print(f"dev.py: installing into .venv with {'uv' if uv else 'pip'}", flush=True)
    if not works(PYTHON):
        make_venv(uv)
    pip = [uv, "pip", "install", "--quiet", "--python", str(PYTHON)] if uv else [*own_pip(), "install", "--quiet"]
    subprocess.run([*pip, *INSTALL_LOCKED], check=True)
    subprocess.run([*pip, *INSTALL_PROJECT], check=True)


def works(python: Path) -> bool:
    probe = [str(python), "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    return python.exists() and not subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode


def make_venv(uv: str | None) -> None:
    if uv:
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)], check=True)
        return
    if not all(importlib.util.find_spec(part) for part in ("venv", "ensurepip")):
        raise Refusal(
            "this Python has no venv: install it (Debian, Ubuntu: apt install python3-venv) or uv, then again"
        )
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)


def own_pip() -> list[str]:
    """The pip of .venv: one that uv made, or one cut off while it was made, has none yet."""
    pip = [str(PYTHON), "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        if not importlib.util.find_spec("ensurepip"):
            raise Refusal(".venv has no pip: install python3-venv (Debian, Ubuntu) or uv, then again")
        subprocess.run([str(PYTHON), "-m", "ensurepip", "--upgrade"], stdout=subprocess.DEVNULL, check=True)
    return [*pip, "--disable-pip-version-check"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

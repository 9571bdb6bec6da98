"""The stack of docker-compose.yml on an engine of its own, with images made here, held to this folder's smoke suite.

python3 dev.py test --stack [arguments of pytest]

The suite is one of pytest-celery, whose plug-in takes the names of our fixtures: it has a venv of its own, in
.matrix/stack, and runs in the network of the engine, where it reaches what the engine publishes.
"""

import os
import subprocess
import sys

from job.binaries import ServerMissing
from tests.docker.engine import Engine
from tests.stack import images
from tests.stack.compose import find_compose
from tests.stack.venv import own_python


def main(words: list[str]) -> int:
    """The suite's exit code. At a desk a missing part is told; in CI it fails."""
    try:
        images.check()
        environment = {"STACK_COMPOSE": find_compose()}
        python = own_python()
        with Engine() as engine:
            environment |= images.make(engine.client(timeout=600), python)
            environment |= {"DOCKER_HOST": engine.url, "DOCKER_SOCKET": str(engine.socket)}
            return run_suite(python, engine._first_process(), environment, words)
    except (ServerMissing, subprocess.CalledProcessError) as missing:
        print(f"NOT RUN: {missing}")
        return int(os.environ.get("CI") == "true")


def run_suite(python: str, engine: int, environment: dict[str, str], words: list[str]) -> int:
    inside = ["nsenter", f"--net=/proc/{engine}/ns/net", python, "-m", "pytest", "-p", "no:cacheprovider"]
    command = [*inside, "tests/stack", *words]
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

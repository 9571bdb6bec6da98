"""The app of the example pipelines, with and without the extra that the fleet needs."""

import subprocess
import sys

import pytest

TYPES = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None  # as if it were not installed
from workers import app
app.loader.import_default_modules()
print(*sorted(app.lifecycle.types()))
"""
CRAWL = {"CRAWL_COORDINATOR", "CRAWL_FOLDER", "CRAWL_FILES"}
FLEET = {
    "FLEET_COORDINATOR",
    "ARBITRAGE_COORDINATOR",
    "ARBITRAGE_WORKER",
    "CONTRACT_FLEET_COORDINATOR",
    "CONTRACT_WORKFLOW",
    "SCOUT_FLEET_COORDINATOR",
    "SCOUT",
}


def types(*missing):
    command = [sys.executable, "-c", TYPES, *missing]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("missing", ["httpx", "httpx_retries"])
def test_without_the_extra_there_is_the_crawl_alone(missing):
    found = types(missing)
    assert found >= CRAWL
    assert not found & FLEET


def test_with_it_the_fleet_is_there_too():
    pytest.importorskip("httpx_retries", reason="the fleet needs the extra `fleet`")
    assert types() >= CRAWL | FLEET

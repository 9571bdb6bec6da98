"""What is done to Django's connections after a body that has left a transaction open; settings are a process's own."""

import subprocess
import sys

import pytest

pytest.importorskip("django")

PREPARED = """
import sys
from django.conf import settings
from django.db import connections
from lifecycle.runtime.django import drop_open_transactions

one = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
settings.configure(DATABASES={"default": one, "other": one, "unused": one})
left = [connections[alias] for alias in ("default", "other")]
for connection in left:
    connection.in_atomic_block = True  # as a stop inside of `atomic` itself leaves it
"""
CHECKED = """
drop_open_transactions("worker-1")
for before in left:
    assert connections[before.alias] is not before, before.alias
    assert connections[before.alias].in_atomic_block is False
"""
BEFORE_4_1 = """
class Older(type(connections)):
    def all(self):
        return [self[alias] for alias in self]

connections.__class__ = Older
"""
CLOSED_BADLY = """
def close():
    raise OSError("reset by peer")

left[0].close = close
"""


@pytest.mark.parametrize("what", ["", BEFORE_4_1, CLOSED_BADLY], ids=["now", "before 4.1", "closed badly"])
def test_connections_left_in_a_transaction_are_dropped(what):
    done = subprocess.run(
        [sys.executable, "-c", PREPARED + what + CHECKED], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ("connection not closed database=default error=reset by peer" in done.stderr) == (what == CLOSED_BADLY)

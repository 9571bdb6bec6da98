"""Waiting for what an engine does in its own time."""

import time


def eventually(condition, within=20.0):
    """Return what it gives once that is true."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return value

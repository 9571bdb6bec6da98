"""Waits that differ a little, so that what went wrong at once is not all tried again at once."""

import random


def jittered(seconds: float) -> float:
    """A tenth more or less."""
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - no secret

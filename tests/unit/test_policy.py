"""What a length of time may be."""

import math

import pytest

from lifecycle.domain.policy import MAX_SECONDS, check_seconds
from lifecycle.errors import InvalidArgument


@pytest.mark.parametrize("value", [0, 0.0, 30, 0.25, MAX_SECONDS])
def test_a_length_of_time(value):
    check_seconds("grace", value)


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf, MAX_SECONDS + 1, True, "30", None])
def test_what_is_no_length_of_time_is_named(value):
    with pytest.raises(InvalidArgument, match=r"^grace is a number of seconds from 0 to 1,000,000,000, not "):
        check_seconds("grace", value)

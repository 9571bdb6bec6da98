"""When two failures are the same one."""

import pytest

from lifecycle.domain.policy import Quarantine
from lifecycle.domain.signature import LONGEST, signature


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("KeyError: ship 12 at 10:33", "KeyError: ship 7 at 9:05"),
        ("OSError: no fuel\n  at dock", "OSError:  no fuel at\tdock"),
        ("TypeError: <Engine object at 0x7f8b3c2dfa10>", "TypeError: <Engine object at 0x55D0A1>"),
        ("not found: trader-TORWINDO-8-87daeda7", "not found: trader-TORWINDO-11-fadeceda"),
        ("order 3f2b8a1c-9d4e-4f6a-8b7c-0123456789ab", "order aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"),
        ("ValueError: " + "x" * LONGEST, "ValueError: " + "x" * LONGEST + "y"),
    ],
)
def test_the_same(first, second):
    assert signature(first) == signature(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("KeyError: ship", "ValueError: ship"),
        ("KeyError: ship 12", "KeyError: dock 12"),
        ("a deed", "a dead"),
        ("KeyError: " + "x" * 150, "KeyError: " + "x" * 149 + "y"),
    ],
)
def test_not_the_same(first, second):
    assert signature(first) != signature(second)


def test_it_can_be_read():
    assert signature("KeyError: ship TORWINDO-8\nat 10:33") == "KeyError: ship TORWINDO-# at #:#"
    assert len(signature("1 " * LONGEST * 2)) == LONGEST


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, None), (2, None), (3, 900), (4, 1800), (5, 3600), (6, 3600), (99, 3600)]
)
def test_how_long_a_resource_is_refused(failures, seconds):
    assert Quarantine().seconds(failures) == seconds

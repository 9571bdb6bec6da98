"""Text and results as every database can keep them."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from lifecycle.domain.text import as_result, clean


@given(some.text(some.characters(exclude_categories=())))
def test_clean_text_can_be_stored(text):
    made = clean(text)
    made.encode()
    assert "\x00" not in made
    assert clean(made) == made


@pytest.mark.parametrize(
    ("text", "stored"), [("plain ∞", "plain ∞"), ("a\x00b", "ab"), ("file \udcff", r"file \udcff"), ("\n\t", "\n\t")]
)
def test_only_what_no_database_stores_is_changed(text, stored):
    assert clean(text) == stored


def circle():
    made = []
    made.append(made)
    return made


def deep():
    made = []
    for _ in range(100_000):
        made = [made]
    return made


class Unshowable:
    def __repr__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a": [1, None, True]}, {"a": [1, None, True]}),
        ((1, 2), [1, 2]),
        ({"a\x00": ["\udcff", "\x00b"]}, {"a": [r"\udcff", "b"]}),
        (r"\u0000", r"\u0000"),
        (math.nan, "nan"),
        ({"x": math.inf}, "{'x': inf}"),
        ({1, 2}, "{1, 2}"),
        (b"\xff", r"b'\xff'"),
        (circle(), "[[...]]"),
    ],
)
def test_a_result_is_kept_as_json_else_as_shown(value, kept):
    assert as_result(value) == kept


@pytest.mark.parametrize("make", [deep, lambda: 10**5_000, Unshowable])
def test_no_result_is_too_odd(make):
    assert as_result(make()).startswith("<")


LEAVES = some.floats() | some.text()
TREES = some.recursive(LEAVES, lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner), max_leaves=10)


@given(TREES)
@settings(max_examples=50)
def test_a_kept_result_is_strict_json(value):
    json.dumps(as_result(value), allow_nan=False)

"""Every order of endings, stops, counting and pruning: what metrics are told is always what has been.

What only two connections at once can show is in tests/integration/test_totals.py.
"""

from collections import Counter as Tally

import pytest

from lifecycle.domain.counters import Counter
from lifecycle.store import prunes, totals
from tests.model.calls import call

STEPS = {  # who does what, in this order; between them any order
    "a body": [("end", "a", 1, "return")],
    "a stop": [("mark", "b"), ("end", "b", 1, "stopped")],
    "a reading": [("count for good",)] * 2,
    "a prune": [("prune",)] * 2,
}
TOLD = {  # by what is done, which counters rise
    "mark": [(Counter.STOPS, "1")],
    ("end", "a"): [(Counter.ENDINGS, "COMPLETED")],
    ("end", "b"): [(Counter.ENDINGS, "STOPPED"), (Counter.STOP_BUCKET, "1")],
}


class Miscounted(Exception):
    """What is told is not what has been; with the way there."""


@pytest.fixture
def begun(memory):
    """Two containers execute."""
    memory.clear()
    call(memory, "register", "node-1")
    for name in "ab":
        call(memory, "spawn", name, None, None, False)
        call(memory, "claim", name, "node-1")
    yield memory
    memory.clear()


def told(memory):
    with memory.database.read() as connection:
        found = totals.read(connection)
    return Tally({(each.name, each.label): each.value for each in found if each.name is not Counter.STOP_SECONDS})


def search(memory, steps, expected, way=()):
    """Go every way on from here, and come back; how many ends there are."""
    if told(memory) != expected:
        raise Miscounted(f"{' > '.join(way)}: {dict(told(memory))} and not {dict(expected)}")
    here, ends = memory.raw.serialize(), 0
    for who, (step, *later) in steps.items():
        call(memory, *step)
        left = {each: later if each == who else todo for each, todo in steps.items() if each != who or later}
        risen = Tally([*TOLD.get(step[0], ()), *TOLD.get(step[:2], ())])
        ends += search(memory, left, expected + risen, (*way, f"{who}: {' '.join(map(str, step[:2]))}"))
        memory.raw.deserialize(here)
    return ends or 1


def test_what_is_told_is_what_has_been_in_every_order(begun):
    assert search(begun, STEPS, Tally()) == 630


def count_nothing(connection, ids):
    return 0


def forget_the_mark(connection, changes, asked):
    if changes or asked:
        totals._add(connection, totals._counted(connection, totals.sa.union_all(*tally_of(changes, asked))))
    return len(changes) + len(asked)


def tally_of(changes, asked):
    return totals._tally(totals.t.id.in_(changes), totals.s.id.in_(asked))


@pytest.mark.parametrize(
    ("where", "name", "mutant"),
    [(prunes.totals, "fold_of", count_nothing), (totals, "_count", forget_the_mark)],
    ids=["a prune counts nothing", "a row does not say that it is counted"],
)
def test_without_a_guard_an_order_is_found(begun, monkeypatch, where, name, mutant):
    monkeypatch.setattr(where, name, mutant)
    with pytest.raises(Miscounted):
        search(begun, STEPS, Tally())

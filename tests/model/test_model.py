"""Every order of the transactions of small worlds, with the store's own SQL; and that each guard is needed.

A scenario that fails prints a shortest trace. What only two connections at once can show is in
test_races_of_mutants and test_races_of_recovery.
"""

import pytest

from tests.model.conftest import KILLED, LOOKED_AT
from tests.model.mutants import MUTANTS
from tests.model.scenarios import SCENARIOS
from tests.model.search import Violation, search


@pytest.fixture
def mended(memory):
    yield memory
    memory.mend()


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda each: each.name)
def test_every_invariant_holds_in_every_state(memory, scenario, record_property):
    found = search(memory, scenario)
    record_property(LOOKED_AT, (scenario.name, str(found)))
    assert found.ends > 1


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.name)
def test_without_one_guard_an_invariant_breaks(mended, mutant, monkeypatch, record_property):
    mutant.apply(monkeypatch, mended)
    with pytest.raises(Violation) as violation:
        search(mended, SCENARIOS[mutant.scenario])
    record_property(KILLED, (mutant.name, str(violation.value)))
    assert violation.value.what.startswith(mutant.breaks + ":")


def test_two_searches_find_the_same(memory):
    scenario = next(iter(SCENARIOS.values()))
    assert search(memory, scenario) == search(memory, scenario)

"""The status machine, as data."""

import pytest

from lifecycle.domain.status import ACTIVE, LIVE, TERMINAL, TRANSITIONS, Status, parse_statuses
from lifecycle.errors import InvalidArgument

DRAWN = """
    PENDING -> RUNNING STOPPING
    RUNNING -> COMPLETED FAILED STOPPING INTERRUPTED
    INTERRUPTED -> PENDING STOPPING FAILED
    STOPPING -> STOPPED COMPLETED FAILED
"""


def drawn():
    for line in DRAWN.split("\n"):
        start, arrow, goals = line.partition("->")
        for goal in goals.split() if arrow else ():
            yield start.strip(), goal


@pytest.mark.parametrize("start", Status)
@pytest.mark.parametrize("goal", Status)
def test_exactly_the_drawn_changes_are_legal(start, goal):
    assert (goal in TRANSITIONS[start]) == ((start, goal) in set(drawn()))


def test_every_status_has_its_row():
    assert set(TRANSITIONS) == set(Status)


def test_terminal_is_what_nothing_leaves():
    assert {"COMPLETED", "FAILED", "STOPPED"} == TERMINAL
    assert {"PENDING", "RUNNING", "INTERRUPTED", "STOPPING"} == LIVE


def test_every_live_status_can_be_stopped_and_only_the_stop_leads_to_stopped():
    assert all(Status.STOPPING in TRANSITIONS[status] for status in LIVE - {Status.STOPPING})
    assert [status for status in Status if Status.STOPPED in TRANSITIONS[status]] == [Status.STOPPING]


def test_every_status_is_reached_from_pending():
    reached, new = set(), {Status.PENDING}
    while new:
        reached |= new
        new = {goal for status in new for goal in TRANSITIONS[status]} - reached
    assert reached == set(Status)


def test_active_is_what_a_list_shows():
    assert ACTIVE == ("RUNNING", "INTERRUPTED")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("FAILED", ("FAILED",)),
        ("failed,Stopped", ("FAILED", "STOPPED")),
        (" running , interrupted ,", ("RUNNING", "INTERRUPTED")),
        ("STOPPED,FAILED,stopped", ("STOPPED", "FAILED")),
    ],
)
def test_statuses_are_read_in_any_case_and_in_order(text, meant):
    assert parse_statuses(text) == meant
    assert all(isinstance(status, Status) for status in parse_statuses(text))


@pytest.mark.parametrize(
    ("text", "named"), [("DONE", "unknown status DONE;"), ("failed,gone,lost", "unknown status GONE, LOST;")]
)
def test_an_unknown_status_is_named_with_the_legal_ones(text, named):
    with pytest.raises(InvalidArgument) as refusal:
        parse_statuses(text)
    assert named in str(refusal.value)
    assert "PENDING, RUNNING, INTERRUPTED, STOPPING, COMPLETED, FAILED, STOPPED" in str(refusal.value)


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_no_status_is_not_all_of_them(text):
    with pytest.raises(InvalidArgument, match="unknown status"):
        parse_statuses(text)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["running"], ("RUNNING",)),
        ((Status.FAILED, "Stopped", "FAILED"), ("FAILED", "STOPPED")),
        (iter(ACTIVE), ACTIVE),
        ((), ()),
    ],
)
def test_statuses_are_read_one_a_word_too(given, meant):
    assert parse_statuses(given) == meant
    assert all(isinstance(status, Status) for status in parse_statuses(meant))


@pytest.mark.parametrize(("given", "named"), [(["DONE"], "DONE;"), (["RUNNING", ""], "'';"), ([None], "NONE;")])
def test_an_unknown_word_is_named(given, named):
    with pytest.raises(InvalidArgument, match=f"unknown status {named}"):
        parse_statuses(given)

"""Whether somebody else has stopped a service while we were at it, by what the engine tells of that time."""

from contextlib import nullcontext

import pytest

from lifecycle.domain.service import SET_ASIDE, Action, Event, Kind
from lifecycle.errors import DaemonTrouble, NotVerified, ServiceMisconfigured, ServiceStopped
from lifecycle.services.stops import heed
from tests.unit.fleet import exited, service, snapshot

STOP, RESTART = ["kill", "die", "stop"], ["kill", "die", "stop", "start", "restart"]
BOTH = ["kill", "kill", "die", "stop", "stop", "start", "restart"]
DB = service("db")


class Said:
    """An engine that tells of one service; `there` is the id of the container in its place."""

    def __init__(self, actions, there, name=DB.name):
        self.events = [Event(action=action, id=DB.id, name=name, at=0.0) for action in actions]
        self.there, self.stopped = there, []

    def past(self, since):
        if isinstance(self.events, Exception):
            raise self.events
        return self.events

    def look(self, name):
        created = "2026-01-01T00:00:00Z"
        return self.there and {"Id": self.there, "Name": f"/{name}", "State": {}, "Created": created}

    def stop(self, found):
        self.stopped.append(found.id)


@pytest.mark.parametrize(
    ("kind", "actions", "outcome", "is_stopped"),
    [
        (Kind.RESTART, RESTART, DB.id, False),
        (Kind.RESTART, BOTH, DB.id, True),
        (Kind.RESTART, [*BOTH, "restart"], DB.id, False),
        (Kind.RESTART, [*RESTART, *STOP], NotVerified("is down"), True),
        (Kind.RESTART, [*RESTART, "die"], NotVerified("is down"), False),
        (Kind.RESTART, STOP, ServiceMisconfigured("port"), False),
        (Kind.RESTART, [*STOP, "stop"], ServiceMisconfigured("port"), True),
        (Kind.START, ["start"], DB.id, False),
        (Kind.START, ["start", *STOP], NotVerified("is down"), True),
        (Kind.RECREATE, [*STOP, "start"], DB.id, False),
        (Kind.RECREATE, [*STOP, "stop", "start"], DB.id, True),
    ],
)
def test_a_stop_that_is_not_ours_is_done_again(kind, actions, outcome, is_stopped):
    engine = Said(actions, DB.id)
    action = Action(kind=kind, key=DB.key, id=DB.id, name=DB.name, reason="a test")
    with pytest.raises(ServiceStopped) if is_stopped else nullcontext():
        heed(engine, action, snapshot(DB), outcome)
    assert engine.stopped == [DB.id] * is_stopped


def attempt(engine, was=DB):
    heed(
        engine, Action(kind=Kind.RECREATE, key=was.key, id=was.id, name=was.name, reason="a test"), snapshot(was), DB.id
    )


def test_of_one_that_did_not_run_every_stop_is_anothers():
    with pytest.raises(ServiceStopped):
        attempt(Said(["start", *STOP], DB.id), exited("db"))


def test_stops_under_both_names_count_and_those_of_others_do_not():
    with pytest.raises(ServiceStopped):
        attempt(Said([*STOP, *STOP], DB.id, DB.name + SET_ASIDE))
    attempt(Said([*STOP, *STOP], DB.id, "another"))


@pytest.mark.parametrize("there", [None, "n" * 64])
def test_where_an_updater_is_at_work_nothing_is_stopped(there):
    engine = Said([*STOP, *STOP], there)
    attempt(engine)
    assert engine.stopped == []


def test_an_engine_that_does_not_answer_leaves_the_outcome_as_it_is(caplog):
    engine = Said([], DB.id)
    engine.events = DaemonTrouble("no answer")
    attempt(engine)
    assert "not known" in caplog.text

"""The checker of the chaos catches what it is there for: a sound history passes, and each doctored one is caught."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from chaos import history as histories
from chaos import plan
from chaos.checker import RULES, check
from chaos.history import History
from lifecycle.domain.policy import STOPPED_NOT_RUNNING, STOPPED_ORPHAN, STOPPED_SUPERSEDED

SETTINGS = {"lease": 4.0}
NODE, MAIN = "node0@here-1", 100
PARENT, CHILD, ALONE = "coordinator-1", "worker-2", "worker-3"


def row(container_id, status, **more):
    known = {"id": container_id, "status": status, "container_type": "WORKER", "parent_container_id": None}
    known |= {"parent_epoch": None, "detached": False, "epoch": 1, "node": None, "grace": 2.0, "stop_error": None}
    known |= {"max_iterations": 1, "current_iteration": int(status == "COMPLETED"), "max_restarts": 3}
    known |= {"exit_code": 0, "exit_message": None, "stop_by": None, "stopped_at": None}
    return SimpleNamespace(**{**known, **more})


def marks(container_id, epoch, began, *what, pid=101):
    """One a tenth of a second."""
    who = {"id": container_id, "epoch": epoch, "pid": pid, "iteration": 0, "rests": False, "node": NODE}
    return [SimpleNamespace(**who, what=each, at=began + n / 10) for n, each in enumerate(what)]


def changes(*told):
    """Numbered as they come: container, time, status, and more."""
    found, last = [], {}
    for number, (container_id, at, status, more) in enumerate(told, start=1):
        known = {"epoch": 1, "node": None, "by": None, "why": None, "stop_id": None}
        known |= {"from_status": last.get(container_id), "to_status": status, "container_id": container_id}
        found.append(SimpleNamespace(id=number, at=at, **{**known, **more}))
        last[container_id] = status
    return found


def sound():
    """A tree that is stopped, and a worker whose process is killed, that runs again."""
    stopped = {"exit_code": 143, "stop_by": "somebody", "exit_message": "Stopped by user"}
    mark = {"by": "somebody", "why": "enough", "stop_id": 1, "node": NODE}
    claim = {"node": NODE, "by": NODE}
    return History(
        run={"seed": 1, "settings": SETTINGS, "ended": 60.0},
        rows={
            PARENT: row(PARENT, "STOPPED", stopped_at=6.0, container_type="COORDINATOR", **stopped),
            CHILD: row(CHILD, "STOPPED", parent_container_id=PARENT, parent_epoch=1, stopped_at=5.5, **stopped),
            ALONE: row(ALONE, "COMPLETED", epoch=2, stopped_at=9.0),
        },
        changes=changes(
            (PARENT, 1.0, "PENDING", {"epoch": 0}),
            (PARENT, 1.1, "RUNNING", claim),
            (CHILD, 1.5, "PENDING", {"epoch": 0}),
            (CHILD, 1.6, "RUNNING", claim),
            (ALONE, 2.0, "PENDING", {"epoch": 0}),
            (ALONE, 2.1, "RUNNING", claim),
            (ALONE, 3.1, "INTERRUPTED", {"by": NODE, "why": "process lost"}),
            (ALONE, 3.5, "PENDING", {"by": "recovery"}),
            (ALONE, 3.6, "RUNNING", {**claim, "epoch": 2}),
            (PARENT, 5.0, "STOPPING", mark),
            (CHILD, 5.0, "STOPPING", mark),
            (CHILD, 5.5, "STOPPED", {"why": "Stopped by user"}),
            (PARENT, 6.0, "STOPPED", {"why": "Stopped by user"}),
            (ALONE, 9.0, "COMPLETED", {"epoch": 2}),
        ),
        stops=[SimpleNamespace(id=1, container_id=PARENT, requested_at=5.0, grace=None)],
        assignments=[
            SimpleNamespace(id=1, resource="dock:1", container_id=PARENT, assigned_at=1.0, released_at=6.0),
            SimpleNamespace(id=2, resource="dock:1", container_id=ALONE, assigned_at=7.0, released_at=9.0),
        ],
        nodes=[SimpleNamespace(id=NODE, pid=MAIN, dead_at=None, dead_why=None)],
        marks=[
            *marks(PARENT, 1, 1.2, "begin", "tick", "raise"),
            SimpleNamespace(id=PARENT, epoch=1, pid=101, at=1.55, what="spawned", child=CHILD),
            *marks(CHILD, 1, 1.7, "begin", "tick", "raise", pid=102),
            *marks(ALONE, 1, 2.2, "begin", "tick", pid=103),
            *marks(ALONE, 2, 3.7, "begin", "tick", "return", pid=104),
        ],
        events=[
            SimpleNamespace(what="acknowledged", at=1.0, id=PARENT),
            fault("kill child", 3.0, pids=[103]),
        ],
        results={PARENT: "REVOKED", CHILD: "REVOKED"},
    )


def fault(kind, began, ended=None, **more):
    known = {"main": MAIN, "pids": [MAIN], **more}
    return SimpleNamespace(what="fault", at=began, kind=kind, began=began, ended=ended or began, **known)


def change_of(history, container_id, status):
    return [each for each in history.changes if (each.container_id, each.to_status) == (container_id, status)][-1]


def late_child(history):
    history.changes[2].id = history.changes[3].id = 50
    history.changes.sort(key=lambda each: each.id)


def unmarked_child(history):
    change_of(history, CHILD, "STOPPING").stop_id = 9


def child_outlives(history):
    change_of(history, CHILD, "STOPPED").id = 50
    history.changes.sort(key=lambda each: each.id)


def writes_after_its_end(history):
    history.marks += marks(CHILD, 1, 5.7, "tick", pid=102)


def writes_after_it_was_cut_off(history):
    history.marks += marks(ALONE, 1, 3.3, "tick", pid=103)


def holds_on(history):
    history.assignments[1].released_at = None


def is_robbed(history):
    history.assignments[0].released_at = 4.0


def is_held_twice(history):
    history.assignments[1].assigned_at = 5.0


def runs_twice(history):
    history.marks += marks(ALONE, 1, 3.9, "tick", pid=103)


def has_two_processes(history):
    history.marks += marks(ALONE, 2, 3.75, "tick", pid=105)


def an_old_epoch_writes(history):
    change_of(history, ALONE, "COMPLETED").epoch = 1


def runs_without_a_claim(history):
    history.rows[ALONE].epoch = 1


def stops_late(history):
    history.rows[PARENT].stopped_at = change_of(history, PARENT, "STOPPED").at = 12.5


def starts_after_its_mark(history):
    history.rows[CHILD].epoch = 2


def goes_back(history):
    change_of(history, CHILD, "STOPPED").to_status = "PENDING"


def skips_a_step(history):
    history.changes = [each for each in history.changes if each.to_status != "RUNNING"]


def tells_another_story(history):
    history.rows[ALONE].status = "FAILED"


def says_not_why(history):
    change_of(history, CHILD, "STOPPING").by = None


def is_stopped_by_nobody(history):
    history.rows[CHILD].stop_by = None


def is_superseded_by_nobody(history):
    history.rows[CHILD].exit_message = STOPPED_SUPERSEDED


def is_lost_alive(history):
    history.events.pop()


def is_lost_long_after(history):
    history.events[-1].began = history.events[-1].ended = -30.0


def another_one_was_killed(history):
    history.events[-1].pids = [104]


def is_not_found(history):
    change_of(history, CHILD, "STOPPED").why = STOPPED_NOT_RUNNING


def is_taken_for_an_orphan(history):
    change_of(history, CHILD, "STOPPING").why = STOPPED_ORPHAN


def is_shut_down_by_nobody(history):
    change_of(history, ALONE, "INTERRUPTED").why = "node shut down"


def node_is_taken_for_dead(history):
    history.nodes[0].dead_at, history.nodes[0].dead_why = 30.0, "lease ran out"


def acknowledged_and_gone(history):
    history.events.append(SimpleNamespace(what="acknowledged", at=1.0, id="worker-9"))


def lives_on(history):
    history.rows[ALONE].status = change_of(history, ALONE, "COMPLETED").to_status = "RUNNING"
    history.rows[ALONE].stopped_at = None


def was_stuck(history):
    history.run["left"] = {ALONE: "PENDING in epoch 1"}


def node_crashes(history):
    history.events.append(SimpleNamespace(what="exited", at=30.0, member="node0", pid=MAIN, code=1, wanted=False))


def completed_without_its_body(history):
    history.marks = [mark for mark in history.marks if mark.what != "return"]


def leaves_an_iteration_out(history):
    history.rows[ALONE].max_iterations = history.rows[ALONE].current_iteration = 2


def leaves_a_step_out(history):
    history.rows[ALONE].container_type = "STEPS"
    history.marks += [SimpleNamespace(id=ALONE, epoch=2, pid=104, at=3.8, what="step", step=step) for step in (0, 2)]


def goes_a_step_back(history):
    history.rows[ALONE].container_type = "RESTING"
    history.marks += [SimpleNamespace(id=ALONE, epoch=2, pid=104, at=3.8, what="leg", leg=leg) for leg in (0, 1, 0)]


def failed_for_nothing(history):
    history.rows[ALONE].status = change_of(history, ALONE, "COMPLETED").to_status = "FAILED"


def celery_is_not_told(history):
    history.results[CHILD] = "STARTED"


PLANTED = {
    late_child: "I1",
    unmarked_child: "I1",
    child_outlives: "I1",
    writes_after_its_end: "I2",
    writes_after_it_was_cut_off: "I2",
    holds_on: "I3",
    is_robbed: "I3",
    is_held_twice: "I3",
    runs_twice: "I4",
    has_two_processes: "I4",
    an_old_epoch_writes: "I4",
    runs_without_a_claim: "I4",
    stops_late: "I5",
    starts_after_its_mark: "I6",
    goes_back: "I7",
    skips_a_step: "section 3",
    tells_another_story: "section 3",
    says_not_why: "I8",
    is_stopped_by_nobody: "I8",
    is_superseded_by_nobody: "I8",
    is_lost_alive: "I9",
    is_lost_long_after: "I9",
    another_one_was_killed: "I9",
    is_not_found: "I9",
    is_taken_for_an_orphan: "I9",
    is_shut_down_by_nobody: "I9",
    node_is_taken_for_dead: "I9",
    acknowledged_and_gone: "lost",
    lives_on: "lost",
    was_stuck: "lost",
    completed_without_its_body: "lost",
    leaves_an_iteration_out: "lost",
    leaves_a_step_out: "lost",
    goes_a_step_back: "lost",
    failed_for_nothing: "lost",
    node_crashes: "node",
    celery_is_not_told: "told",
}


def test_a_sound_history_has_no_violation():
    assert check(sound()) == []


@pytest.mark.parametrize("doctor", list(PLANTED), ids=lambda doctor: doctor.__name__)
def test_a_planted_violation_is_caught(doctor):
    history = sound()
    doctor(history)
    assert PLANTED[doctor] in {violation.rule for violation in check(history)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_rule_is_the_one_that_catches_something(rule):
    """None is there in name only."""
    caught = []
    for doctor in PLANTED:
        history = sound()
        doctor(history)
        caught += rule(history)
    assert caught


@pytest.mark.parametrize(
    ("met", "allowed"),
    [
        (fault("kill main", 5.5), 5.5 + 4.4 + 5),
        (fault("kill main", 5.5, main=999), 5 + 2 + 5),
        (fault("pause group", 5.5, 13.5), 13.5 + 5),
        (fault("database crash", 4.0, 8.0), 8.0 + 4 + 5),
        (fault("broker restart", 4.0, 40.0), 5 + 2 + 5),
        (SimpleNamespace(what="stall", at=6.0, began=5.0, ended=6.0, seconds=1.0, late=0.0), 5 + 2 + 5 + 1),
    ],
    ids=lambda value: getattr(value, "kind", getattr(value, "what", None)),
)
def test_a_stop_may_take_longer_only_as_long_as_a_fault_held_it_up(met, allowed):
    for late, caught in ((-0.1, False), (0.1, True)):
        history = sound()
        history.events.append(met)
        history.rows[PARENT].stopped_at = change_of(history, PARENT, "STOPPED").at = allowed + late
        history.assignments[0].released_at = allowed + late
        assert ("I5" in {violation.rule for violation in check(history)}) is caught


def test_a_stop_without_grace_is_held_up_too():
    history = sound()
    history.stops[0].grace = 0.0
    assert "I5" not in {violation.rule for violation in check(history)}
    history.rows[PARENT].stopped_at = change_of(history, PARENT, "STOPPED").at = history.assignments[0].released_at = (
        10.1
    )
    assert "I5" in {violation.rule for violation in check(history)}
    history.events.append(fault("database hangs", 1.0, 4.9))
    assert "I5" not in {violation.rule for violation in check(replace(history))}  # which knows nothing by heart


@pytest.mark.parametrize(
    ("began", "pid", "explained"),
    [(25.0, MAIN, True), (5.0, MAIN, False), (5.0, 200, True), (1.0, 200, False)],
    ids=["just now", "long ago", "since it started", "before it started"],
)
def test_a_node_may_end_by_itself_where_a_server_was_away(began, pid, explained):
    history = sound()
    history.events += [
        SimpleNamespace(what="started", at=3.0, member="node0", pid=pid),
        fault("broker restart", began, began + 1),
        SimpleNamespace(what="exited", at=30.0, member="node0", pid=pid, code=1, wanted=False),
    ]
    assert ("node" not in {violation.rule for violation in check(history)}) is explained


def test_what_a_mark_ends_at_once_ends_in_any_order():
    history = sound()
    child, parent = change_of(history, CHILD, "STOPPED"), change_of(history, PARENT, "STOPPED")
    child.id, parent.id = parent.id, child.id
    for each in (child, parent):
        each.at, each.by = 5.0, "somebody"
    history.changes.sort(key=lambda each: each.id)
    history.rows[CHILD].stopped_at = history.rows[PARENT].stopped_at = history.assignments[0].released_at = 5.0
    assert check(history) == []


def test_the_same_seed_is_the_same_plan():
    assert plan.make(7, 1) == plan.make(7, 1) != plan.make(8, 1)
    assert {act.what for act in plan.make(7, 20)} == {"start", "fault", "hunt", *plan.STOPS, *plan.OTHERS}


def test_a_folder_is_read_as_it_was_kept(tmp_path):
    told = sound()
    kept = {"run": told.run, "results": told.results}
    tables = {"containers": told.rows.values(), "transitions": told.changes}
    tables |= {name: getattr(told, name) for name in ("stops", "assignments", "nodes")}
    kept |= {name: [vars(each) for each in rows] for name, rows in tables.items()}
    (tmp_path / "rows").write_text(json.dumps(kept))
    for name in ("marks", "events"):
        (tmp_path / name).write_text("".join(json.dumps(vars(each)) + "\n" for each in getattr(told, name)))
    assert histories.read(tmp_path) == told

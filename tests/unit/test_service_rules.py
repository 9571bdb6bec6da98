"""Each rule of the plan, by a fleet to which it applies and one to which it does not."""

from datetime import timedelta

import pytest

from lifecycle.domain.recovery import Fate, Memory, Unrestartable
from lifecycle.domain.service import ENGINE, SET_ASIDE, Health, Policy, Share, State, is_meant
from lifecycle.services.plan import plan
from lifecycle.settings import Settings
from tests.unit.fleet import (
    NOW,
    SETTINGS,
    actions,
    ago,
    decided,
    exited,
    identity,
    inside,
    look,
    on,
    one_off,
    remembered,
    row,
    service,
    snapshot,
    unhealthy,
    verdicts,
)


def ahead(seconds):
    return NOW + timedelta(seconds=seconds)


def label(**said):
    return {"labels": {f"lifecycle.{name}": value for name, value in said.items()}}


# R28, R50-R66: the sequence


def test_an_unhealthy_one_is_restarted():
    assert actions(unhealthy("db"), service("web")) == ["restart db"]


def test_a_stopped_one_that_was_unhealthy_last_is_not():
    assert actions(unhealthy("db", state=State.EXITED, exit_code=0)) == []


def test_parents_first_and_their_dependents_wait():
    app = unhealthy("app", **on("db"))
    assert verdicts(unhealthy("db"), app) == {"db": "acts", "app": "waits"}
    starting = service("db", health=Health.STARTING, started=5)
    assert verdicts(starting, app) == {"db": "starting", "app": "waits"}
    assert verdicts(service("db", health=Health.HEALTHY), app) == {"db": "well", "app": "acts"}


@pytest.mark.parametrize(("ran", "said"), [(9, "starting"), (11, "well")])
def test_without_a_health_check_it_is_well_after_running_for_a_while(ran, said):
    db = service("db", started=ran)
    assert decided(db).verdict == said
    assert decided(db).again_in == (None if said == "well" else pytest.approx(1))


def test_a_follower_is_restarted_once_its_parent_was():
    memory = remembered(row("db", baseline=ago(7_200)))
    db, app = service("db", started=60), service("app", **on("db"))
    assert actions(db, app, memory=memory) == ["restart app"]
    assert actions(db, service("app", started=50, **on("db")), memory=memory) == []


def test_a_parent_that_is_seen_first_moves_nobody():
    db, app = service("db", started=60), service("app", **on("db"))
    assert actions(db, app) == []
    assert actions(db, app, memory=remembered(row("db", baseline=db.started_at))) == []


@pytest.mark.parametrize("restart", [False, None])
def test_who_is_not_to_follow_does_not_unless_all_do(restart):
    memory = remembered(row("db", baseline=ago(7_200)))
    fleet = service("db", started=60), service("app", **on("db", restart=restart))
    assert actions(*fleet, memory=memory) == []
    all_follow = Settings(docker_projects=("shop",), docker_follow_all=True)
    assert actions(*fleet, memory=memory, settings=all_follow) == ["restart app"]


def test_who_crashed_is_started_if_somebody_needs_it():
    assert actions(exited("db"), service("app", **on("db"))) == ["start db"]
    assert actions(exited("db")) == []
    assert actions(exited("db", **label(recover="true"))) == ["start db"]


# R16, R17, H2, H10: namespaces


def test_a_parent_that_has_started_since_has_a_new_namespace():
    vpn = service("vpn", started=60)
    assert actions(vpn, service("app", **inside(vpn))) == ["restart app"]
    assert actions(vpn, service("app", started=50, **inside(vpn))) == []


def test_a_replaced_parent_needs_a_new_dependent_and_never_a_restart():
    vpn = service("vpn", started=3_500)
    app = service("app", **inside(identity("old")), **on("vpn"))
    (action,) = look(vpn, app).actions
    assert (action.kind, action.id, action.shares) == ("recreate", app.id, {Share.NETNS: vpn.id})
    assert "vpn" in action.reason


def test_it_is_not_recreated_before_its_new_parent_is_well():
    app = service("app", **inside(identity("old")), **on("vpn"))
    assert verdicts(unhealthy("vpn"), app) == {"vpn": "acts", "app": "waits"}


def test_nobody_knows_what_took_the_parents_place():
    app = service("app", **inside(identity("old")))
    assert decided(app, service("vpn")).verdict == "waits"
    assert "is gone" in decided(app).reason


@pytest.mark.parametrize(
    ("fleet", "memory"),
    [
        ((service("vpn"), service("app", **inside(identity("old")), **label(parent="vpn"))), Memory()),
        ((service("vpn"), service("app", **inside(identity("old")), **label(parent="shop/vpn"))), Memory()),
        ((service("vpn"), service("app", **inside(identity("old")), **label(parent="shop-vpn-1"))), Memory()),
        (
            (service("vpn"), service("app", **inside(identity("old")))),
            remembered(row("vpn", ids=(identity("new"), identity("old")))),
        ),
        ((service("vpn"), service("db"), service("app", **inside(identity("old")), **on("vpn"))), Memory()),
        ((service("vpn"), service("app", **inside(identity("old")), **on("vpn", restart=None))), Memory()),
    ],
    ids=["service", "key", "name", "memory", "declared", "declared by an older Compose"],
)
def test_who_took_the_parents_place_is_known(fleet, memory):
    assert actions(*fleet, memory=memory) == ["recreate app"]


def test_a_parent_replaced_many_times_is_still_known_by_the_id_that_somebody_names():
    ids = tuple(identity(f"vpn of {day}") for day in range(20))
    memory = remembered(row("vpn", ids=ids))
    changes = look(service("vpn"), service("app", **inside(ids[15])), memory=memory).changes
    assert changes["shop/vpn"]["ids"] == (service("vpn").id, *ids[:9], ids[15])


def test_of_two_declared_parents_the_one_that_says_restart_is_meant():
    app = service("app", **inside(identity("old")))
    both = on("vpn")["depends_on"] + on("db", restart=False)["depends_on"]
    twins = on("vpn", "db")["depends_on"]
    vpn, db = service("vpn"), service("db")
    assert actions(vpn, db, service("app", shares=app.shares, depends_on=both)) == ["recreate app"]
    assert actions(vpn, db, service("app", shares=app.shares, depends_on=twins)) == []


def test_namespaces_that_live_are_kept():
    vpn, db = service("vpn"), service("db")
    app = service("app", shares={Share.NETNS: identity("old"), Share.IPC: db.id}, **label(parent="vpn"))
    (action,) = look(vpn, db, app).actions
    assert action.shares == {Share.NETNS: vpn.id, Share.IPC: db.id}


def test_who_ended_with_its_parent_is_started_after_it():
    vpn = service("vpn", started=30)
    error = f"cannot join network of a non running container: {vpn.id}"
    assert actions(vpn, exited("app", 143, error=error, **inside(vpn))) == ["start app"]
    newer = "cannot join network namespace of a non running container: container shop-vpn-1 is exited"
    assert actions(vpn, exited("app", 143, error=newer, **inside(vpn))) == ["start app"]
    assert actions(vpn, exited("app", 143, error="of container shop-vpn-10", **inside(vpn))) == []


def test_who_ended_before_is_left():
    vpn = service("vpn", started=30)
    assert actions(vpn, exited("app", 143, **inside(vpn))) == []


def test_a_pid_namespace_takes_its_processes_along():
    db = service("db", started=30, finished=31)
    assert actions(db, exited("app", 137, finished=31, **inside(db, Share.PID))) == ["start app"]
    assert actions(db, exited("app", 137, finished=300, **inside(db, Share.PID))) == []
    gone = exited("app", 137, shares={Share.PID: identity("old")}, **label(parent="db"))
    assert actions(db, gone) == ["recreate app"]


@pytest.mark.parametrize("job", [False, True], ids=["service", "job"])
def test_who_is_cut_off_does_not_wait_for_what_nobody_brings_back(job):
    """It would be without a network for as long as an operator keeps a database stopped."""
    vpn = service("vpn", started=60)
    needs_db = on("db", restart=False, condition="service_completed_successfully" if job else "service_started")
    app = service("app", **inside(vpn), **needs_db)
    assert actions(vpn, exited("db", 143), app) == ["restart app"]
    ill = service("db") if job else unhealthy("db")
    assert decided(app, vpn, ill).verdict == "waits"
    assert decided(service("app", health=Health.UNHEALTHY, **needs_db), exited("db", 143)).verdict == "waits"


def test_who_is_cut_off_waits_for_who_has_its_namespace_whoever_that_is():
    vpn = exited("vpn", 143)
    assert verdicts(vpn, service("app", **inside(identity("old")), **on("vpn"))) == {"vpn": "stopped", "app": "waits"}


def test_what_we_left_half_done_is_ended_whatever_the_circuit_says():
    """T20"""
    aside = exited("app", 143, name=f"shop-app-1{SET_ASIDE}")
    memory = remembered(row("app", opened_at=ago(30), acted_at=ago(30), next_at=ahead(290), recent=9, attempts=9))
    assert actions(aside, memory=memory) == ["tidy app"]
    memory = remembered(row("app", acted_at=ago(4), next_at=ahead(290), attempts=9))
    assert decided(aside, memory=memory).again_in == pytest.approx(6)


@pytest.mark.parametrize(("key", "name"), [("redis", "redis"), ("shop/db", "shop-db-1"), ("redis", "")])
def test_an_empty_word_means_nobody(key, name):
    assert not is_meant("", key, name)


def test_what_could_not_be_brought_back_is_re_created_only_if_somebody_says_so():
    """R66: `--rm`."""
    vpn = service("vpn")
    lost = {"auto_remove": True, **inside(identity("old")), **on("vpn")}
    said = decided(service("app", **lost), vpn)
    assert (said.verdict, said.action) == ("only told", None)
    assert actions(service("app", **lost, **label(recover="true")), vpn) == ["recreate app"]
    assert actions(service("app", **lost), vpn, asked=["app"]) == ["recreate app"]


def test_what_a_failed_restart_would_remove_is_restarted_only_if_somebody_says_so():
    """`--rm`"""
    (alert,) = look(unhealthy("app", auto_remove=True)).alerts
    assert alert.text == "unhealthy; made with --rm: recovered only by hand, or if labelled"
    assert actions(unhealthy("app", auto_remove=True)) == []
    assert actions(unhealthy("app", auto_remove=True, **label(recover="true"))) == ["restart app"]
    assert actions(unhealthy("app", auto_remove=True), asked=["app"]) == ["restart app"]


@pytest.mark.parametrize("names", [("a", "b", "c"), ("c", "a", "b"), ("b", "c", "a")])
def test_a_circle_is_opened_where_it_is_weakest(names):
    """R19: a namespace is never let go."""
    first, second, third = names
    lives = unhealthy(first, **on(third, restart=False))
    fleet = lives, service(second, **inside(lives)), service(third, **on(second))
    found = look(*fleet)
    assert [each.service.key for each in found.decisions] == [f"shop/{name}" for name in names]
    assert found.cycles == (("shop/a", "shop/b", "shop/c"),)


# R18, R65, H3: jobs


def test_a_running_job_is_not_begun_again():
    """T8: with its parent, or with whose pids it died."""
    app = service("app", **on("migrate", condition="service_completed_successfully"))
    for ill in (
        service("migrate", **inside(service("db", started=5), Share.NETNS)),
        unhealthy("migrate"),
        service("migrate", **inside(identity("old")), **on("db")),
        exited("migrate", 137, **inside(service("db", started=5), Share.PID)),
    ):
        db = service("db", started=50, finished=60.0)
        assert actions(db, ill, app) == [], ill
    assert actions(service("db"), unhealthy("migrate", **label(recover="true")), app) == ["restart migrate"]
    assert actions(service("db"), unhealthy("migrate"), app, asked=["migrate"])[:1] == ["restart migrate"]
    assert actions(unhealthy("migrate"), app, service("web", **on("migrate"))) == ["restart migrate"]


def test_an_init_container_of_the_short_form_is_waited_for_by_nobody():
    init = exited("init", 0)
    assert verdicts(init, unhealthy("app", **on("init", restart=None))) == {"init": "done", "app": "acts"}
    lost = unhealthy("app", **inside(init))
    assert decided(lost, init).verdict == "waits"


def test_a_parent_that_another_has_in_hand_is_not_ready():
    """T10: it may be well to look at, and about to be restarted."""
    held = remembered(row("b", locked_by="other", locked_until=ahead(7)))
    b = service("b")
    assert verdicts(b, unhealthy("c", **inside(b)), memory=held) == {"b": "in hand", "c": "waits"}


def test_a_finished_job_is_never_started_again():
    job = exited("migrate", 0)
    assert verdicts(job, unhealthy("app", **on("migrate", condition="service_completed_successfully"))) == {
        "migrate": "done",
        "app": "acts",
    }


def test_a_failed_job_is_not_recovered_and_holds_its_dependents():
    app = unhealthy("app", **on("migrate", condition="service_completed_successfully"))
    assert verdicts(exited("migrate", 1), app) == {"migrate": "left alone", "app": "waits"}


# R39, H4, H5: respect


@pytest.mark.parametrize("policy", [Policy.ALWAYS, Policy.UNLESS_STOPPED])
def test_what_its_engine_did_not_start_again_was_stopped(policy):
    db, app = exited("db", 1, policy=policy), service("app", **on("db"))
    assert decided(db, app).verdict == "stopped"
    assert decided(exited("db", 1, policy=policy, error="port is already allocated"), app).verdict == "acts"


@pytest.mark.parametrize(("retries", "count", "said"), [(3, 3, "acts"), (3, 1, "stopped"), (0, 9, "stopped")])
def test_an_engine_that_has_tried_in_vain(retries, count, said):
    db = exited("db", 1, policy=Policy.ON_FAILURE, max_retries=retries, restart_count=count)
    assert decided(db, service("app", **on("db"))).verdict == said


@pytest.mark.parametrize(("code", "said"), [(143, "stopped"), (137, "stopped"), (130, "stopped"), (1, "acts")])
def test_without_a_policy_the_exit_code_tells(code, said):
    assert decided(exited("db", code), service("app", **on("db"))).verdict == said


def test_out_of_memory_is_no_stop():
    assert decided(exited("db", 137, oom_killed=True), service("app", **on("db"))).verdict == "acts"


@pytest.mark.parametrize(
    ("fate", "recover", "said"),
    [
        (Fate.STOPPED, "", "stopped"),
        (Fate.CRASHED, "", "acts"),
        (Fate.KILLED, "", "stopped"),
        (Fate.KILLED, "true", "acts"),
        (Fate.STOPPED, "true", "stopped"),
    ],
)
def test_how_it_was_heard_to_end_counts_more(fate, recover, said):
    db = exited("db", 137, policy=Policy.ALWAYS, **label(recover=recover))
    memory = remembered(row("db", fate=fate, fate_id=db.id))
    assert decided(db, service("app", **on("db")), memory=memory).verdict == said


def test_a_start_that_failed_was_wanted_whatever_was_heard_before_it():
    """`docker restart` tells of a stop first."""
    db = exited("db", 143, error="driver failed programming external connectivity")
    memory = remembered(row("db", fate=Fate.STOPPED, fate_id=db.id))
    assert decided(db, service("app", **on("db")), memory=memory).verdict == "acts"


def test_how_another_container_of_its_name_ended_does_not():
    memory = remembered(row("db", fate=Fate.STOPPED, fate_id=identity("old")))
    assert decided(exited("db"), service("app", **on("db")), memory=memory).verdict == "acts"


def test_a_stopped_parent_leaves_its_dependents_in_peace():
    vpn = exited("vpn", 143)
    fleet = vpn, service("app", **inside(vpn)), unhealthy("web", **on("vpn"))
    assert verdicts(*fleet) == {"vpn": "stopped", "app": "well", "web": "waits"}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State.PAUSED, "paused by an operator"),
        (State.RESTARTING, "its engine is restarting it"),
        (State.REMOVING, "being removed"),
        (State.DEAD, "being removed"),
    ],
)
def test_the_engine_or_an_operator_is_at_work(state, said):
    vpn = service("vpn")
    app = unhealthy("app", state=state, **inside(identity("old")), **on("vpn"))
    for asked in ([], ["app"]):
        assert actions(vpn, app, service("web", **on("app")), asked=asked) == []
        assert decided(app, vpn, asked=asked).reason == said


def test_what_somebody_is_about_to_start():
    assert actions(service("db", state=State.CREATED, started=None), service("app", **on("db"))) == []


def test_others_at_work_on_it_or_on_its_parent():
    vpn, app = service("vpn", created=20, started=15), unhealthy("app", **on("vpn"))
    assert verdicts(vpn, app) == {"vpn": "well", "app": "quiet"}
    assert decided(app, vpn).again_in == pytest.approx(40)
    memory = remembered(row("app", quiet_until=ahead(30)))
    assert decided(app, service("vpn"), memory=memory).again_in == pytest.approx(30)


def test_what_we_have_made_ourselves_is_not_young():
    vpn, app = service("vpn", created=20, started=15), unhealthy("app", **on("vpn"))
    assert actions(vpn, app, memory=remembered(row("vpn", made_id=vpn.id))) == ["restart app"]


def test_of_two_containers_of_a_service_the_running_one_counts():
    old = exited("db", 143, id=identity("old"), name="0123_shop-db-1", created=7_200)
    new = unhealthy("db")
    assert {each.service.id: each.verdict for each in look(old, new).decisions} == {
        old.id: "left alone",
        new.id: "acts",
    }


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (label(recover="false"), "left alone"),
        (label(recover="perhaps"), "left alone"),
        (label(recover="notify"), "only told"),
        (label(recover="TRUE"), "acts"),
        ({"project": "blog"}, "left alone"),
        ({"project": "blog", **label(recover="true")}, "acts"),
    ],
)
def test_whose_it_is(known, said):
    assert decided(unhealthy("db", **known)).verdict == said


def test_what_compose_run_started_is_nobody_for_us():
    run = one_off("db", health=Health.UNHEALTHY, created=100, started=99, **on("vpn"))
    assert decided(run).verdict == "left alone"
    assert verdicts(exited("vpn"), run)["vpn"] == "left alone"
    memory = remembered(row("db", baseline=ago(9_999)))
    db, app = service("db"), service("app", started=3_599, **on("db"))
    assert {each.service.name: str(each.verdict) for each in look(db, run, app, memory=memory).decisions} == {
        db.name: "well",
        run.name: "left alone",
        app.name: "well",
    }
    assert actions(unhealthy("db"), run) == ["restart db"]
    waiting = unhealthy("app", **on("db"))
    assert decided(waiting, unhealthy("db"), one_off("db")).verdict == "waits"


def test_a_service_of_the_same_name_in_another_project_is_no_parent():
    theirs = unhealthy("db", project="blog")
    assert actions(theirs, unhealthy("app", **on("db"))) == ["restart app"]


def test_without_a_setting_only_our_own_project_is_meant():
    db, own, other = unhealthy("db"), service("watch"), unhealthy("db", project="blog")
    bare = Settings()
    assert actions(db, settings=bare) == []
    assert actions(db, own, other, settings=bare, own=own.id) == ["restart db"]
    assert actions(db, other, settings=Settings(docker_projects=("*",))) == ["restart db", "restart db"]


def test_we_do_not_restart_ourselves():
    watch = unhealthy("watch")
    assert decided(watch, own=watch.id).verdict == "left alone"


def test_paused_by_hand():
    memory = remembered(row("db", paused=True))
    assert verdicts(unhealthy("db"), unhealthy("app", **on("db")), memory=memory) == {"db": "paused", "app": "waits"}


def test_in_another_hand():
    memory = remembered(row("db", locked_by="other", locked_until=ahead(7)))
    found = decided(unhealthy("db"), memory=memory)
    assert (found.verdict, found.again_in) == ("in hand", pytest.approx(7))
    assert decided(unhealthy("db"), memory=remembered(row("db", locked_by="dead", locked_until=ago(1)))).action


def test_what_is_in_another_hand_is_not_written_over():
    held = row("db", locked_by="other", locked_until=ahead(7))
    assert look(unhealthy("db"), memory=remembered(held)).changes == {}


def test_once_it_runs_again_how_it_ended_is_forgotten():
    db = service("db")
    known = {"ids": (db.id,), "name": db.name, "fate": Fate.STOPPED}
    assert look(db, memory=remembered(row("db", fate_id=db.id, **known))).changes["shop/db"]["fate"] is None
    ended = exited("db", 143)
    assert "fate" not in look(ended, memory=remembered(row("db", fate_id=db.id, **known))).changes["shop/db"]
    other = remembered(row("db", fate_id=identity("old"), **known))
    assert look(ended, memory=other).changes["shop/db"]["fate"] is None


# R70-R80, H17: limits


def test_a_recovery_is_put_off_until_its_time_has_come():
    found = decided(unhealthy("db"), memory=remembered(row("db", attempts=1, next_at=ahead(8), acted_at=ago(40))))
    assert (found.verdict, found.again_in) == ("cools down", pytest.approx(8))
    assert decided(unhealthy("db"), memory=remembered(row("db", attempts=1, next_at=ago(1), acted_at=ago(40)))).action


def test_who_was_restarted_has_time_to_become_healthy():
    found = decided(unhealthy("db"), memory=remembered(row("db", attempts=1, next_at=ago(1), acted_at=ago(12))))
    assert (found.verdict, found.again_in) == ("cools down", pytest.approx(18))


def test_over_its_budget_the_circuit_opens_with_one_alert():
    made = look(unhealthy("db"), memory=remembered(row("db", attempts=5, recent=5)))
    assert [str(each.verdict) for each in made.decisions] == ["circuit open"]
    assert made.changes["shop/db"]["opened_at"] == NOW
    assert [(each.tone, each.key) for each in made.alerts] == [("broken", "shop/db")]
    told = row("db", attempts=5, recent=5, opened_at=ago(1), told="recovered", acted_at=ago(60))
    assert look(unhealthy("db"), memory=remembered(told)).alerts == ()


@pytest.mark.parametrize(("since", "said"), [(899, "circuit open"), (901, "acts")])
def test_an_open_circuit_is_probed_once_in_a_while(since, said):
    memory = remembered(row("db", attempts=5, recent=5, opened_at=ago(2_000), acted_at=ago(since)))
    assert decided(unhealthy("db"), memory=memory).verdict == said


def test_well_for_long_all_is_forgotten_with_one_alert():
    db = service("db", health=Health.HEALTHY)
    bad = {"attempts": 5, "opened_at": ago(2_000), "told": "recovered 5 times"}
    fresh = look(db, memory=remembered(row("db", **bad)))
    assert (fresh.changes["shop/db"]["well_since"], fresh.alerts) == (NOW, ())
    over = look(db, memory=remembered(row("db", well_since=ago(601), **bad)))
    assert over.changes["shop/db"]["attempts"] == 0
    assert over.changes["shop/db"]["forgiven_at"] == NOW
    assert [str(each.tone) for each in over.alerts] == ["resolved"]


def test_unwell_once_the_time_begins_anew():
    memory = remembered(row("db", attempts=1, well_since=ago(500), next_at=ahead(5)))
    assert look(unhealthy("db"), memory=memory).changes["shop/db"]["well_since"] is None


LOST = inside(identity("old"))
WAITS_FOR = unhealthy("app", **on("db"))


@pytest.mark.parametrize(
    ("fleet", "words"),
    [
        ([service("app", **LOST)], "waits"),
        ([WAITS_FOR, exited("db", 1, policy=Policy.ALWAYS)], "unhealthy; waits: waits for shop/db"),
        ([service("app", health=Health.STARTING)], "not healthy yet"),
        ([unhealthy("app", created=5)], "quiet: others are at work"),
        ([unhealthy("app")], "unhealthy; acts: unhealthy"),
    ],
    ids=["no heir", "waits", "starting", "quiet", "acts"],
)
def test_what_is_wrong_for_long_is_told_of_whatever_is_decided(fleet, words):
    """R54: once, and again when it is well."""
    first = fleet[0]
    begins = look(*fleet)
    assert begins.alerts == ()
    assert begins.changes["shop/app"]["since"] == NOW
    assert look(*fleet, memory=remembered(row("app", since=ago(599)))).alerts == ()
    lasts = look(*fleet, memory=remembered(row("app", since=ago(600))))
    (alert,) = lasts.alerts
    assert (str(alert.tone), alert.key) == ("broken", "shop/app")
    assert alert.text.startswith("not well since 2025-12-31 23:50:00 UTC: ")
    assert words in alert.text
    told = remembered(row("app", since=ago(600), **lasts.changes["shop/app"]))
    assert look(*fleet, memory=told).alerts == ()
    assert look(*fleet, memory=remembered(row("app", since=ago(600), told="for another reason"))).alerts == ()
    over = look(service("app", id=first.id), memory=told)
    assert [str(each.tone) for each in over.alerts] == ["resolved"]
    assert over.changes["shop/app"]["since"] is None


@pytest.mark.parametrize(
    ("one", "known"),
    [(exited("app", 143), {}), (exited("app", 0), {}), (unhealthy("app"), {"paused": True}), (exited("app"), {})],
    ids=["stopped", "done", "paused", "not needed"],
)
def test_what_nobody_wants_otherwise_is_told_of_never(one, known):
    made = look(one, memory=remembered(row("app", since=ago(9_000), **known)))
    assert made.alerts == ()
    assert made.changes["shop/app"]["since"] is None


def test_who_only_wants_to_be_told_of_is_told_of_once_and_again_when_well():
    db = unhealthy("db", **label(recover="notify"))
    first = look(db)
    assert [(str(each.tone), each.text) for each in first.alerts] == [("broken", "unhealthy")]
    told = remembered(row("db", **first.changes["shop/db"]))
    assert look(db, memory=told).alerts == ()
    assert [str(each.tone) for each in look(service("db", labels=db.labels), memory=told).alerts] == ["resolved"]


def noted(target, reference=None):
    failed = Unrestartable(id=target.id, name=target.name, reason="No such container", reference=reference)
    return Memory(unrestartable={target.id: failed})


def test_a_container_that_cannot_be_restarted_is_not_tried_again_and_its_successor_is():
    db = unhealthy("db")
    assert decided(db, memory=noted(db)).verdict == "given up"
    assert decided(unhealthy("db", id=identity("new")), memory=noted(db)).verdict == "acts"


def test_a_missing_parent_that_has_come_back_lifts_it():
    vpn = service("vpn")
    app = service("app", **inside(identity("old")), **on("vpn"))
    assert decided(app, vpn, memory=noted(app, identity("old"))).verdict == "acts"
    assert decided(app, vpn, memory=noted(app, vpn.id)).verdict == "given up"


def test_an_engine_that_refuses_is_only_observed():
    memory = remembered(row("db"))
    refusing = Memory(services={**memory.services, ENGINE: row("x", quiet_until=ahead(60))})
    assert decided(unhealthy("db"), memory=refusing).verdict == "only observed"


# by hand, and what is left behind


def test_what_is_asked_for_by_hand_is_recovered_and_nothing_else():
    vpn = exited("vpn", 143)
    fleet = vpn, unhealthy("app", **on("vpn")), unhealthy("web")
    assert actions(*fleet, asked=["vpn"]) == ["start vpn"]
    assert actions(*fleet, asked=["app"]) == []
    spent = remembered(row("web", attempts=9, recent=9, next_at=ahead(99), opened_at=ago(1), quiet_until=ahead(9)))
    assert actions(*fleet, memory=spent, asked=["web"]) == ["restart web"]
    assert look(*fleet, asked=["web"]).changes.keys() == {"shop/web"}


def test_with_what_is_asked_for_goes_what_depends_on_it():
    vpn = service("vpn", started=60)
    fleet = vpn, service("app", **inside(vpn)), unhealthy("web")
    assert actions(*fleet, asked=["vpn"]) == ["restart app"]


def test_a_recreation_that_was_cut_off_is_tidied():
    old = service("app", name=f"shop-app-1{SET_ASIDE}", id=identity("old"), state=State.EXITED, exit_code=143)
    (action,) = look(service("app"), old).actions
    assert (action.kind, action.id, action.key) == ("tidy", old.id, "shop/app")
    held = remembered(row("app", locked_by="other", locked_until=ahead(9)))
    assert look(service("app"), old, memory=held).actions == []


def test_a_dry_question_is_answered_the_same_each_time():
    fleet = [unhealthy("db"), service("app", **on("db")), exited("migrate", 0)]
    seen = snapshot(*fleet)
    assert plan(seen, Memory(), SETTINGS, NOW) == plan(snapshot(*reversed(fleet)), Memory(), SETTINGS, NOW)

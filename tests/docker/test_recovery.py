"""Recovery by passes, as beat has them made: what is repaired, in which order, and what is left alone."""

import multiprocessing
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from lifecycle.domain.recovery import Unrestartable
from lifecycle.errors import DaemonTrouble
from lifecycle.services.engine import Engine
from lifecycle.services.monitor import monitor_of, recover_services
from lifecycle.store import unrestartables
from lifecycle.store.engine import Database
from tests.docker.scene import DEAF, HEALTH, LASTING, MARK, SERVICE
from tests.docker.waiting import eventually

pytestmark = pytest.mark.docker

BOTH = ["eth0", "lo"]
SLOWLY = "rm -f /healthy; sleep 2; touch /healthy; " + LASTING
GRADUAL = {**HEALTH, "StartPeriod": 30_000_000_000}
CRASHING = "while [ ! -e /crash ]; do sleep 0.05; done; rm /crash; exit 3"


def replace(scene, service="parent", **options):
    """What an updater does."""
    scene.api.remove_container(scene.id(service), force=True)
    return scene.up(service, **options)


def falls_ill(scene, service):
    scene.run_in(service, "rm", "/healthy")
    eventually(lambda: scene.state(service)["Health"]["Status"] == "unhealthy")


def is_healthy(scene, service):
    return scene.state(service).get("Health", {}).get("Status") == "healthy"


def healthy(scene, service, script="touch /healthy; " + LASTING, health=HEALTH, **options):
    """A service that has been seen healthy."""
    service_id = scene.up(service, script, Healthcheck=health, **options)
    eventually(lambda: is_healthy(scene, service))
    return service_id


def test_a_dependent_of_a_replaced_parent_is_made_again(scene, ward):
    """T1"""
    child = scene.up("child", host=scene.sharing(scene.up("parent")), StopTimeout=1)
    ward.calm(1)
    parent = replace(scene)
    ward.recover_until(lambda: scene.interfaces("child") == BOTH)
    assert ward.done == ["recreate child"]
    assert scene.id("child") != child
    assert scene.id("parent") == parent
    assert scene.names() == [scene.name("child"), scene.name("parent")]
    ward.calm()


def test_by_passes_alone_a_kill_is_told_from_a_stop(scene, ward):
    """T4: with nobody who listened, and exit codes that say nothing."""
    leaves = "trap 'exit 2' TERM; sleep 100000 & wait"
    killed = scene.up("killed", labels={"lifecycle.recover": "true"}, host={"RestartPolicy": {"Name": "always"}})
    stopped = scene.up("stopped", leaves, labels={"lifecycle.recover": "true"})
    scene.api.kill(killed, "KILL")
    scene.api.stop(stopped)
    ward.recover_until(lambda: scene.state("killed")["Running"])
    ward.calm()
    assert ward.done == ["start killed"]
    assert scene.state("stopped")["ExitCode"] == 2


def test_a_dependent_of_a_restarted_parent_is_restarted_once(scene, ward):
    """T2"""
    parent = scene.up("parent")
    child = scene.up("child", host=scene.sharing(parent))
    scene.api.restart(parent, timeout=1)
    before = scene.started("parent")
    ward.recover_until(lambda: scene.interfaces("child") == BOTH)
    ward.calm()
    assert ward.done == ["restart child"]
    assert (scene.id("child"), scene.started("parent")) == (child, before)


def test_a_dependent_of_a_parent_that_its_engine_restarted_is_restarted_once(scene, ward):
    """T3"""
    parent = scene.up("parent", CRASHING, host={"RestartPolicy": {"Name": "always"}})
    scene.up("child", host=scene.sharing(parent))
    before = scene.started("parent")
    scene.run_in("parent", "touch", "/crash")
    eventually(lambda: scene.started("parent") != before and scene.state("parent")["Running"])
    ward.recover_until(lambda: scene.interfaces("child") == BOTH)
    ward.calm()
    assert ward.done == ["restart child"]
    assert scene.id("parent") == parent


def test_what_an_operator_stops_stays_so_until_it_is_started(scene, ward):
    """T4"""
    parent = scene.up("parent")
    scene.up("child", host=scene.sharing(parent))
    ward.calm(1)
    scene.api.stop(parent)
    ward.calm()
    assert not scene.state("parent")["Running"]
    assert scene.state("child")["Running"]
    scene.api.start(parent)
    ward.recover_until(lambda: scene.interfaces("child") == BOTH)
    assert ward.done == ["restart child"]


LEAVES = "trap 'sleep {}; exit 2' TERM; sleep 100000 & wait"  # an exit code that says nothing of a stop


def test_a_stop_that_comes_into_our_restart_holds(scene, ward):
    """H4: both stop the same life of it, and our start comes after that."""
    parent = scene.up("parent")
    child = scene.up("child", LEAVES.format(1.5), host=scene.sharing(parent), labels={"lifecycle.recover": "true"})
    ward.calm(1)
    scene.api.restart(parent, timeout=1)
    with told(scene, "kill") as kills:
        thread = threading.Thread(target=lambda: ward.recover_until(lambda: ward.done))
        thread.start()
        next(kills)
        scene.api.stop(child)
    thread.join()
    assert ward.done == ["restart child"]
    ward.calm()
    assert not scene.state("child")["Running"]
    assert ward.verdicts()["child"] == "stopped: stopped by an operator"
    scene.api.start(child)
    ward.calm()
    assert scene.state("child")["Running"]


def test_another_restart_that_comes_into_ours_is_no_stop(scene, ward):
    from docker.errors import APIError

    parent = scene.up("parent")
    child = scene.up("child", LEAVES.format(1), host=scene.sharing(parent))
    ward.calm(1)
    scene.api.restart(parent, timeout=1)
    with told(scene, "kill") as kills:
        thread = threading.Thread(target=lambda: ward.recover_until(lambda: ward.done))
        thread.start()
        next(kills)
        with suppress(APIError):
            scene.api.restart(child)
    thread.join()
    ward.calm()
    assert scene.state("child")["Running"]


def test_a_stop_that_comes_into_our_re_creation_holds(scene, ward):
    child = scene.up("child", LEAVES.format(1.5), host=scene.sharing(scene.up("parent")))
    ward.calm(1)
    replace(scene)
    with told(scene, "kill") as kills:
        thread = threading.Thread(target=lambda: ward.recover_until(lambda: ward.done))
        thread.start()
        eventually(lambda: next(kills)["id"] == child)
        scene.api.stop(child)
    thread.join()
    assert ward.done == ["recreate child"]
    ward.calm()
    assert not scene.state("child")["Running"]
    assert scene.id("child") != child


def test_a_stop_of_what_we_have_just_started_holds(scene, new_ward):
    """Within the moment for which it is watched."""
    ward = new_ward(docker_settle=1.0)
    one = scene.up("one", "trap 'exit 2' TERM; " + CRASHING, labels={"lifecycle.recover": "true"})
    ward.calm(1)
    scene.run_in("one", "touch", "/crash")
    eventually(lambda: not scene.state("one")["Running"])
    with told(scene, "start") as starts:
        thread = threading.Thread(target=lambda: ward.recover_until(lambda: ward.done))
        thread.start()
        next(starts)
        scene.api.stop(one)
    thread.join()
    assert ward.done == ["start one"]
    ward.calm()
    assert not scene.state("one")["Running"]


@contextmanager
def told(scene, action):
    """What the engine tells of this scene from now on."""
    filters = {"event": action, "label": f"{MARK}={scene.project}"}
    stream = scene.api.events(decode=True, filters=filters)
    try:
        yield stream
    finally:
        stream.close()


def test_a_parent_that_takes_long_to_get_healthy_is_restarted_once(scene, new_ward):
    """T6"""
    ward = new_ward(docker_patience=0.3, docker_backoff=(0.3,))
    parent = healthy(scene, "parent", SLOWLY, GRADUAL)
    child = scene.up("child", depends_on="parent:service_healthy:true")
    ward.recover()
    before = scene.started("child")
    falls_ill(scene, "parent")
    ward.recover_until(lambda: scene.started("child") != before)
    ward.calm()
    assert ward.done == ["restart parent", "restart child"]
    assert (scene.id("parent"), scene.id("child")) == (parent, child)


def test_one_without_health_check_is_well_when_it_has_run_for_a_while(scene, ward):
    """T7"""
    scene.up("parent", CRASHING)
    scene.up("child", host=scene.sharing(scene.id("parent")))
    scene.run_in("parent", "touch", "/crash")
    eventually(lambda: not scene.state("parent")["Running"])
    ward.recover_until(lambda: scene.state("parent")["Running"] and scene.interfaces("child") == BOTH)
    assert ward.done == ["start parent", "restart child"]
    ward.calm()


def test_a_job_that_is_done_is_never_done_again(scene, ward):
    """T8"""
    database = scene.up("database")
    scene.up("job", "exit 0", depends_on="database:service_started:true")
    scene.up("app", depends_on="job:service_completed_successfully:true,database:service_started:true")
    eventually(lambda: scene.state("job")["Status"] == "exited")
    done = scene.state("job")
    ward.recover()
    before = scene.started("app")
    scene.api.restart(database, timeout=1)
    ward.recover_until(lambda: scene.started("app") != before)
    ward.calm()
    assert ward.done == ["restart app"]
    assert scene.state("job") == done


def test_another_project_is_not_touched(scene, ward):
    """T9"""
    other = f"{scene.project}-other"
    for project in (scene.project, other):
        parent = scene.up("db", project=project)
        scene.up("app", project=project, host=scene.sharing(parent))
        scene.api.restart(parent, timeout=1)
    theirs = scene.api.inspect_container(f"{other}-app-1")["State"]
    ward.recover_until(lambda: scene.interfaces("app") == BOTH)
    ward.calm()
    assert ward.done == ["restart app"]
    assert scene.api.inspect_container(f"{other}-app-1")["State"] == theirs


def test_a_chain_is_recovered_from_its_top_each_once(scene, ward):
    """T10"""
    top = healthy(scene, "a")
    middle = scene.up("b", host=scene.sharing(top))
    scene.up("c", host=scene.sharing(middle))
    ward.calm(1)
    falls_ill(scene, "a")
    ward.recover_until(lambda: ward.done[-1:] == ["restart c"])
    ward.calm()
    assert ward.done == ["restart a", "restart b", "restart c"]
    assert scene.started("a") < scene.started("b") < scene.started("c")
    assert scene.interfaces("c") == BOTH


def test_a_child_of_two_parents_ends_newer_than_both(scene, new_ward):
    """T11"""
    ward = new_ward(docker_backoff=(1.5,))
    first, second = scene.up("first"), scene.up("second")
    scene.up("child", depends_on="first:service_started:true,second:service_started:true")
    ward.recover()
    scene.api.restart(first, timeout=1)
    ward.recover_until(lambda: ward.done == ["restart child"])
    scene.api.restart(second, timeout=1)
    ward.recover_until(lambda: ward.done == ["restart child", "restart child"])
    assert scene.started("child") > scene.started("second")
    ward.calm()


def test_a_new_container_of_the_name_of_one_that_was_given_up_is_recovered(scene, ward):
    """T13"""
    parent = scene.up("parent")
    deaf = scene.up("child", DEAF, host=scene.sharing(parent), StopTimeout=2)
    scene.api.restart(parent, timeout=1)
    removed = threading.Thread(
        target=lambda: (
            eventually(lambda: ward.remembered("child").locked_by),
            scene.api.remove_container(deaf, force=True),
        )
    )
    removed.start()
    ward.recover_until(lambda: ward.done)
    removed.join()
    scene.up("child", host=scene.sharing(parent))
    scene.api.restart(parent, timeout=1)
    ward.recover_until(lambda: scene.interfaces("child") == BOTH)
    assert ward.remembered("child").failures == 0


def test_an_engine_that_hangs_charges_nobody(scene, new_ward, proxy):
    """T15: with one container alone it is that one's turn later, and the others' now."""
    ward = new_ward(docker_url=proxy.url, docker_timeout=1.0)
    parent = scene.up("parent")
    child = scene.up("child", host=scene.sharing(parent), StopTimeout=1)
    scene.up("other", host=scene.sharing(parent), StopTimeout=1)
    scene.api.restart(parent, timeout=1)
    eventually(lambda: "acts" in ward.verdicts()["child"])
    proxy.silences = lambda method, path: f"{child}/restart" in path
    assert ward.recover() == ["restart child", "restart other"]
    assert scene.interfaces("other") == BOTH
    row = ward.remembered("child")
    assert (row.attempts, row.recent, row.locked_by) == (1, 0, None)
    ward.done.clear()
    proxy.silences = lambda method, path: True
    with pytest.raises(DaemonTrouble):
        ward.recover()
    proxy.silences = lambda method, path: False
    ward.recover_until(lambda: scene.interfaces("child") == BOTH)
    assert ward.done == ["restart child"]
    assert scene.id("child") == child


def test_what_is_not_there_any_more_is_not_kept_as_given_up(scene, ward):
    """T16"""
    parent = scene.up("parent")
    child = scene.up("child", host=scene.sharing(parent))
    scene.api.restart(parent, timeout=1)
    eventually(lambda: "acts" in ward.verdicts()["child"])
    engine = ward.engine.snapshot().engine
    with ward.database.begin() as connection:
        for each in [child, *(f"{number:064x}" for number in range(101))]:
            failed = Unrestartable(id=each, name="made up", reason="a test")
            unrestartables.note(connection, engine, failed, present=[child])
        assert len(unrestartables.listed(connection, engine)) == 100
    ward.calm()
    with ward.database.read() as connection:
        assert list(unrestartables.listed(connection, engine)) == [child]
    assert ward.verdicts()["child"].startswith("given up")
    assert scene.interfaces("child") == ["lo"]


def test_one_that_does_not_get_well_is_given_up_with_one_alert(scene, new_ward, caplog):
    """T17"""
    ward = new_ward(docker_budget=3, docker_backoff=(0.2, 0.4), docker_patience=0.2, docker_healthy_after=0.3)
    scene.up("ill", Healthcheck=HEALTH)
    caplog.set_level("INFO", "lifecycle.docker")
    ward.recover_until(lambda: "circuit open" in ward.verdicts()["ill"])
    ward.calm()
    assert ward.done == ["restart ill"] * 3

    def alerts():
        return [record.message.split(" name=")[0] for record in caplog.records if record.message.startswith("alert")]

    assert alerts() == ["alert broken"]
    scene.run_in("ill", "touch", "/healthy")
    ward.recover_until(lambda: len(alerts()) > 1)
    ward.calm()
    assert alerts() == ["alert broken", "alert resolved"]


def test_a_re_creation_that_fails_is_told_of_and_leaves_what_was(scene, new_ward, caplog):
    """T12: its image is gone."""
    ward = new_ward(docker_healthy_after=0.3)
    child = scene.up("child", host=scene.sharing(scene.up("parent")), StopTimeout=1)
    ward.calm(1)
    replace(scene)
    create = ward.engine.create
    ward.engine.create = lambda name, body: create(name, {**body, "Image": "lifecycle-test:nothing"})
    caplog.set_level("INFO", "lifecycle.docker")
    ward.recover_until(lambda: len(ward.done) > 1)

    def alerts():
        return [record.message for record in caplog.records if record.message.startswith("alert")]

    (told,) = alerts()
    assert told.startswith(f"alert broken name={scene.name('child')}: recreate failed: ")
    assert "No such image" in told
    assert (scene.id("child"), scene.state("child")["Running"]) == (child, True)
    ward.engine.create = create
    ward.recover_until(lambda: len(alerts()) > 1)
    assert alerts()[1] == f"alert resolved name={scene.name('child')}: well again"


def test_a_proxy_that_lets_us_only_look_has_us_only_look(scene, new_ward, proxy, caplog):
    """T19"""
    proxy.refuses = lambda method, path: method == "POST"
    ward = new_ward(docker_url=proxy.url)
    parent = scene.up("parent")
    scene.up("child", host=scene.sharing(parent))
    scene.api.restart(parent, timeout=1)

    def tries():
        return [path for method, path in proxy.asked if method == "POST"]

    eventually(lambda: ward.recover() or tries())
    ward.calm()
    assert len(tries()) == 1
    assert [record.levelname for record in caplog.records if record.message.startswith("alert broken")] == ["ERROR"]
    assert scene.state("child")["Running"]
    proxy.refuses = lambda method, path: False
    assert ward.verdicts()["child"].startswith("only observed")


@pytest.mark.parametrize(
    ("label", "verdict"), [("false", "left alone"), ("notify", "only told"), ("no such word", "left alone")]
)
def test_labels_are_obeyed(scene, ward, label, verdict):
    parent = scene.up("parent")
    scene.up("child", host=scene.sharing(parent), labels={"lifecycle.recover": label})
    scene.api.restart(parent, timeout=1)
    eventually(lambda: verdict in ward.verdicts()["child"])
    ward.calm()
    assert scene.interfaces("child") == ["lo"]


def test_a_dry_run_only_tells(scene, new_ward):
    ward = new_ward(docker_dry_run=True)
    parent = scene.up("parent")
    scene.up("child", host=scene.sharing(parent))
    scene.api.restart(parent, timeout=1)
    eventually(lambda: "acts" in ward.verdicts()["child"])
    ward.calm()
    assert scene.interfaces("child") == ["lo"]


def test_two_at_once_recover_a_service_once(scene, ward, new_ward):
    parent = scene.up("parent")
    scene.up("child", host=scene.sharing(parent))
    scene.api.restart(parent, timeout=1)
    wards = [ward, new_ward()]
    eventually(lambda: all("acts" in each.verdicts()["child"] for each in wards))
    threads = [threading.Thread(target=each.recover) for each in wards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [act for each in wards for act in each.done] == ["restart child"]
    ward.calm()


def test_what_is_asked_for_by_hand_is_done_though_it_was_stopped(scene, ward):
    parent = scene.up("parent")
    scene.up("child", host=scene.sharing(parent))
    ward.calm(1)
    scene.api.stop(parent)
    ward.calm(1)
    assert ward.recover("parent")[:1] == ["start parent"]
    ward.recover_until(lambda: scene.interfaces("child") == BOTH)
    assert ward.done == ["start parent", "restart child"]


def test_a_recreation_whose_monitor_was_killed_is_ended_by_the_next(scene, new_ward):
    """T20"""
    ward = new_ward(docker_lock=2.0, docker_timeout=1.0)
    scene.up("child", host=scene.sharing(scene.up("parent")), StopTimeout=1)
    ward.calm(1)
    replace(scene)
    process = multiprocessing.get_context("spawn").Process(target=recover_and_die, args=(ward.settings,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert len(scene.names()) == 3
    ward.recover_until(lambda: scene.interfaces("child") == BOTH)
    assert scene.names() == [scene.name("child"), scene.name("parent")]
    ward.calm()


def test_who_was_held_up_leaves_the_service_to_who_took_it(scene, new_ward):
    """T20: his next step would stop what the other has brought back."""
    late, other = (new_ward(docker_lock=2.0, docker_timeout=1.0, docker_backoff=(60.0,)) for _ in range(2))
    child = scene.up("child", host=scene.sharing(scene.up("parent")), StopTimeout=1)
    late.calm(1)
    replace(scene)
    stop = late.engine.stop

    def stop_late(service):
        other.recover_until(lambda: other.done)
        stop(service)

    late.engine.stop = stop_late
    before = scene.started("child")
    late.recover_until(lambda: late.done)
    assert (late.done, other.done) == (["recreate child"], ["tidy child"])
    assert (scene.id("child"), scene.started("child")) == (child, before)
    assert scene.state("child")["Running"]
    assert scene.names() == [scene.name("child"), scene.name("parent")]


def recover_and_die(settings):
    """Passes, in a process of its own, until it comes to the start of what it has re-created."""
    engine = Engine(settings)
    engine.start = lambda service_id: os.kill(os.getpid(), signal.SIGKILL)
    database = Database(settings.database_url)
    while True:
        recover_services(database, engine, settings)
        time.sleep(0.1)


def test_labels_alone_bring_a_container_under_recovery(scene, new_ward):
    """No Compose at all."""
    ward = new_ward(docker_projects=())
    alone = {"lifecycle.recover": "true", "com.docker.compose.project": "", SERVICE: ""}
    scene.up("alone", CRASHING, labels=alone)
    scene.run_in("alone", "touch", "/crash")
    eventually(lambda: not scene.state("alone")["Running"])
    monitor = monitor_of(ward.database, ward.engine, ward.settings)
    eventually(lambda: [act.action.name for act in monitor.run().acts] == [scene.name("alone")])
    assert scene.state("alone")["Running"]

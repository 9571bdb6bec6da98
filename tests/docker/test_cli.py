"""`container docker` on a real engine: what it prints, and with what it exits."""

import os
import signal
import subprocess
import sys

import pytest

from lifecycle.runtime.docker import NAME
from lifecycle.store import passes, schema
from lifecycle.store.engine import Database
from tests.docker.scene import HEALTH, LASTING
from tests.docker.waiting import eventually
from tests.docker.ward import PACE
from tests.integration.test_cli_verbs import Commands, make_app

pytestmark = pytest.mark.docker

APP = """
from celery import Celery
from lifecycle import Lifecycle

app = Celery("shop", broker="memory://")
app.conf.update({conf!r})
Lifecycle(app)
"""


@pytest.fixture
def conf(engine, scene, tmp_path):
    url = f"sqlite:///{tmp_path / 'lifecycle.db'}"
    schema.migrate(Database(url))
    told = {"database_url": url, "docker_url": engine.url, "docker_projects": [scene.project], **PACE}
    return {f"lifecycle_{name}": value for name, value in told.items()}


@pytest.fixture
def celery(conf):
    app = make_app(conf["lifecycle_database_url"])
    app.conf.update(conf)
    yield Commands(app)
    app.lifecycle.database.dispose()


def settled(scene, celery):
    """A parent and its dependent, both well."""
    parent = scene.up("parent", "touch /healthy; " + LASTING, Healthcheck=HEALTH)
    scene.up("child", host=scene.sharing(parent))
    eventually(lambda: {each["verdict"] for each in celery.json("docker", "status", "--json")} == {"well"})


def falls_ill(scene):
    scene.run_in("parent", "rm", "/healthy")
    eventually(lambda: scene.state("parent")["Health"]["Status"] == "unhealthy")


def test_status_shows_each_service_and_what_is_decided(scene, celery):
    settled(scene, celery)
    scene.up("job", "exit 0")
    scene.up("other", project=f"{scene.project}-other")
    eventually(lambda: scene.state("job")["Status"] == "exited")
    lines = celery.lines("docker", "status")
    assert lines[0].split() == ["SERVICE", "ID", "STATE", "VERDICT", "REASON", "RECOVERIES", "LAST", "NEXT"]
    shown = {line.split()[0].split("/")[1]: " ".join(line.split()[2:]) for line in lines[2:-1]}
    assert shown["parent"] == "running, healthy well healthy 0 - -"
    assert shown["child"] == "running well running 0 - -"
    assert shown["job"] == "exited (0) done ended with exit code 0 0 - -"
    assert lines[-1].startswith("Total: 3 services (hidden: ")
    assert f"{scene.project}-other/other" in "\n".join(celery.lines("docker", "status", "--show-all"))


def test_recover_says_what_it_would_do_then_what_it_did_and_what_is_left(scene, celery):
    settled(scene, celery)
    assert celery.lines("docker", "recover") == ["Nothing to recover"]
    falls_ill(scene)
    parent, child = f"{scene.project}/parent", f"{scene.project}/child"
    before = scene.started("parent")
    assert celery.lines("docker", "recover", "--dry-run") == [f"would restart {parent}: unhealthy"]
    assert scene.started("parent") == before
    done = celery.lines("docker", "recover")
    eventually(lambda: done.extend(celery.lines("docker", "recover")) or any(child in line for line in done))
    assert [line for line in done if line.startswith("restart")] == [
        f"restart {parent}: unhealthy",
        f"restart {child}: {parent} has started since, with a new netns",
    ]
    (found,) = celery.json("docker", "status", "parent", "--json")
    assert (found["recoveries"], found["failures"]) == (1, 0)
    assert celery.lines("docker", "status", "parent")[-1] == "Last 1 action"


def test_what_fails_is_said_and_counts(scene, celery):
    scene.up("broken", "exit 3", labels={"lifecycle.recover": "true"})
    eventually(lambda: scene.state("broken")["Status"] == "exited")
    ran = celery("docker", "recover", "broken")
    assert ran.exit_code == 1
    assert f"start {scene.project}/broken: asked for; failed: " in ran.stdout


def test_a_pause_holds_and_a_reset_ends_it(scene, celery):
    settled(scene, celery)
    celery.lines("docker", "recover")
    assert celery.lines("docker", "pause", "parent") == [f"paused {scene.project}/parent"]
    falls_ill(scene)
    assert celery.lines("docker", "recover") == ["Nothing to recover"]
    assert celery.lines("docker", "recover", "parent") == [f"{scene.project}/parent paused: paused by hand"]
    celery.lines("docker", "reset", "parent")
    assert celery.lines("docker", "recover")[0] == f"restart {scene.project}/parent: unhealthy"


def test_who_means_two_projects_has_to_say_which(scene, celery):
    other = f"{scene.project}-other"
    scene.up("parent")
    scene.up("parent", project=other)
    said = celery.refusal("docker", "recover", "parent")
    assert said == f"Error: parent is several services, say which: {other}/parent, {scene.project}/parent"
    assert celery("docker", "recover", f"{scene.project}/parent").exit_code == 0


def test_what_is_not_there_is_named(scene, celery):
    assert celery.refusal("docker", "recover", "nope") == "Error: no such service: nope"


def test_the_task_of_beat_notes_that_it_looked(scene, celery):
    settled(scene, celery)
    falls_ill(scene)
    app = celery.context.app
    assert app.tasks[f"lifecycle.{NAME}"]() >= 1
    with app.lifecycle.database.read() as connection:
        assert passes.runs(connection)[NAME].ended is not None


def test_the_watch_recovers_until_it_is_told_to_leave(scene, celery, conf, tmp_path):
    settled(scene, celery)
    (tmp_path / "shop.py").write_text(APP.format(conf=conf))
    command = [sys.executable, "-m", "celery", "-A", "shop", "container", "docker", "watch"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}  # noqa: PTH109
    log = tmp_path / "watch.log"
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as watch:
        try:
            with Database(conf["lifecycle_database_url"]).read() as connection:
                eventually(lambda: NAME in passes.runs(connection) or watch.poll() is not None)
            falls_ill(scene)
            eventually(lambda: "restart done name=" + scene.name("child") in log.read_text())
            watch.send_signal(signal.SIGTERM)
            assert watch.wait(60) == 0
        finally:
            watch.kill()
    assert f"restart name={scene.name('parent')}" in log.read_text()

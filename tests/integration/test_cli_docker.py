"""`container docker`, beat's entry and the check where no engine can be asked; tests/docker has them on a real one."""

import json
import logging

import pytest

from lifecycle.domain.check import Level
from lifecycle.domain.facts import Engine, Facts, Heard, Own, Pass, Recorded, Row
from lifecycle.domain.recovery import Fate, Plan, Unrestartable
from lifecycle.domain.service import ENGINE
from lifecycle.errors import EngineMissing
from lifecycle.runtime import docker, lookout
from lifecycle.runtime.schedule import _entries
from lifecycle.services.report import Report
from lifecycle.store import checks, services, unrestartables
from lifecycle.store.clock import later, now
from lifecycle.store.tables import passes
from tests.integration.test_cli_verbs import Commands, make_app, url_of

NOTHING = Facts(recorded=Recorded(), heard=Heard(), own=Own(versions={}, default_queue="celery"))
NOWHERE = "unix:///nonexistent/docker.sock"


@pytest.fixture
def app(database):
    app = make_app(url_of(database))
    app.conf.lifecycle_docker_url = NOWHERE
    return app


@pytest.fixture
def celery(app):
    return Commands(app)


@pytest.fixture
def known(database):
    """Two services of one engine, as passes have left them."""
    rows = {
        "shop/db": {"name": "shop-db-1", "verdict": "well", "reason": "healthy", "ids": ["c1"], "recoveries": 2},
        "shop/vpn": {"name": "shop-vpn-1", "verdict": "stopped", "reason": "stopped by an operator", "failures": 1},
    }
    with database.begin() as connection:
        for key, values in rows.items():
            memory, _ = services.recall(connection, "e1", within=1.0)
            services.save(connection, "e1", {key: values}, memory)
        services.observe(connection, "e1", ENGINE, seconds=60.0, why="403")
    return database


def row(database, key):
    with database.read() as connection:
        return services.recall(connection, "e1", within=1.0)[0].of(key)


def test_status_shows_what_is_remembered_and_says_so(celery, known):
    ran = celery("docker", "status")
    assert ran.exit_code == 0
    assert ran.stderr.startswith("The engine cannot be asked from here: ")
    assert ran.stderr.endswith("This is what is remembered.\n")
    lines = ran.stdout.splitlines()
    assert lines[0].split() == ["SERVICE", "CONTAINER", "VERDICT", "REASON", "RECOVERIES", "LAST"]
    assert lines[2].split() == ["shop/db", "shop-db-1", "well", "healthy", "2", "-"]
    assert "0 (1 failed)" in lines[3]
    assert lines[-1] == "Total: 2 services"


def test_status_as_json_and_of_one(celery, known):
    (found,) = json.loads(celery("docker", "status", "vpn", "--json").stdout)
    assert (found["key"], found["verdict"], found["failures"], found["acted_at"]) == ("shop/vpn", "stopped", 1, None)


def test_pause_and_reset(celery, known):
    assert celery.lines("docker", "pause", "db") == ["paused shop/db"]
    assert row(known, "shop/db").paused
    with known.begin() as connection:
        memory, _ = services.recall(connection, "e1", within=1.0)
        services.save(connection, "e1", {"shop/db": {"fate": Fate.STOPPED, "fate_id": "c1"}}, memory)
        failed = Unrestartable(id="c1", name="shop-db-1", reason="gone")
        unrestartables.note(connection, "e1", failed, set())
    assert celery.lines("docker", "reset", "shop-db-1") == ["reset shop/db"]
    assert (row(known, "shop/db").paused, row(known, "shop/db").fate) == (False, None)
    with known.read() as connection:
        assert unrestartables.listed(connection, "e1") == {}


@pytest.mark.parametrize("verb", ["pause", "reset"])
def test_what_nobody_has_seen_is_named(celery, known, verb):
    assert celery.refusal("docker", verb, "nope").startswith("Error: no such service: nope;")


@pytest.mark.parametrize("verb", ["pause", "reset"])
def test_who_means_services_of_several_projects_has_to_say_which(celery, known, verb):
    with known.begin() as connection:
        memory, _ = services.recall(connection, "e1", within=1.0)
        services.save(connection, "e1", {"blog/db": {"name": "blog-db-1"}}, memory)
    said = celery.refusal("docker", verb, "db")
    assert said == "Error: db is several services, say which: blog/db, shop/db"
    assert len(celery.lines("docker", verb, "shop/db")) == 1
    assert not row(known, "blog/db").paused


@pytest.mark.parametrize("verb", ["recover", "watch"])
def test_without_an_engine_one_line_says_so(celery, known, verb):
    handlers = logging.getLogger().handlers[:]
    try:
        assert "ocker" in celery.refusal("docker", verb)
    finally:
        logging.getLogger().handlers[:] = handlers


def test_the_help_names_the_verbs(celery):
    told = "\n".join(celery.lines("docker", "--help"))
    assert [verb for verb in ("status", "recover", "watch", "pause", "reset") if f"  {verb} " not in told] == []


def test_beat_has_an_entry_if_it_is_asked_for(app):
    app.conf.update(lifecycle_docker=True, lifecycle_docker_every=30, lifecycle_docker_queue="socket")
    assert _entries(app.lifecycle)[docker.TASK] == {
        "task": "lifecycle.docker_recover",
        "schedule": 30.0,
        "options": {"queue": "socket", "expires": 30.0},
    }


def test_beat_has_no_entry_if_nobody_asks(app):
    assert docker.TASK not in _entries(app.lifecycle)


def test_the_task_says_what_is_missing_and_does_not_fail(app, caplog):
    assert app.tasks[docker.TASK]() is None
    assert [record.levelname for record in caplog.records if record.message.startswith("no pass: ")] == ["WARNING"]


@pytest.mark.parametrize("url", ["tcp://[::1", "tcp://host:notaport", "npipe://x", "carrier-pigeon://coop", "http://"])
def test_an_address_that_is_none_is_said_in_a_line(app, url):
    app.conf.lifecycle_docker_url = url
    assert isinstance(lookout.reach(app.lifecycle.settings), EngineMissing)


def test_a_look_is_made_though_the_databases_clock_was_set_back(app):
    report = Report(acts=(), plan=Plan(decisions=()), engine="e1")
    assert docker._noted(app.lifecycle, lambda: report) == (0, report)
    with app.lifecycle.database.begin() as connection:
        connection.execute(passes.update().values(begun_at=later(now(), 3_600.0)))
    assert docker._noted(app.lifecycle, lambda: report) == (None, report)


# The check


def finds(app, begun=None, queues=(), *, ended=0.0, error=None, engines=(), **settings):
    app.conf.update({"lifecycle_docker": True, **settings})
    node = Row(id="n", pool="prefork", queues=frozenset(queues), types=frozenset(), late=-1.0)
    run_of = None if begun is None else Pass(begun=begun, ended=None if ended is None else begun + ended, error=error)
    passes = {} if run_of is None else {docker.NAME: run_of}
    facts = Facts(
        recorded=Recorded(id="db", rows=(node,), passes=passes, engines=tuple(engines)),
        heard=Heard(),
        own=Own(versions={}, default_queue="celery"),
    )
    return list(lookout.examine(app.lifecycle, facts))


def test_nothing_is_said_where_nobody_asks_for_it(app):
    assert list(lookout.examine(app.lifecycle, NOTHING)) == []


def test_it_needs_the_database(app):
    app.conf.lifecycle_docker = True
    assert [each.level for each in lookout.examine(app.lifecycle, NOTHING)] == [Level.SKIP]


def test_a_look_in_time_is_fine_whoever_can_reach_the_engine(app):
    (found,) = finds(app, begun=12)
    assert (found.check, found.level, found.message) == ("docker", Level.OK, "services were looked at 12 s ago")


@pytest.mark.parametrize(
    ("ended", "said"), [(None, "services were never looked at"), (595, "services were last looked at 600 s ago")]
)
def test_a_look_that_fails_each_time_is_none(app, ended, said):
    (found,) = finds(app, begun=5, ended=ended, queues=["lifecycle_docker"])
    assert found.level is Level.WARN
    assert found.message.split("; ")[0] == said


def test_why_the_last_look_failed_is_said(app):
    (found,) = finds(app, begun=5, ended=60, queues=["lifecycle_docker"], error="no socket")
    assert (found.level, found.message) == (Level.FAIL, "the last look at services failed: no socket")


FINE = {"name": "e1", "seen": 60.0, "heard": 60.0}
NAMED = {"lifecycle_docker_engine": "desk"}


@pytest.mark.parametrize(
    ("engine", "settings", "level", "words"),
    [
        ({"refusals": ("only observing",)}, {}, Level.WARN, "only observing"),
        ({"given_up": ("shop/a", "shop/b")}, {}, Level.FAIL, "given up for now: shop/a, shop/b;"),
        ({"name": ""}, {}, Level.WARN, "lifecycle_docker_engine"),
        ({"deaf": "broke off"}, {}, Level.WARN, "does not hear the engine's events: broke off"),
        ({"heard": 190.0}, {}, Level.WARN, "last heard the engine's events 190 s ago"),
        ({"heard": 190.0, "seen": 9e9, "given_up": ("a",)}, {}, Level.WARN, "last heard"),
        ({"heard": 170.0}, {}, Level.OK, "12 s ago"),
        ({"heard": None}, {}, Level.OK, "12 s ago"),
        ({"name": ""}, NAMED, Level.OK, "12 s ago"),
        ({"seen": 9e9, "name": "", "given_up": ("a",), "refusals": ("b",)}, {}, Level.OK, "12 s ago"),
    ],
    ids=["403", "circuits", "nameless", "broken", "dead", "dead for long", "alive", "none", "named", "left"],
)
def test_what_is_wrong_with_an_engine_is_said_in_a_line(app, engine, settings, level, words):
    (found,) = finds(app, begun=12, engines=[Engine(**{**FINE, **engine})], **settings)
    assert (found.check, found.level) == ("docker", level)
    assert words in found.message


def test_a_watch_alone_is_looked_at_too(app):
    watched = Engine(**{**FINE, "deaf": "broke off"})
    off = {"lifecycle_docker": False}
    assert [each.level for each in finds(app, begun=12, engines=[watched], **off)] == [Level.WARN]
    assert finds(app, begun=12, engines=[Engine(name="e1", seen=60.0)], **off) == []


def test_what_the_database_knows_of_engines(app, known):
    with known.begin() as connection:
        services.listened(connection, "e1", error=None)
        services.listened(connection, "e1", error="broke off")
        memory, _ = services.recall(connection, "e1", within=1.0)
        services.save(
            connection, "e1", {"shop/db": {"opened_at": later(now(), 0), "seen_at": later(now(), -60)}}, memory
        )
    (engine,) = checks.recorded(known).engines
    assert (engine.name, engine.refusals, engine.given_up, engine.deaf) == ("e1", ("403",), ("shop/db",), "broke off")
    assert (round(engine.seen), round(engine.heard)) == (60, 0)
    with known.begin() as connection:
        services.listened(connection, "e1", error=None)
    assert checks.recorded(known).engines[0].deaf is None
    with known.begin() as connection:
        services.listens_no_more(connection, "e1")
    assert checks.recorded(known).engines[0].heard is None


def test_the_task_keeps_why_it_failed(app):
    app.tasks[docker.TASK]()
    run_of = checks.recorded(app.lifecycle.database).passes[docker.NAME]
    assert "no Docker engine" in run_of.error
    report = Report(acts=(), plan=Plan(decisions=()), engine="e1")
    docker._noted(app.lifecycle, lambda: report)
    assert checks.recorded(app.lifecycle.database).passes[docker.NAME].error is None


def test_it_says_who_does_not_look_and_why(app):
    (found,) = finds(app)
    assert found.level is Level.WARN
    never, queue, here = found.message.split("; ")
    assert never == "services were never looked at"
    assert queue.startswith("no node consumes lifecycle_docker: start one with -Q lifecycle_docker")
    assert here.startswith("from here the engine cannot be asked: ")


def test_a_node_on_the_queue_is_seen(app):
    (found,) = finds(app, begun=121, queues=["lifecycle_docker"])
    assert found.message.split("; ")[0] == "services were last looked at 121 s ago"
    assert "no node" not in found.message


def test_settings_that_cannot_be_read_are_another_checks(app):
    app.conf.lifecycle_docker = "perhaps"
    assert list(lookout.examine(app.lifecycle, NOTHING)) == []

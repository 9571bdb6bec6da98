"""`container prune` on rows of a real database."""

import pytest

from lifecycle.store import prunes
from lifecycle.store.clock import later
from lifecycle.store.tables import container_logs, containers, nodes
from tests.integration.test_cli_verbs import Commands, make_app, url_of

DAY = 86_400


@pytest.fixture
def celery(database):
    return Commands(make_app(url_of(database)))


@pytest.fixture
def history(grove):
    """Two that ended 20 days ago, one below the other, one of 2 days ago, and one that runs and logged long ago."""
    grove.run("coord-123")
    grove.run("worker-1", "coord-123")
    grove.end("worker-1")
    grove.end("coord-123")
    grove.run("young")
    grove.end("young")
    grove.run("alive")
    c = containers.c
    with grove.database.begin() as connection:
        for container_id, days in {"worker-1": 20.1, "coord-123": 20, "young": 2}.items():
            aged = containers.update().where(c.id == container_id)
            connection.execute(aged.values(stopped_at=later(c.stopped_at, -days * DAY)))
        at = prunes.time_before(connection, 20 * DAY)
        line = {"epoch": 1, "at": at, "level": "INFO", "logger": "test", "message": "old"}
        connection.execute(container_logs.insert().values(container_id="alive", **line))
    return grove


def left(grove):
    return {each.id for each in found(grove)}


def found(grove):
    with grove.database.read() as connection:
        return connection.execute(containers.select()).all()


def test_prune_says_what_went(celery, history):
    assert celery.lines("prune") == ["pruned 2 containers, 1 log line"]
    assert left(history) == {"young", "alive"}
    assert celery.lines("prune") == ["pruned 0 containers"]


def test_a_dry_run_says_what_would_go(celery, history):
    assert celery.lines("prune", "--dry-run") == ["would prune 2 containers, 1 log line"]
    assert len(left(history)) == 4


def test_prune_as_json(celery, history):
    expected = {"containers": 2, "log_lines": 1, "nodes": 0, "quarantines": 0}
    assert celery.json("prune", "--json", "--dry-run") == {**expected, "dry_run": True}
    assert celery.json("prune", "--json") == {**expected, "dry_run": False}


def test_a_node_that_died_long_ago_is_told(celery, grove):
    grove.register("gone")
    with grove.database.begin() as connection:
        at = prunes.time_before(connection, 20 * DAY)
        connection.execute(nodes.update().where(nodes.c.id == "gone").values(dead=True, dead_at=at))
    assert celery.lines("prune") == ["pruned 0 containers, 1 node"]


@pytest.mark.parametrize(
    ("older_than", "stay"),
    [
        ("1d", {"alive"}),
        ("36h", {"alive"}),
        ("3d", {"young", "alive"}),
        ("480.5h", {"coord-123", "young", "alive"}),
        ("21d", {"worker-1", "coord-123", "young", "alive"}),
        ("4000m", {"young", "alive"}),
        ("864000", {"young", "alive"}),
        ("0", {"alive"}),
        ("0s", {"alive"}),
    ],
)
def test_older_than_an_age(celery, history, older_than, stay):
    celery.lines("prune", "--older-than", older_than)
    assert left(history) == stay


def test_without_an_age_the_setting_counts(celery, history):
    celery.context.app.conf.lifecycle_retention = 1.0 * DAY
    celery.lines("prune")
    assert left(history) == {"alive"}


@pytest.mark.parametrize(
    "older_than", ["-1", "-1d", "", "d", "two weeks", "14w", "1d12h", "nan", "inf", "٣d", "999999d", "9" * 400]
)
def test_an_age_that_is_none_deletes_nothing(celery, history, older_than):
    said = celery.refusal("prune", "--older-than", older_than)
    assert "is no time: give 14d, 36h, 90m or seconds, 1,000,000,000 at most" in said
    assert len(left(history)) == 4


def test_an_unmigrated_database(database_url):
    said = Commands(make_app(database_url)).refusal("prune")
    assert said.endswith("run: celery -A <app> container migrate")

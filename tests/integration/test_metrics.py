"""What a scrape is answered: from the database, but never at its mercy."""

import logging
import socket
import threading
import time
from contextlib import closing, contextmanager
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
import sqlalchemy as sa
from celery import Celery
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from job.servers import free_port
from lifecycle import Lifecycle
from lifecycle.domain.counters import BOUNDS
from lifecycle.domain.ending import stopped
from lifecycle.runtime import metrics
from lifecycle.runtime.exporter import Exporter
from lifecycle.runtime.metrics import PATIENCE, Metrics, register
from lifecycle.settings import Settings
from lifecycle.store.engine import Database
from tests.integration.test_queries import caught

AT_ONCE = Settings(metrics_every=0.001)
RARELY = Settings(metrics_every=600)


def metrics_of(database, settings):
    lifecycle = SimpleNamespace(database=database, settings=settings)
    return Metrics(lambda: lifecycle)


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """However loaded the machine is, a scrape is told what is read for it."""
    monkeypatch.setattr(metrics, "PATIENCE", 60.0)


def scraped(collector):
    """Every sample of a scrape: by its name, and the values of its labels in the order of their names."""
    registry = CollectorRegistry()
    registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (each.name, *(value for _, value in sorted(each.labels.items()))): each.value
        for family in families
        for each in family.samples
    }


def grow(grove):
    """Five workers of a type, and a tree of two levels that was stopped."""
    for number in range(5):
        grove.run(f"w{number}", container_type="HAUL")
    grove.run("coord")
    grove.run("child", "coord")
    grove.mark("coord")
    for name in ("child", "coord"):
        grove.end(name, stopped())


def test_what_a_scrape_tells(grove):
    grow(grove)
    found = scraped(metrics_of(grove.database, Settings(metrics_prefix="fleet_")))
    assert found["fleet_container_metrics_up",] == 1
    assert found["fleet_container_active_total", "0", "HAUL"] == 5
    assert found["fleet_container_active_total", "1", "HAUL"] == 0
    assert found["fleet_container_cascade_stops_total", "2"] == 1
    assert found["fleet_container_cascade_stops_total", "4+"] == 0
    assert found["fleet_container_endings_total", "STOPPED", "WORK"] == 2
    assert found["fleet_container_stop_failures_total", "timeout"] == 0
    assert found["fleet_container_orphans_detected_total",] == 0
    assert found["fleet_container_live", "RUNNING"] == 5
    assert found["fleet_container_nodes_live",] == 1
    assert all(name.startswith("fleet_") for name, *_ in found)


def test_what_has_not_happened_yet_is_told_as_nothing(grove):
    """Of a series that is born at 1, `increase` is 0."""
    grove.run("first", container_type="HAUL")
    found = scraped(metrics_of(grove.database, RARELY))
    for status in ("COMPLETED", "FAILED", "STOPPED"):
        assert found["lifecycle_container_endings_total", status, "HAUL"] == 0
    assert found["lifecycle_container_restarts_total", "HAUL"] == 0
    assert found["lifecycle_container_recoveries_total", "HAUL"] == 0


def test_the_buckets_of_a_histogram_add_up(grove):
    grow(grove)
    found = scraped(metrics_of(grove.database, RARELY))
    name = "lifecycle_container_cascade_stop_duration_seconds"
    counts = [found[f"{name}_bucket", "2", bound] for bound in (*BOUNDS, "+Inf")]
    assert counts == sorted(counts)
    assert counts[-1] == found[f"{name}_count", "2"] == 1
    assert 0 <= found[f"{name}_sum", "2"] < 60


def test_a_pass_is_told_when_it_has_run(grove):
    from lifecycle.store import passes

    with grove.database.begin() as connection:
        passes.begin(connection, "sweep", by="test", at_most_every=1)
        passes.begin(connection, "prune", by="test", at_most_every=1)
        passes.done(connection, "sweep", 3)
    found = scraped(metrics_of(grove.database, RARELY))
    assert found["lifecycle_container_pass_runs_total", "sweep"] == 1
    assert abs(found["lifecycle_container_pass_last_run_timestamp_seconds", "sweep"] - time.time()) < 60
    assert found["lifecycle_container_pass_runs_total", "prune"] == 0, "it has never come to its end"
    assert found["lifecycle_container_pass_runs_total", "recover"] == 0, "it has never begun"
    assert ("lifecycle_container_pass_last_run_timestamp_seconds", "prune") not in found, "it has never come to its end"


def test_to_register_asks_the_database_nothing(grove):
    with caught(grove.database) as statements:
        CollectorRegistry().register(metrics_of(grove.database, RARELY))
    assert statements == []


def test_many_scrapes_are_one_reading(grove):
    collector = metrics_of(grove.database, RARELY)
    before = scraped(collector)
    with caught(grove.database) as statements:
        grow(grove)
        del statements[:]
        assert scraped(collector) == before
    assert statements == []


def test_the_next_scrape_after_a_while_tells_what_has_happened(grove):
    collector = metrics_of(grove.database, AT_ONCE)
    assert scraped(collector)["lifecycle_container_cascade_stops_total", "2"] == 0
    grow(grove)
    time.sleep(0.002)
    assert scraped(collector)["lifecycle_container_cascade_stops_total", "2"] == 1


def test_without_a_database_a_scrape_tells_only_that_and_it_is_logged_once(grove, caplog):
    dead = Database(f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    collector = metrics_of(dead, AT_ONCE)
    for _ in range(3):
        assert scraped(collector) == {("lifecycle_container_metrics_up",): 0}
        time.sleep(0.002)
    collector._find().database = grove.database
    assert scraped(collector)["lifecycle_container_metrics_up",] == 1
    said = [record.getMessage() for record in caplog.records if record.name == "lifecycle.metrics"]
    assert len(said) == 2
    assert said[0].startswith("metrics not read error=the database postgresql+psycopg2://")
    assert said[1] == "metrics read again"


@pytest.mark.postgres
def test_a_database_that_hangs_keeps_no_scrape_waiting(postgres_grove, monkeypatch):
    monkeypatch.setattr("lifecycle.runtime.reading.TIMEOUT", 8.0)
    collector = metrics_of(postgres_grove.database, AT_ONCE)
    assert scraped(collector)["lifecycle_container_metrics_up",] == 1
    monkeypatch.setattr(metrics, "PATIENCE", PATIENCE)
    with postgres_grove.database.begin() as connection:
        connection.execute(sa.text("LOCK TABLE containers, transitions IN ACCESS EXCLUSIVE MODE"))
        began = time.monotonic()
        assert scraped(collector)["lifecycle_container_metrics_up",] == 1, "what was read last"
        assert time.monotonic() - began < 8, "the statement was waited for"
        began = time.monotonic()
        for _ in range(20):
            scraped(collector)
        assert time.monotonic() - began < 15 * PATIENCE, "only who begins to read waits for it"
        until(collector, 0)
    until(collector, 1)


def until(collector, up):
    """Scrape until it says so."""
    end = time.monotonic() + 60
    while scraped(collector)["lifecycle_container_metrics_up",] != up:
        assert time.monotonic() < end


@pytest.mark.parametrize("patience", [0.0, 2.5])
def test_a_scrape_waits_as_long_as_it_may(grove, monkeypatch, patience):
    go_on = threading.Event()
    reader = metrics.read
    lifecycle = SimpleNamespace(database=grove.database, settings=AT_ONCE)
    collector = Metrics(lambda: lifecycle, patience)
    assert scraped(collector)["lifecycle_container_metrics_up",] == 1, "the first waits for its reading"
    monkeypatch.setattr(metrics, "read", lambda database: go_on.wait(30) and reader(database))
    time.sleep(0.002)
    began = time.monotonic()
    assert scraped(collector)["lifecycle_container_metrics_up",] == 1
    assert patience <= time.monotonic() - began < 20
    go_on.set()


def test_an_old_reading_is_none(grove, monkeypatch):
    collector = metrics_of(grove.database, RARELY)
    assert scraped(collector)["lifecycle_container_metrics_up",] == 1
    collector._read_at -= RARELY.metrics_every + metrics.STALE + 1
    assert scraped(collector) == {("lifecycle_container_metrics_up",): 0}


# In a process


@pytest.fixture
def make_app(sqlite_database, monkeypatch):
    """Apps with settings; what they registered goes again."""
    made = []
    monkeypatch.setattr(metrics, "_registered", [])

    def make(url=None, **settings):
        app = Celery("metrics", set_as_current=False)
        app.conf.lifecycle_database_url = url or sqlite_database.url.render_as_string()
        app.conf.update({f"lifecycle_{name}": value for name, value in settings.items()})
        made.append(Lifecycle(app))
        return made[-1]

    yield make
    for found in metrics._registered:
        REGISTRY.unregister(found)
    for each in made:
        if each.settings.database_url:
            each.database.dispose()


def test_the_first_of_a_process_is_told_once(make_app, caplog):
    for each in (make_app(), make_app(), make_app(metrics_prefix="fleet_")):
        register(lambda each=each: each)
    assert generate_latest(REGISTRY).count(b"container_metrics_up 1.0") == 1
    assert [each.getMessage().partition(":")[0] for each in caplog.records] == ["metrics registered before"] * 2


def test_an_app_is_configured_by_the_first_scrape_not_before(make_app, caplog):
    lifecycle = make_app()
    register(lambda: lifecycle)
    lifecycle.app.conf.lifecycle_metrics_prefix = "fleet_"
    assert b"\nfleet_container_metrics_up 1.0" in generate_latest(REGISTRY)


def test_without_a_database_there_are_no_metrics_and_one_warning(make_app, caplog, monkeypatch):
    monkeypatch.delenv("LIFECYCLE_DATABASE_URL", raising=False)
    lifecycle = make_app()
    lifecycle.app.conf.lifecycle_database_url = None
    register(lambda: lifecycle)
    for _ in range(2):
        assert b"container_metrics_up" not in generate_latest(REGISTRY)
    assert [each.getMessage().partition(":")[0] for each in caplog.records] == [
        "metrics not read error=no database is set"
    ]


@contextmanager
def exporting(lifecycle):
    exporter = Exporter(lifecycle)
    exporter.start()
    try:
        yield
    finally:
        exporter.stop()


def test_without_a_port_nothing_is_served(make_app):
    threads = threading.active_count()
    with exporting(make_app()):
        assert threading.active_count() == threads
    assert metrics._registered == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_is_served_and_given_back(make_app, host):
    port = free_port()
    shown = f"[{host}]" if ":" in host else host
    for _ in range(2):
        with (
            exporting(make_app(metrics_port=port, metrics_host=host)),
            urlopen(f"http://{shown}:{port}/metrics") as told,
        ):
            assert b"\nlifecycle_container_metrics_up 1.0" in told.read()


def test_a_port_in_use_is_one_warning(make_app, caplog):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with exporting(make_app(metrics_port=port)):
            pass
    [record] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert record.getMessage().startswith(f"metrics not served host=127.0.0.1 port={port} error=")
    assert metrics._registered == []


def test_without_prometheus_client_a_port_is_one_warning(make_app, caplog, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with exporting(make_app(metrics_port=free_port())):
        pass
    [record] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert record.getMessage() == (
        "metrics not served: metrics_port is set, but prometheus_client is missing; "
        "pip install 'celery-lifecycle[metrics]'"
    )

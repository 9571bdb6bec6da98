"""Passes and the watch over containers that are only told of, on a real database; tests/docker has a real engine."""

import logging
import queue
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from lifecycle.domain.recovery import Fate, Hint, Unrestartable
from lifecycle.domain.service import ENGINE, SET_ASIDE, Event, Health, Kind, Share, Snapshot, State
from lifecycle.errors import (
    DaemonTrouble,
    DependencyDown,
    DependencyMissing,
    EngineMissing,
    EngineRefused,
    NotVerified,
    ServiceGone,
    ServiceStopped,
    StoreUnreachable,
)
from lifecycle.services import hold
from lifecycle.services.monitor import Monitor
from lifecycle.services.plan import plan
from lifecycle.services.watch import Watch
from lifecycle.settings import Settings
from lifecycle.store import checks, recoveries, services, unrestartables
from lifecycle.store.clock import later, now
from lifecycle.store.tables import docker_services
from tests.unit.fleet import NOW, exited, identity, inside, on, service, unhealthy

QUICK = {"docker_projects": ("shop",), "docker_backoff": (60.0,), "docker_debounce": 0.01, "docker_every": 60.0}


class Told:
    """An engine of values: what is done to a container makes it healthy, unless it was told to fail."""

    def __init__(self, *fleet):
        self.fleet = {each.id: each for each in fleet}
        self.done, self.fails, self.before = [], {}, lambda: None
        self.events, self.asked_since, self.guard = [], [], lambda: None
        self.broken, self.away, self.looks, self.name = None, None, 0, "e1"

    def snapshot(self):
        self.looks += 1
        if self.broken is not None:
            raise self.broken
        seen = dict(self.fleet)
        self.before()
        return Snapshot(services=seen, taken_at=NOW, engine=self.name)

    def past(self, since, until):
        self.asked_since.append(since)
        return self.events

    def ping(self):
        if self.away is not None:
            raise self.away

    def perform(self, action, snapshot):
        self.done.append(f"{action.kind} {action.key.removeprefix('shop/')}")
        if action.key in self.fails:
            raise self.fails[action.key]
        old = self.fleet.pop(action.id)
        new_id = identity(f"{action.id} again") if action.kind is Kind.RECREATE else action.id
        shares = dict(action.shares) or old.shares
        self.fleet[new_id] = replace(
            old, id=new_id, state=State.RUNNING, health=Health.HEALTHY, started_at=NOW, shares=shares
        )
        return new_id


class Shop:
    """One engine, one database, one monitor."""

    def __init__(self, database, *fleet, **settings):
        self.database, self.engine = database, Told(*fleet)
        self.settings = Settings(**{**QUICK, **settings})
        self.monitor = Monitor(database, self.engine, self.engine.perform, self.settings)

    def run(self):
        self.monitor.run()
        done, self.engine.done = self.engine.done, []
        return done

    def row(self, name):
        return self.memory().of(name if name == ENGINE else f"shop/{name}")

    def memory(self):
        with self.database.read() as connection:
            return services.recall(connection, "e1", within=600.0)[0]

    def history(self):
        with self.database.read() as connection:
            return recoveries.history(connection, "e1")


@pytest.fixture
def shop(database):
    return lambda *fleet, **settings: Shop(database, *fleet, **settings)


def texts(caplog, level):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_one_pass_goes_down_as_far_as_it_can(shop):
    vpn = unhealthy("vpn")
    made = shop(vpn, service("app", **inside(vpn)), service("web", **on("app")), service("db"))
    assert made.run() == ["restart vpn", "restart app", "restart web"]
    assert made.run() == []
    assert made.row("vpn").attempts == made.row("vpn").recoveries == 1
    assert [(each.key, each.error) for each in made.history()][1:] == [("shop/app", None), ("shop/vpn", None)]


def test_what_was_made_is_known_as_our_own(shop):
    app = service("app", **inside(identity("old")), **on("vpn"))
    made = shop(service("vpn"), app)
    assert made.run() == ["recreate app"]
    (new,) = [each for each in made.engine.fleet.values() if each.service == "app"]
    assert made.row("app").made_id == new.id
    made.run()
    assert made.row("app").ids == (new.id, app.id)


def test_what_fails_is_charged_put_off_and_holds_up_nobody(shop, caplog):
    made = shop(unhealthy("a"), unhealthy("b"))
    made.engine.fails = {"shop/a": NotVerified("does not stay up")}
    assert made.run() == ["restart a", "restart b"]
    row = made.row("a")
    assert (row.attempts, row.failures, row.locked_by) == (1, 1, None)
    assert made.run() == []
    assert made.history()[1].error == "does not stay up"
    assert len(texts(caplog, logging.WARNING)) == 1


def test_what_failed_at_once_is_not_tried_again_at_once(shop):
    made = shop(*(unhealthy(name) for name in "abcd"))
    made.run()
    waits = [(row.next_at - row.acted_at).total_seconds() for row in made.memory().services.values()]
    assert len(set(waits)) > 1
    assert all(54 <= wait <= 66 for wait in waits)


def test_two_monitors_of_one_process_are_two_hands(shop):
    assert shop().monitor.by != shop().monitor.by


def test_a_pass_tells_once_of_what_is_given_up(shop, caplog):
    caplog.set_level(logging.INFO, "lifecycle.docker")
    db = unhealthy("db")
    made = shop(db, unhealthy("a"), unhealthy("b"))
    with made.database.begin() as connection:
        unrestartables.note(connection, "e1", Unrestartable(id=db.id, name=db.name, reason="gone"), set())
    assert made.run() == ["restart a", "restart b"]
    assert len([text for text in texts(caplog, logging.INFO) if "given up" in text]) == 1


def test_a_container_that_is_gone_is_told_of_once_and_forgotten_with_its_listing(shop, caplog):
    caplog.set_level(logging.INFO, "lifecycle.docker")
    db = unhealthy("db")
    made = shop(db)
    made.engine.fails = {"shop/db": ServiceGone("No such container")}
    assert made.run() == ["restart db"]
    (told,) = texts(caplog, logging.ERROR)
    assert "name=shop-db-1" in told
    assert db.short_id in told
    assert "No such container; will not retry this container ID" in told
    assert made.run() == []
    assert any("given up" in text for text in texts(caplog, logging.INFO))
    assert made.row("db").attempts == 0
    new = replace(db, id=identity("new"))
    made.engine.fleet = {new.id: new}
    made.engine.fails = {}
    assert made.run() == ["restart db"]
    assert made.memory().unrestartable == {}


def test_what_was_given_up_and_goes_by_hand_is_given_up_no_more(shop):
    db = unhealthy("db")
    made = shop(db)
    with made.database.begin() as connection:
        unrestartables.note(connection, "e1", Unrestartable(id=db.id, name=db.name, reason="gone"), set())
    assert made.run() == []
    made.monitor.run(frozenset(["shop/db"]))
    assert made.engine.done == ["restart db"]
    assert made.memory().unrestartable == {}
    assert made.row("db").made_id is None


def test_a_parent_that_is_missing_is_noted_with_whose_place_it_was(shop):
    vpn = service("vpn")
    made = shop(vpn, service("app", **inside(identity("old")), **on("vpn")))
    made.engine.fails = {"shop/app": DependencyMissing("No such container", vpn.id)}
    assert made.run() == ["recreate app"]
    assert made.run() == []
    newer = replace(vpn, id=identity("newer"))
    made.engine.fleet = {newer.id: newer} | {key: each for key, each in made.engine.fleet.items() if key != vpn.id}
    made.engine.fails = {}
    assert made.run() == ["recreate app"]


@pytest.mark.parametrize(
    "trouble", [NotVerified("does not stay up"), DependencyMissing("No such container", "vpn")], ids=["failed", "lost"]
)
def test_a_re_creation_that_failed_is_told_of_once_and_so_is_its_end(shop, caplog, trouble):
    """T12"""
    caplog.set_level(logging.INFO, "lifecycle.docker")
    vpn = service("vpn")
    made = shop(vpn, service("app", **inside(identity("old")), **on("vpn")), docker_backoff=(0.0,))
    made.engine.fails = {"shop/app": trouble}
    made.run()
    made.run()
    told = [text for text in texts(caplog, logging.ERROR) if text.startswith("alert")]
    assert told == [f"alert broken name=shop-app-1: recreate failed: {trouble}"]
    put(made, vpn, service("app", id=identity("by hand"), **inside(vpn)))
    with made.database.begin() as connection:
        connection.execute(docker_services.update().values(well_since=later(now(), -9_000)))
    made.run()
    assert "alert resolved name=shop-app-1: well again" in texts(caplog, logging.INFO)


def test_a_parent_that_is_down_charges_nobody(shop):
    made = shop(unhealthy("db"))
    made.engine.fails = {"shop/db": DependencyDown("vpn does not run", "vpn")}
    assert made.run() == ["restart db"]
    assert (made.row("db").attempts, made.row("db").recent) == (0, 0)
    made.engine.fails = {}
    assert made.run() == ["restart db"]


def test_an_engine_in_trouble_ends_the_pass_and_charges_nobody(shop):
    made = shop(unhealthy("a"), unhealthy("b"))
    made.engine.fails = dict.fromkeys(["shop/a", "shop/b"], DaemonTrouble("no answer"))
    made.engine.away = DaemonTrouble("no answer")
    with pytest.raises(DaemonTrouble):
        made.run()
    assert made.engine.done == ["restart a"]
    assert (made.row("a").attempts, made.row("a").locked_by, made.row("a").recent) == (0, None, 0)


def test_what_an_engine_cannot_do_with_one_container_holds_up_nobody(shop, caplog):
    made = shop(unhealthy("a"), unhealthy("b"))
    made.engine.fails = {"shop/a": DaemonTrouble("tried to kill container, but did not receive an exit event")}
    assert made.run() == ["restart a", "restart b"]
    assert made.run() == []
    assert (made.row("a").attempts, made.row("a").recent) == (1, 0)
    assert made.row("a").next_at is not None


def test_what_an_engine_never_can_is_told_of_once(shop, caplog):
    made = shop(unhealthy("a"), docker_backoff=(0.0,), docker_patience=0.0, docker_budget=2)
    made.engine.fails = {"shop/a": DaemonTrouble("device or resource busy")}
    for _ in range(4):
        assert made.run() == ["restart a"]
    told = [text for text in texts(caplog, logging.ERROR) if text.startswith("alert")]
    assert told == ["alert broken name=shop-a-1: not well after 2 recoveries: unhealthy"]


def test_an_engine_that_refuses_is_asked_once_and_told_of_once(shop, caplog):
    caplog.set_level(logging.INFO, "lifecycle.docker")
    made = shop(unhealthy("a"), unhealthy("b"), docker_probe_every=0.0)
    made.engine.fails = dict.fromkeys(["shop/a", "shop/b"], EngineRefused("Forbidden"))
    made.run()
    assert made.row(ENGINE).told
    made.engine.fails = {}
    made.run()
    assert made.row(ENGINE).told is None
    told = [text for text in texts(caplog, logging.ERROR) + texts(caplog, logging.INFO) if text.startswith("alert")]
    assert [text.split(":")[0] for text in told] == ["alert broken name=engine", "alert resolved name=engine"]


def test_who_may_not_make_containers_may_still_restart_them(shop, caplog):
    lost = service("app", **inside(identity("old")), **on("vpn"))
    made = shop(service("vpn"), lost, unhealthy("web", **on("vpn")), docker_probe_every=60.0)
    made.engine.fails = {"shop/app": EngineRefused("Forbidden")}
    assert made.run() == ["recreate app", "restart web"]
    assert made.run() == []
    told = [text for text in texts(caplog, logging.ERROR) + texts(caplog, logging.INFO) if text.startswith("alert")]
    assert len(told) == 1
    assert "recreate" in told[0]


def test_while_it_refuses_nothing_is_tried(shop):
    made = shop(unhealthy("a"), unhealthy("b"))
    made.engine.fails = dict.fromkeys(["shop/a", "shop/b"], EngineRefused("Forbidden"))
    assert made.run() == ["restart a"]
    assert made.run() == []


def test_what_another_has_just_done_is_not_done_from_an_older_look(shop):
    """He acted after our engine was asked, and before our memory was read."""
    made = shop(service("db"))
    made.run()
    made.engine.fleet = {each.id: each for each in [unhealthy("db")]}

    def acts_meanwhile():
        made.engine.before = lambda: None
        with made.database.begin() as connection:
            row = services.recall(connection, "e1", within=1.0)[0].of("shop/db")
            services.lock(connection, "e1", "shop/db", row.version, by="other", seconds=9.0)
            values = services.acted(next_in=-1.0, made_id=None, failed=False)
            services.unlock(connection, "e1", "shop/db", by="other", values=values)

    made.engine.before = acts_meanwhile
    assert made.run() == []


def test_what_is_heard_while_the_engine_answers_outlives_its_answer(shop):
    """An operator's stop after it was seen running: neither forgotten nor undone."""
    made = shop(service("db"))
    made.run()
    db = unhealthy("db")
    made.engine.fleet = {db.id: db}

    def stopped_meanwhile():
        made.engine.before = lambda: None
        (db,) = made.engine.fleet.values()
        hint = Hint(key="shop/db", id=db.id, name=db.name, fate=Fate.STOPPED)
        with made.database.begin() as connection:
            assert services.hear(connection, "e1", hint, quiet=0.0, ours_for=3.0)

    made.engine.before = stopped_meanwhile
    assert made.run() == []
    assert made.row("db").fate is Fate.STOPPED


def test_a_service_in_another_hand_is_left_to_it(shop):
    made = shop(unhealthy("db"))
    taken = made.engine.perform

    def perform(action, snapshot):
        other = Shop(made.database, unhealthy("db"))
        assert other.run() == []
        assert other.row("db").locked_by == made.monitor.by
        return taken(action, snapshot)

    made.monitor = Monitor(made.database, made.engine, perform, made.settings)
    assert made.run() == ["restart db"]


def test_who_was_held_up_for_long_does_nothing_more(shop):
    """B has taken the service over; A comes to itself between two steps."""
    made = shop(unhealthy("db"))

    def perform(action, snapshot):
        made.engine.guard()
        with made.database.begin() as connection:
            connection.execute(docker_services.update().values(locked_by="other"))
        made.engine.guard()
        return made.engine.perform(action, snapshot)

    made.monitor = Monitor(made.database, made.engine, perform, made.settings)
    assert made.run() == []
    assert "in another hand" in made.history()[0].error
    assert (made.row("db").locked_by, made.row("db").attempts) == ("other", 0)


def test_without_its_database_a_hand_goes_on_while_it_surely_holds(shop, monkeypatch, caplog):
    made, clock = shop(unhealthy("db", stop_timeout=0)), [0.0]
    monkeypatch.setattr(hold, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def gone(*_, **__):
        raise StoreUnreachable("no database")

    def perform(action, snapshot):
        monkeypatch.setattr(services, "renew", gone)
        clock[0] = 119.0
        made.engine.guard()
        clock[0] = 121.0
        made.engine.guard()
        made.engine.done.append("too late")

    made.monitor = Monitor(made.database, made.engine, perform, made.settings)
    made.run()
    assert made.engine.done == []
    assert "may be in another hand by now: no database" in made.history()[0].error
    assert "goes on without the database" in texts(caplog, logging.WARNING)[0]
    made.engine.guard()  # held by nobody now


def test_what_is_heard_of_our_own_action_is_forgotten_with_its_end(shop):
    db = exited("db", 1, **on("vpn"))
    made = shop(db, service("app", **on("db", restart=False)), service("vpn"))
    made.engine.events = past(db, ("die", {}))

    def perform(action, snapshot):
        hint = Hint(key="shop/db", id=db.id, name=db.name, fate=Fate.STOPPED)
        with made.database.begin() as connection:
            services.hear(connection, "e1", hint, quiet=0.0, ours_for=3.0)
        assert made.row("db").fate is Fate.STOPPED
        raise DependencyDown("vpn does not run", "vpn")

    made.monitor = Monitor(made.database, made.engine, perform, made.settings)
    made.run()
    assert (made.row("db").fate, made.row("db").fate_id) == (Fate.CRASHED, db.id)


def test_an_operators_stop_that_came_into_an_action_is_kept(shop):
    """In a re-creation, too: then it is another container that was stopped."""
    made = shop(unhealthy("db"))

    def perform(action, snapshot):
        put(made, exited("db", 2, id=identity("again")), service("app", **on("db")))
        raise ServiceStopped("was stopped", identity("again"))

    made.monitor = Monitor(made.database, made.engine, perform, made.settings)
    made.run()
    assert len(made.history()) == 1
    assert (made.row("db").fate, made.row("db").attempts) == (Fate.STOPPED, 0)


def test_an_action_keeps_its_service_for_as_long_as_it_does_something(shop):
    made = shop(unhealthy("db"))

    def perform(action, snapshot):
        with made.database.begin() as connection:
            connection.execute(docker_services.update().values(locked_until=later(now(), -1)))
        made.engine.guard()
        assert Shop(made.database, unhealthy("db")).run() == []
        return made.engine.perform(action, snapshot)

    made.monitor = Monitor(made.database, made.engine, perform, made.settings)
    assert made.run() == ["restart db"]


def test_an_alert_is_told_by_who_wrote_it_down(shop, caplog, monkeypatch):
    """Two see the same; between the memory of this one and its write the other has written."""
    made = shop(unhealthy("db", labels={"lifecycle.recover": "notify"}))

    def plan_late(*args, **how):
        found = plan(*args, **how)
        monkeypatch.setattr("lifecycle.services.monitor.plan", plan)
        Shop(made.database, *made.engine.fleet.values()).run()
        return found

    monkeypatch.setattr("lifecycle.services.monitor.plan", plan_late)
    made.run()
    made.run()
    assert len([text for text in texts(caplog, logging.ERROR) if text.startswith("alert broken")]) == 1


def test_what_was_left_behind_is_tidied_though_nothing_is_remembered(shop):
    made = shop(service("app", name=f"shop-app-1{SET_ASIDE}", state=State.EXITED, exit_code=143))
    assert made.run() == ["tidy app"]


def test_a_dry_run_writes_nothing(shop, caplog):
    caplog.set_level(logging.INFO, "lifecycle.docker")
    made = shop(unhealthy("db"), docker_dry_run=True)
    assert made.run() == []
    assert made.memory().services == {}
    assert texts(caplog, logging.INFO) == ["would restart name=shop-db-1 reason=unhealthy"]


def test_a_halted_monitor_begins_nothing_more(shop):
    made = shop(unhealthy("a"), unhealthy("b"))
    taken = made.engine.perform

    def perform(action, snapshot):
        made.monitor.halt()
        return taken(action, snapshot)

    made.monitor = Monitor(made.database, made.engine, perform, made.settings)
    assert made.run() == ["restart a"]


def past(target, *events):
    return [Event(action=what, id=target.id, name=target.name, at=0.0, attributes=dict(how)) for what, how in events]


@pytest.mark.parametrize(
    ("code", "recover", "events", "done"),
    [
        (2, "", [("kill", {"signal": "15"}), ("die", {}), ("stop", {})], []),
        (2, "", [("die", {})], ["start db"]),
        (2, "", [], ["start db"]),
        (137, "true", [("kill", {"signal": "9"}), ("die", {})], ["start db"]),
        (137, "true", [("kill", {"signal": "15"}), ("kill", {"signal": "9"}), ("die", {}), ("stop", {})], []),
        (137, "", [("die", {})], ["start db"]),
        (137, "", [], []),
        (2, "", [("die", {}), ("stop", {}), ("start", {}), ("die", {})], ["start db"]),
    ],
    ids=["stop", "crash", "forgotten", "kill", "stop of the deaf", "killed from outside", "forgotten kill", "later"],
)
def test_how_it_ended_is_asked_where_nobody_listened(shop, code, recover, events, done):
    db = exited("db", code, labels={"lifecycle.recover": recover})
    made = shop(db, service("app", **on("db", restart=False)))
    made.engine.events = past(db, *events)
    assert made.monitor.look().plan.decisions  # who only looks keeps it for who acts
    assert made.run() == done
    if not done:
        made.engine.events = []
        again = Shop(made.database, db, service("app", **on("db", restart=False)))
        assert again.run() == []


def test_an_end_is_asked_for_once(shop):
    made = shop(exited("db", 1), service("app"))
    made.run()
    made.run()
    assert len(made.engine.asked_since) == 1


def test_an_engine_without_a_name_is_told_of_once(shop, caplog):
    made = shop(service("db"))
    made.engine.name = ""
    made.run()
    made.run()
    (told,) = texts(caplog, logging.WARNING)
    assert "lifecycle_docker_engine" in told


def test_a_circle_is_told_once(shop, caplog):
    made = shop(service("a", **on("b")), service("b", **on("a")))
    made.run()
    made.run()
    assert texts(caplog, logging.WARNING) == ["services depend on each other in a circle: shop/a, shop/b"]


def test_bystanders_are_not_remembered(shop):
    made = shop(unhealthy("db", project="blog"), service("app"), service("run", oneoff=True))
    made.run()
    assert list(made.memory().services) == ["shop/app"]


def test_given_up_ids_of_other_engines_are_kept(shop):
    made = shop(service("app"))
    with made.database.begin() as connection:
        for engine in ("e1", "e2"):
            unrestartables.note(connection, engine, Unrestartable(id="c1", name="c1", reason="gone"), set())
    made.run()
    with made.database.read() as connection:
        assert unrestartables.listed(connection, "e1") == {}
        assert list(unrestartables.listed(connection, "e2")) == ["c1"]


# The watch


class Streams:
    """Events by hand; each stream lasts until it is ended or broken."""

    def __init__(self):
        self.said, self.opened = queue.Queue(), 0
        self.refusal = None

    def events(self, seconds):
        self.opened += 1
        if self.refusal is not None:
            raise self.refusal
        return iter(self.said.get, None)

    def say(self, action, target, at=0.0, **attributes):
        attributes = {**target.labels, **{name: str(value) for name, value in attributes.items()}}
        self.said.put(Event(action=action, id=target.id, name=target.name, at=at, attributes=attributes))

    def end(self):
        self.said.put(None)


@pytest.fixture
def watching(shop):
    """A watch that has looked once, with its shop and its streams."""
    begun = []

    def begin(*fleet, **settings):
        made, streams = shop(*fleet, **settings), Streams()
        watch = Watch(made.database, streams, made.monitor, made.settings)
        thread = threading.Thread(target=watch.run)
        begun.append((watch, thread, streams))
        thread.start()
        eventually(lambda: streams.opened and made.memory().services)
        return made, streams

    yield begin
    for watch, thread, streams in begun:
        watch.stop()
        streams.end()
        thread.join(30)
        assert not thread.is_alive()


def eventually(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def put(made, *fleet):
    made.engine.fleet = {each.id: each for each in fleet}


def test_an_event_is_looked_into_at_once(watching):
    db = service("db")
    made, streams = watching(db)
    put(made, unhealthy("db"))
    streams.say("health_status: unhealthy", db)
    eventually(lambda: made.engine.done == ["restart db"])


@pytest.mark.parametrize(
    ("events", "fate"),
    [
        ([("die", {})], Fate.CRASHED),
        ([("kill", {"signal": 15}), ("die", {})], Fate.STOPPED),
        ([("kill", {"signal": 9}), ("die", {})], Fate.KILLED),
        ([("kill", {"signal": 15}), ("kill", {"signal": 9}), ("die", {}), ("stop", {})], Fate.STOPPED),
        ([("kill", {"signal": 1}), ("die", {})], Fate.CRASHED),
        ([("kill", {"signal": 28}), ("die", {}), ("stop", {})], Fate.STOPPED),
        ([("kill", {"signal": 15}), ("start", {}), ("die", {})], Fate.CRASHED),
        ([("kill", {"signal": 3}), ("die", {"at": 9_000})], Fate.CRASHED),
    ],
    ids=["crash", "kill TERM", "docker kill", "docker stop", "reload, crash", "stop by WINCH", "old signal", "dump"],
)
def test_how_a_container_ended_is_kept(watching, events, fate):
    db = service("db")
    made, streams = watching(db)
    put(made, exited("db", 0))
    for action, attributes in events:
        streams.say(action, db, **attributes)
    eventually(lambda: made.row("db").fate is fate)
    assert made.row("db").fate_id == db.id


@pytest.mark.parametrize("action", ["create", "destroy", "rename"])
def test_others_at_work_are_given_time(watching, action):
    db = service("db")
    made, streams = watching(db)
    streams.say(action, db)
    eventually(lambda: made.row("db").quiet_until is not None)


def test_what_is_no_concern_wakes_nobody(watching):
    made, streams = watching(service("db"))
    eventually(lambda: made.engine.looks == 2)  # the second is that after the subscription
    streams.say("die", service("db", project="blog"))
    streams.say("kill", service("db"), signal=1)
    streams.say("create", service("db"))
    eventually(lambda: made.row("db").quiet_until is not None)
    assert made.engine.looks == 2


@pytest.mark.parametrize(
    ("action", "wakes"), [("kill", False), ("create", False), ("start", True), ("die", True), ("destroy", True)]
)
def test_what_wakes_a_watch(shop, action, wakes):
    db, streams = service("db"), Streams()
    made = shop(db)
    watch = Watch(made.database, streams, made.monitor, made.settings)
    watch._pass()
    streams.say(action, db)
    watch._hear(streams.said.get())
    assert watch._woken.is_set() is wakes


def test_the_end_of_a_stream_is_no_trouble_and_all_is_looked_at_again(watching, caplog):
    made, streams = watching(service("db"))
    put(made, unhealthy("db"))
    streams.end()
    eventually(lambda: made.engine.done == ["restart db"])
    assert streams.opened == 2
    assert texts(caplog, logging.ERROR) == []


def test_a_broken_stream_is_told_of_once_and_opened_again(watching, caplog, monkeypatch):
    monkeypatch.setattr("lifecycle.services.watch.FIRST", 0.01)
    made, streams = watching(service("db"))
    streams.refusal = DaemonTrouble("connection refused")
    streams.end()
    eventually(lambda: streams.opened >= 4)
    assert texts(caplog, logging.ERROR) == ["not listening: connection refused"]
    streams.refusal = None
    put(made, unhealthy("db"))
    eventually(lambda: made.engine.done == ["restart db"])


def test_check_can_tell_who_listens(watching, monkeypatch):
    """R97: heard to its end, broken, well again; and who was told to stop is missed by nobody."""
    monkeypatch.setattr("lifecycle.services.watch.FIRST", 0.01)
    made, streams = watching(service("db"))

    def engine():
        (found,) = checks.recorded(made.database).engines
        return found

    eventually(lambda: engine().heard is not None)
    streams.refusal = DaemonTrouble("connection refused")
    streams.end()
    eventually(lambda: engine().deaf == "connection refused")
    streams.refusal = None
    opened = streams.opened
    eventually(lambda: streams.opened > opened)
    assert engine().deaf is not None  # it was opened: that is not yet heard
    with made.database.begin() as connection:
        connection.execute(docker_services.update().values(seen_at=later(now(), -900)))
    streams.end()
    eventually(lambda: engine().deaf is None)
    assert engine().heard < 900


def test_a_watch_that_was_told_to_stop_is_missed_by_nobody(shop):
    made, streams = shop(service("db")), Streams()
    watch = Watch(made.database, streams, made.monitor, made.settings)
    thread = threading.Thread(target=watch.run)
    thread.start()
    eventually(lambda: [each for each in checks.recorded(made.database).engines if each.heard is not None])
    watch.stop()
    streams.end()
    thread.join(30)
    assert [each.heard for each in checks.recorded(made.database).engines] == [None]


def test_an_engine_that_is_away_for_a_while_is_told_of_once(watching, caplog, monkeypatch):
    monkeypatch.setattr("lifecycle.services.watch.FIRST", 0.01)
    made, streams = watching(service("db"))
    made.engine.broken = EngineMissing("no socket")
    streams.say("die", service("db"))
    looks = made.engine.looks
    eventually(lambda: made.engine.looks > looks + 2)
    assert texts(caplog, logging.ERROR) == ["no pass: no socket"]
    made.engine.broken = None
    put(made, unhealthy("db"))
    eventually(lambda: made.engine.done == ["restart db"])


def test_what_no_one_foresaw_does_not_end_a_watch(watching, caplog, monkeypatch):
    monkeypatch.setattr("lifecycle.services.watch.FIRST", 0.01)
    made, streams = watching(service("db"))
    made.engine.broken = KeyError("State")
    streams.say("die", service("db"))
    eventually(lambda: texts(caplog, logging.ERROR))
    made.engine.broken = None
    put(made, unhealthy("db"))
    eventually(lambda: made.engine.done == ["restart db"])


def test_with_nothing_to_begin_with_a_watch_does_not_begin(shop):
    made = shop(service("db"))
    made.engine.broken = EngineMissing("The Docker client is not installed")
    with pytest.raises(EngineMissing):
        Watch(made.database, Streams(), made.monitor, made.settings).run()


def test_an_event_that_cannot_be_kept_is_told_of(watching, caplog, monkeypatch):
    _, streams = watching(service("db"))

    def hear(*_, **__):
        raise StoreUnreachable("no database")

    monkeypatch.setattr(services, "hear", hear)
    streams.say("stop", service("db"))
    eventually(lambda: texts(caplog, logging.WARNING))
    assert "event lost action=stop name=shop-db-1" in texts(caplog, logging.WARNING)[0]


def test_shares_are_those_of_the_action(shop):
    vpn = service("vpn")
    made = shop(vpn, service("app", **inside(identity("old")), **on("vpn")))
    made.run()
    (app,) = [each for each in made.engine.fleet.values() if each.service == "app"]
    assert app.shares == {Share.NETNS: vpn.id}

"""The passes in the schedule of beat, in whatever order an app is configured; and the tasks that it sends."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.beat import EmbeddedService, PersistentScheduler, Service
from celery.schedules import crontab

from lifecycle import ContainerTask, Lifecycle
from lifecycle.runtime.passes import NAMES
from lifecycle.store import passes

PERIODS = {"lifecycle.sweep": 300.0, "lifecycle.recover": 60.0, "lifecycle.prune": 86_400.0}
CELERYS = "celery.backend_cleanup"
USERS = {"report": {"task": "report", "schedule": 10.0}}
OWN_SWEEP = {"lifecycle.sweep": {"task": "lifecycle.sweep", "schedule": crontab(minute="7"), "options": {"queue": "q"}}}


def new_app(**options):
    options = {"broker": "memory://", "set_as_current": False, **options}
    app = Celery("scheduled", **options)
    app.conf.lifecycle_database_url = "sqlite://"
    return app


class Seen:
    """What a beat has in its schedule at its first look, when it stops."""

    def __init__(self, app, filename, kind=None):
        self.schedule = {}
        seen = self

        class Once(PersistentScheduler):
            def tick(self):
                seen.schedule = {name: entry for name, entry in self.schedule.items() if name != CELERYS}
                service.stop()
                return 0

        if kind is None:
            service = Service(app, scheduler_cls=Once, schedule_filename=str(filename))
            service.start()
        else:
            beat = EmbeddedService(app, thread=True, scheduler_cls=Once, schedule_filename=str(filename))
            service = beat.service
            beat.start()
            beat.join(30)

    @property
    def seconds(self):
        return {name: entry.schedule.run_every.total_seconds() for name, entry in self.schedule.items()}


@pytest.fixture
def beat(tmp_path):
    return lambda app, **how: Seen(app, tmp_path / "beat", **how)


def assigned_before(app):
    app.conf.beat_schedule = dict(USERS)
    Lifecycle(app)


def assigned_after(app):
    Lifecycle(app)
    app.conf.beat_schedule = dict(USERS)


def updated_after(app):
    Lifecycle(app)
    app.conf.update(beat_schedule=dict(USERS))


def from_an_object_before(app):
    app.config_from_object(SimpleNamespace(beat_schedule=dict(USERS), lifecycle_database_url="sqlite://"))
    Lifecycle(app)


def from_an_object_after(app):
    Lifecycle(app)
    app.config_from_object(SimpleNamespace(beat_schedule=dict(USERS), lifecycle_database_url="sqlite://"))


def from_an_object_with_a_prefix(app):
    Lifecycle(app)
    values = SimpleNamespace(CELERY_BEAT_SCHEDULE=dict(USERS), CELERY_LIFECYCLE_DATABASE_URL="sqlite://")
    app.config_from_object(values, namespace="CELERY")


def from_an_object_with_old_names(app):
    Lifecycle(app)
    app.config_from_object(SimpleNamespace(CELERYBEAT_SCHEDULE=dict(USERS)))


def from_an_object_after_the_configuration_was_read(app):
    Lifecycle(app)
    assert app.conf.timezone is None
    app.config_from_object(SimpleNamespace(beat_schedule=dict(USERS), lifecycle_database_url="sqlite://"), force=True)


def assigned_when_all_is_final(app):
    Lifecycle(app)
    app.finalize()
    assert app.conf.timezone is None
    app.conf.beat_schedule = dict(USERS)


def final_before_the_lifecycle(app):
    app.finalize()
    app.conf.beat_schedule = dict(USERS)
    Lifecycle(app)


def added_when_configured(app):
    Lifecycle(app)

    @app.on_after_configure.connect
    def add(sender, **_):
        sender.add_periodic_task(10.0, sender.signature("report"), name="report")

    assert app.conf.timezone is None


ORDERS = [
    assigned_before,
    assigned_after,
    updated_after,
    from_an_object_before,
    from_an_object_after,
    from_an_object_with_a_prefix,
    from_an_object_with_old_names,
    from_an_object_after_the_configuration_was_read,
    assigned_when_all_is_final,
    final_before_the_lifecycle,
    added_when_configured,
]


@pytest.mark.parametrize("configure", ORDERS, ids=lambda order: order.__name__)
def test_the_entries_join_those_of_the_app_in_every_order(beat, configure):
    app = new_app()
    configure(app)
    assert beat(app).seconds == {"report": 10.0, **PERIODS}


@pytest.mark.parametrize("configure", ORDERS[:-1], ids=lambda order: order.__name__)
def test_an_entry_of_the_same_name_wins_in_every_order(beat, configure, monkeypatch):
    monkeypatch.setitem(USERS, "lifecycle.sweep", OWN_SWEEP["lifecycle.sweep"])
    app = new_app()
    configure(app)
    found = beat(app).schedule
    assert set(found) == {"report", *PERIODS}
    assert found["lifecycle.sweep"].schedule == crontab(minute="7")
    assert found["lifecycle.sweep"].options == {"queue": "q"}


def test_the_entries_send_the_tasks_of_their_names_which_expire_with_the_next(beat):
    app = new_app()
    Lifecycle(app)
    found = {name: entry for name, entry in beat(app).schedule.items() if name in PERIODS}
    assert {name: entry.task for name, entry in found.items()} == {name: name for name in PERIODS}
    assert {name: entry.options for name, entry in found.items()} == {
        name: {"expires": seconds} for name, seconds in PERIODS.items()
    }


def test_the_periods_are_those_that_are_set_when_beat_begins(beat):
    app = new_app()
    Lifecycle(app)
    app.finalize()
    app.conf.lifecycle_sweep_every = 7
    assert beat(app).seconds["lifecycle.sweep"] == 7.0


def test_new_periods_come_with_the_next_start_of_beat(beat):
    for seconds in (20.0, 40.0):
        app = new_app()
        Lifecycle(app)
        app.conf.lifecycle_prune_every = seconds
        found = beat(app)
        assert found.schedule["lifecycle.prune"].schedule.run_every == timedelta(seconds=seconds)
        assert found.schedule["lifecycle.prune"].options == {"expires": seconds}


def test_beat_in_a_thread_of_a_worker_has_them_too(beat):
    app = new_app()
    assigned_after(app)
    assert beat(app, kind="thread").seconds == {"report": 10.0, **PERIODS}


def test_the_beat_of_another_app_has_none(beat):
    Lifecycle(new_app())
    other = new_app()
    other.conf.beat_schedule = dict(USERS)
    assert set(beat(other).schedule) == {"report"}


def test_the_schedule_of_the_app_itself_is_not_touched(beat):
    app = new_app()
    mine = dict(USERS)
    app.conf.beat_schedule = mine
    Lifecycle(app)
    beat(app)
    assert mine == USERS == app.conf.beat_schedule


def test_settings_that_cannot_be_meant_leave_the_schedule_of_the_app(beat, caplog):
    app = new_app()
    assigned_after(app)
    app.conf.lifecycle_sweep_every = -1
    assert set(beat(app).schedule) == {"report"}
    assert "beat sends no passes error=lifecycle_sweep_every must be more than 0 s" in caplog.text


# The tasks


@pytest.fixture
def lifecycle(database):
    """With stand-ins for the passes."""
    app = new_app()
    app.conf.lifecycle_database_url = database.url.render_as_string(hide_password=False)
    made = Lifecycle(app)
    made.ran = []
    for name in NAMES:
        setattr(made, name, lambda name=name: made.ran.append(name) or SimpleNamespace(found=3))
    yield made
    made.database.dispose()


def test_each_task_runs_its_pass_once_within_half_a_period(lifecycle):
    tasks = [lifecycle.app.tasks[f"lifecycle.{name}"] for name in NAMES]
    assert [task() for task in tasks + tasks] == [3, 3, 3, None, None, None]
    assert lifecycle.ran == list(NAMES)


@pytest.mark.parametrize(("name", "every"), [("sweep", 300), ("recover", 60), ("prune", 86_400)])
def test_after_half_a_period_a_task_runs_again(lifecycle, name, every):
    task = lifecycle.app.tasks[f"lifecycle.{name}"]
    assert task() == 3
    for share, ran in ((0.45, None), (0.1, 3)):
        put_back(lifecycle.database, share * every)
        assert task() == ran


def put_back(database, seconds):
    table = passes.passes
    with database.begin() as connection:
        connection.execute(table.update().values(begun_at=passes.later(table.c.begun_at, -seconds)))


def test_the_tasks_are_plain_ones_that_keep_no_result():
    app = new_app(task_cls=ContainerTask)
    Lifecycle(app)
    tasks = [app.tasks[name] for name in PERIODS]
    assert not [task for task in tasks if isinstance(task, ContainerTask)]
    assert all(task.ignore_result for task in tasks)


@pytest.mark.parametrize("final_before", [True, False])
def test_the_tasks_are_those_of_one_app(final_before):
    one, other = new_app(), new_app()
    if final_before:
        one.finalize()
    Lifecycle(one)
    assert set(PERIODS) <= set(one.tasks)
    assert not set(PERIODS) & set(other.tasks)


def test_to_install_them_reads_no_configuration():
    app = new_app()
    Lifecycle(app)
    assert not app.configured
    assert not app.finalized

"""Settings: where they come from, and which cannot be meant."""

import pytest

from lifecycle.errors import ImpossibleSettings
from lifecycle.settings import Settings, read_settings


def test_the_defaults():
    read = read_settings({}, {})
    assert (read.heartbeat, read.lease, read.grace, read.kill_after, read.log_fold) == (5, 30, 30, 3, 60)
    assert (read.lease_margin, read.expires_in) == (3, 33)


def test_there_is_no_default_database():
    assert read_settings({}, {}).database_url is None


def test_the_app_goes_before_the_environment():
    environment = {"LIFECYCLE_GRACE": "7", "LIFECYCLE_LEASE": "60", "GRACE": "1"}
    read = read_settings({"lifecycle_grace": 5}, environment)
    assert (read.grace, read.lease) == (5, 60)


def test_an_app_that_sets_zero_means_zero():
    assert read_settings({"lifecycle_grace": 0}, {"LIFECYCLE_GRACE": "7"}).grace == 0


def test_an_empty_variable_is_none():
    assert read_settings({}, {"LIFECYCLE_LEASE": "", "LIFECYCLE_DATABASE_URL": ""}) == Settings()


def test_a_margin_of_its_own():
    read = read_settings({"lifecycle_margin": 0.5, "lifecycle_lease": 4, "lifecycle_heartbeat": "1"}, {})
    assert (read.lease_margin, read.expires_in, read.heartbeat) == (0.5, 4.5, 1)


@pytest.mark.parametrize("name", ["heartbeat", "lease", "signal_every", "supervise_every", "log_flush"])
@pytest.mark.parametrize("value", [0, -1])
def test_what_must_be_positive(name, value):
    with pytest.raises(ImpossibleSettings, match=f"lifecycle_{name} must be more than 0 s, not {value}"):
        read_settings({f"lifecycle_{name}": value}, {})


@pytest.mark.parametrize("name", ["grace", "kill_after", "log_fold", "margin"])
def test_what_cannot_be_negative(name):
    with pytest.raises(ImpossibleSettings, match=f"lifecycle_.*{name} cannot be negative: -1"):
        read_settings({f"lifecycle_{name}": -1}, {})


@pytest.mark.parametrize("value", ["soon", [], object()])
def test_what_is_no_number_is_named(value):
    with pytest.raises(ImpossibleSettings, match="lifecycle_lease must be a number"):
        read_settings({"lifecycle_lease": value}, {})


@pytest.mark.parametrize(("heartbeat", "lease", "margin"), [(5, 10, None), (5, 11, None), (5, 30, 20.1), (1, 2, 0.1)])
def test_two_heartbeats_must_fit_in_the_lease(heartbeat, lease, margin):
    with pytest.raises(ImpossibleSettings, match=r"raise lifecycle_lease or lower lifecycle_heartbeat"):
        Settings(heartbeat=heartbeat, lease=lease, margin=margin)


@pytest.mark.parametrize(("heartbeat", "lease", "margin"), [(5, 11.2, None), (5, 30, 20), (1, 2, 0)])
def test_two_heartbeats_that_just_fit(heartbeat, lease, margin):
    assert Settings(heartbeat=heartbeat, lease=lease, margin=margin).lease == lease


def test_a_hand_is_not_given_up_before_an_engine_is():
    with pytest.raises(ImpossibleSettings, match=r"docker_lock of 120 s must be twice the .*docker_timeout of 61 s"):
        Settings(docker_timeout=61)
    assert Settings(docker_timeout=61, docker_lock=122).docker_lock == 122


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_times_must_be_finite(value):
    with pytest.raises(ImpossibleSettings, match="lifecycle_lease must be a finite number of seconds"):
        read_settings({"lifecycle_lease": value}, {})


@pytest.mark.parametrize(("said", "meant"), [("yes", True), ("True", True), (1, True), ("0", False), (False, False)])
def test_a_flag(said, meant):
    assert read_settings({"lifecycle_docker": said}, {}).docker is meant


def test_a_flag_that_is_none_is_named():
    with pytest.raises(ImpossibleSettings, match="lifecycle_docker must be true or false, not 'maybe'"):
        read_settings({"lifecycle_docker": "maybe"}, {})


@pytest.mark.parametrize("said", [["shop", "blog"], "shop, blog,"])
def test_names(said):
    assert read_settings({"lifecycle_docker_projects": said}, {}).docker_projects == ("shop", "blog")


@pytest.mark.parametrize("prefix", ["1st_", "my-app_", "a b", "é_"])
def test_a_prefix_that_no_metric_may_have(prefix):
    with pytest.raises(ImpossibleSettings, match="lifecycle_metrics_prefix must be letters, digits and underscores"):
        read_settings({"lifecycle_metrics_prefix": prefix}, {})


@pytest.mark.parametrize("port", ["0", "-1", "65536"])
def test_a_port_that_is_none(port):
    with pytest.raises(ImpossibleSettings, match=f"lifecycle_metrics_port must be from 1 to 65535, not {port}"):
        read_settings({}, {"LIFECYCLE_METRICS_PORT": port})


def test_a_port_from_the_environment():
    assert read_settings({}, {"LIFECYCLE_METRICS_PORT": "9808"}).metrics_port == 9808

"""Whose fault a failure is, in the words of engines that are not run here."""

import pytest

from lifecycle.domain.service import Share, State
from lifecycle.errors import (
    DaemonTrouble,
    DependencyDown,
    DependencyMissing,
    EngineRefused,
    ServiceGone,
    ServiceMisconfigured,
    ServiceRemoving,
)
from lifecycle.services import inspected, own, watched
from lifecycle.services.trouble import trouble, trouble_of_create

CHILD, PARENT = "c" * 64, "p" * 64


def seen(*, running=True, parent=None, **state):
    host = {} if parent is None else {"NetworkMode": f"container:{parent}"}
    return {"Id": CHILD, "Name": "/child", "State": {"Running": running, **state}, "HostConfig": host}


def of(status, text, *containers, to_start=True, **named):
    there = {each["Id"]: each for each in containers} | named
    return trouble(CHILD, status, text, there.get, to_start=to_start)


@pytest.mark.parametrize(
    "text",
    [
        f"Cannot restart container {CHILD}: No such container: {PARENT}",
        f"joining network namespace of container: No such container: {PARENT}",
        "whatever it will say one day",
    ],
)
def test_a_parent_that_is_gone(text):
    found = of(500, text, seen(running=False, parent=PARENT))
    assert isinstance(found, DependencyMissing)
    assert found.reference == PARENT


@pytest.mark.parametrize(
    "text",
    [
        f"cannot join network of a non running container: {PARENT}",
        "cannot join network namespace of a non running container: container parent is exited",
    ],
)
@pytest.mark.parametrize("state", [{"Running": False}, {"Running": True, "Restarting": True}])
def test_a_parent_that_is_down(text, state):
    parent = {"Id": PARENT, "Name": "/parent", "State": state}
    found = of(409, text, seen(running=False, parent=PARENT), parent)
    assert isinstance(found, DependencyDown)


def test_a_parent_that_is_paused_has_a_namespace():
    parent = {"Id": PARENT, "Name": "/parent", "State": {"Running": True, "Paused": True}}
    assert isinstance(of(500, "busy", seen(parent=PARENT), parent), DaemonTrouble)


def test_who_is_not_to_start_lacks_nobody():
    assert isinstance(of(500, "busy", seen(parent=PARENT), to_start=False), DaemonTrouble)


@pytest.mark.parametrize(
    ("status", "text", "child", "kind"),
    [
        (404, "No such container", None, ServiceGone),
        (500, "who knows", None, ServiceGone),
        (409, "conflict", seen(Status="removing"), ServiceRemoving),
        (500, "conflict", seen(Dead=True), ServiceRemoving),
        (500, "container is marked for removal and cannot be started", seen(), ServiceRemoving),
        (500, "cannot be started: removal in progress", seen(), ServiceRemoving),
        (500, "port is already allocated", seen(running=False), ServiceMisconfigured),
        (404, "network shop_default not found", seen(running=False), ServiceMisconfigured),
        (403, "Address already in use", seen(running=False), ServiceMisconfigured),
        (400, "something in its configuration", seen(running=False), ServiceMisconfigured),
        (500, "Cannot start: gone wrong", seen(running=False, Error="gone wrong"), ServiceMisconfigured),
        (500, "containerd: gone wrong", seen(running=False, Error="containerd: gone wrong"), DaemonTrouble),
        (500, "dial unix /run/containerd/containerd.sock: no such file or directory", seen(), DaemonTrouble),
        (500, "OCI runtime create failed: no space left on device", seen(running=False), DaemonTrouble),
        (500, 'OCI runtime create failed: stat "/x": no such file or directory', seen(), ServiceMisconfigured),
        (500, "Container is not running", seen(), DaemonTrouble),
        (503, "no server is available", seen(), DaemonTrouble),
        (403, "Forbidden", seen(), EngineRefused),
        (403, "<html>denied by policy</html>", None, EngineRefused),
    ],
)
def test_of_one_container(status, text, child, kind):
    found = of(status, text, *([child] if child else []))
    assert type(found) is kind
    assert str(found) == text


def test_a_parent_that_goes_while_its_child_is_watched_is_not_the_child():
    class Going:
        def look(self, reference):
            return None

    child = inspected.service(seen(parent=PARENT) | {"HostConfig": {"NetworkMode": f"container:{PARENT}"}})
    with pytest.raises(DependencyMissing) as found:
        watched.is_stale(Going(), child)
    assert found.value.reference == PARENT


def test_a_create_is_judged_by_what_was_to_be_made():
    host = {"NetworkMode": f"container:{PARENT}"}
    assert isinstance(trouble_of_create(404, "No such container", host, {}.get), DependencyMissing)
    assert isinstance(trouble_of_create(404, "No such image: app:1", {}, {}.get), ServiceMisconfigured)
    taken = trouble_of_create(409, 'Conflict. The container name "/app" is already in use by container x', {}, {}.get)
    assert isinstance(taken, ServiceMisconfigured)
    assert isinstance(trouble_of_create(403, "Forbidden", host, {}.get), EngineRefused)


def test_a_state_or_a_health_that_is_not_known_yet():
    raw = {"Id": CHILD, "Name": "/child", "State": {"Status": "dreaming", "Running": True}, "Config": {}}
    assert inspected.service(raw).state is State.RUNNING
    raw["State"] = {"Status": "dreaming", "Running": False, "Health": {"Status": "melancholic"}}
    assert inspected.service(raw).state is State.EXITED
    assert inspected.service(raw).health == "none"


def test_times_with_nanoseconds_and_the_year_one():
    assert inspected.moment("2026-01-02T03:04:05.123456789Z").isoformat() == "2026-01-02T03:04:05.123456+00:00"
    assert inspected.moment("2026-01-02T05:04:05+02:00").isoformat() == "2026-01-02T03:04:05+00:00"
    assert inspected.moment("0001-01-01T00:00:00Z") is inspected.moment("") is inspected.moment(None) is None


def test_a_parent_that_did_not_exist_yet_is_kept_by_its_name():
    assert inspected.shares({"NetworkMode": "container:vpn", "IpcMode": "private"}) == {Share.NETNS: "vpn"}


@pytest.mark.parametrize(
    ("cgroup", "mounts", "found"),
    [
        (f"0::/docker/{CHILD}\n", "", CHILD),
        (f"1:name=systemd:/system.slice/docker-{CHILD}.scope\n", "", CHILD),
        ("0::/\n", "1 0 0:1 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/var/c/diff,workdir=/w\n", CHILD),
        ("0::/\n", "1 0 0:1 / /mnt rw - overlay overlay rw,upperdir=/var/c/diff\n", None),
        ("0::/user.slice\n", "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n", None),
    ],
)
def test_which_container_we_are_in(cgroup, mounts, found, tmp_path, monkeypatch):
    for name, text in (("CGROUP", cgroup), ("MOUNTS", mounts)):
        monkeypatch.setattr(own, name, tmp_path / name)
        (tmp_path / name).write_text(text)
    containers = [{"Id": CHILD, "GraphDriver": {"Data": {"UpperDir": "/var/c/diff"}}}, {"Id": PARENT}]
    assert own.own_id(containers) == found


def test_by_the_host_name_but_not_by_that_of_another(tmp_path, monkeypatch):
    for name in ("CGROUP", "MOUNTS"):
        monkeypatch.setattr(own, name, tmp_path / "nothing")
    monkeypatch.setattr(own.socket, "gethostname", lambda: CHILD[:12])
    assert own.own_id([{"Id": PARENT}, {"Id": CHILD}]) == CHILD
    assert own.own_id([{"Id": CHILD, "HostConfig": {"NetworkMode": "container:x"}}]) is None

"""The stack as a user has it: it comes up, works, is stopped, loses nodes, and goes without a trace.

The tests share one stack, and each leaves it well; the last one takes it down.
"""

import json
import re
import time

import pytest

from tests.docker.waiting import eventually
from tests.stack.compose import FILES

SLOW = 180  # seconds: what takes a few, on a loaded machine
NOTICED = 6 + 0.6 + 2  # seconds: the lease in fast.yml, its margin, and what is promised beyond
OWN_LAYERS = 150 * 2**20  # bytes on top of Python's image
FEW, MANY = "folder=/usr/lib/python3.11/json", "folder=/opt/lifecycle/lib/python3.11/site-packages"
HEALTHY = {"redis": 1, "postgres": 1, "node": 3, "flower": 1, "watch": 1}
SHOWN = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:5555/workers?json=1').read().decode())"
FREEZE = """
import contextlib, os, signal
from pathlib import Path
for entry in Path("/proc").glob("[0-9]*"):
    with contextlib.suppress(OSError):
        if int(entry.name) not in (1, os.getpid()) and b"celery" in (entry / "cmdline").read_bytes():
            os.kill(int(entry.name), signal.SIGSTOP)
"""
ASK = """
import json, urllib.request, urllib.error
def ask(method, path):
    body = b"" if method == "POST" else None
    try:
        return urllib.request.urlopen(urllib.request.Request("http://proxy:2375" + path, body, method=method)).status
    except urllib.error.HTTPError as error:
        return error.code
print(json.dumps([ask(*each) for each in {asked!r}]))
"""


@pytest.fixture(autouse=True)
def well(stack):
    """All that can tell is well before each test."""
    for service, number in HEALTHY.items():
        eventually(lambda s=service, n=number: stack.health(s) == ["healthy"] * n, SLOW)


@pytest.fixture
def busy(stack):
    """A crawl that goes on for longer than a test of it, on two nodes at least; stopped at its end."""
    root = stack.crawl(MANY)
    eventually(lambda: len({row["node"] for row in stack.running(root)}) > 1, SLOW)
    yield root
    stack.container("stop", root, "--grace", "2")


def started(stack, service_id):
    return stack.client.containers.get(service_id).attrs["State"]["StartedAt"]


def recoveries(stack, service_id):
    """How often the watch brought it back."""
    known = json.loads(stack.container("docker", "status", "--json", where="watch"))
    return next(each["recoveries"] for each in known if each["id"] == service_id)


def settled(stack, root, lost):
    """What has become of these, once all of it is known: done by another run, or by one of its parent."""
    now = {row["id"]: row for row in stack.tree(root)}
    done = {id_ for id_, epoch in lost.items() if now[id_]["status"] == "COMPLETED" and now[id_]["epoch"] > epoch}
    superseded = {id_ for id_ in lost if (now[id_]["stop_reason"] or "").startswith("Superseded")}
    return done if done | superseded == set(lost) else set()


def test_it_comes_up_in_order(stack, celery_setup):
    assert celery_setup.ready()
    names = {node.hostname() for node in celery_setup.worker_cluster}
    eventually(lambda: names == {name for each in celery_setup.app.control.ping(timeout=5) for name in each}, SLOW)
    migrate = stack.one("migrate")
    assert (migrate.status, migrate.attrs["State"]["ExitCode"]) == ("exited", 0)
    assert stack.one("beat").status == "running"


def test_the_image_is_small_and_its_user_is_not_root(stack):
    node = stack.containers("node")[0]
    base = stack.client.images.get("lifecycle-stack:python")
    assert node.image.attrs["Size"] - base.attrs["Size"] < OWN_LAYERS
    assert node.exec_run("id -u").output.split() == [b"10001"]
    installed = set(node.exec_run(["ls", "/opt/lifecycle/lib/python3.11/site-packages"]).output.decode().split())
    assert {"lifecycle", "celery", "flower", "docker", "psycopg2"} <= installed
    assert not {"pip", "pytest", "mypy", "hatchling"} & installed


def test_a_stop_of_a_node_has_the_grace_of_its_containers_and_fifteen_seconds(stack):
    made = stack.compose("config", files=FILES[:1])
    (grace,) = set(re.findall(r"LIFECYCLE_GRACE: ['\"](\d+)", made))
    (stop,) = re.findall(r"stop_grace_period: (\d+)s", made)
    assert int(stop) == int(grace) + 15


def test_a_crawl_completes_and_flower_shows_its_nodes(stack):
    root = stack.crawl(FEW)
    stack.container("wait", root, "--timeout", str(SLOW))
    tree = stack.tree(root)
    assert {row["status"] for row in tree} == {"COMPLETED"}
    assert {row["container_type"] for row in tree} == {"CRAWL_COORDINATOR", "CRAWL_FOLDER", "CRAWL_FILES"}
    shown = stack.run("flower", "python", "-c", SHOWN)
    assert all(each.id[:12] in shown for each in stack.containers("node"))


def test_a_tree_is_stopped_children_first(stack, busy):
    stack.container("stop", busy, "--grace", "5")
    tree = {row["id"]: row for row in stack.tree(busy)}
    assert {row["status"] for row in tree.values()} <= {"STOPPED", "COMPLETED"}
    assert tree[busy]["status"] == "STOPPED"
    pairs = [(row, tree[row["parent_container_id"]]) for row in tree.values() if row["id"] != busy]
    assert [child["id"] for child, parent in pairs if child["stopped_at"] > parent["stopped_at"]] == []


def test_the_work_of_a_killed_node_goes_on_and_the_node_comes_back(stack, busy, celery_setup):
    victim = next(node for node in celery_setup.worker_cluster if stack.running(busy, node.hostname()))
    service, before = victim.container.id, started(stack, victim.container.id)
    already = recoveries(stack, service)
    killed_at = time.time()
    victim.kill()
    lost = {row["id"]: row["epoch"] for row in stack.running(busy, victim.hostname())}
    assert lost
    assert eventually(lambda: settled(stack, busy, lost), SLOW)
    assert max(stack.let_go(lost)) - killed_at < NOTICED
    eventually(lambda: started(stack, service) > before, SLOW)
    eventually(lambda: recoveries(stack, service) > already, SLOW)


def test_a_node_that_hangs_is_found_by_its_lease_and_brought_back(stack):
    node = stack.containers("node")[0]
    before = started(stack, node.id)
    assert not node.exec_run(["python", "-c", FREEZE]).exit_code
    eventually(lambda: stack.client.containers.get(node.id).attrs["State"]["Health"]["Status"] == "unhealthy", SLOW)
    eventually(lambda: started(stack, node.id) > before, SLOW)


def test_health_is_that_of_this_start_and_a_silent_database_is_no_fault(stack):
    """A newcomer of the same host name has the row of a node that lives, and is none."""
    node = stack.containers("node")[0]
    env = dict(each.split("=", 1) for each in node.attrs["Config"]["Env"])
    where = {"image": node.image.id, "hostname": node.id[:12], "network": "smoke_default", "detach": True}

    def asked(**changed):
        newcomer = stack.client.containers.run(
            command=["python", "/app/alive.py", "node"], environment=env | changed, **where
        )
        try:
            return newcomer.wait()["StatusCode"], newcomer.logs().decode()
        finally:
            newcomer.remove(force=True)

    assert asked() == (1, "no lease of this node holds\n")
    code, said = asked(LIFECYCLE_DATABASE_URL="postgresql://lifecycle@nowhere/lifecycle")
    assert (code, said.partition(":")[0]) == (0, "cannot tell, the database does not answer")


def test_the_watch_may_look_and_restart_and_no_more(stack):
    flower = stack.one("flower").id
    asked = {
        ("GET", "/containers/json"): 200,
        ("GET", f"/v1.41/containers/{flower}/json"): 200,
        ("POST", "/containers/nobody/restart"): 404,
        ("POST", "/containers/create"): 403,
        ("POST", f"/containers/{flower}/exec"): 403,
        ("POST", f"/containers/{flower}/kill"): 403,
        ("GET", f"/containers/{flower}/archive?path=/"): 403,
        ("GET", "/images/json"): 403,
        ("DELETE", f"/containers/{flower}"): 403,
    }
    assert json.loads(stack.run("watch", "python", "-c", ASK.format(asked=[*asked]))) == [*asked.values()]
    assert [*stack.one("node").attrs["NetworkSettings"]["Networks"]] == ["smoke_default"]


def test_down_leaves_nothing(stack):
    assert stack.left()
    stack.compose("down", "--volumes", "--timeout", "10")
    assert stack.left() == {}

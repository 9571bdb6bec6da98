"""A database that is away: for less than a lease nothing happens, for longer all is fenced and runs again, once."""

import os
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from job.servers import Postgres
from tests.acceptance.scene import Scene
from tests.acceptance.truth import changed_at, goes_on, overlaps, ticks_on
from tests.acceptance.world import eventually, migrate

pytestmark = [pytest.mark.acceptance, pytest.mark.postgres]
HEARTBEAT, LEASE = 0.3, 4.0
SHORT, LONG = LEASE * 2 / 3, LEASE * 3
NODES = ("one", "two", "three")
RUNS_ON = ["PENDING", "RUNNING"]
RUNS_AGAIN = [*RUNS_ON, "INTERRUPTED", *RUNS_ON]
SUPERSEDED = "Superseded - parent restarted"


class Mortal(Postgres):
    """May crash, and keeps what it has committed."""

    def _command(self):
        return [*super()._command(), "-c", "synchronous_commit=on"]

    def pids(self):
        """The server, and the processes that it has made."""
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        return [first, *(pid for pid, parent in parents() if parent == first)]

    def halt(self):
        """It answers nobody, and keeps every connection: the server first, so that it makes no more processes."""
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def go_on(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)

    def crash(self):
        self.process.kill()


def parents():
    """Every process of the machine, and the one that made it."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])


AWAY = {  # how it goes, how it comes back, and how many seconds that takes
    "hangs": (Mortal.halt, Mortal.go_on, 0.0),
    "is gone": (Mortal.crash, Mortal.start, 0.2),
}


@pytest.fixture(scope="module")
def server(postgres):
    """Its own, once it is known that there can be one here."""
    with Mortal() as server:
        yield server


@pytest.fixture(scope="module")
def world(new_world, server):
    url = server.create_database("outage")
    migrate(url)
    settings = {"heartbeat": HEARTBEAT, "lease": LEASE, "grace": 5, "restart_backoff": "0.5,1,2"}
    world = new_world(database_url=url, **settings)
    for name in NODES:
        world.start(name, queues=name, slots=4)
    yield world
    world.close()


@pytest.fixture
def scene(world):
    scene = Scene(world)
    yield scene
    scene.clear()
    scene.check()
    assert overlaps(world) == []


@pytest.fixture(params=list(AWAY))
def away(request, server):
    """Takes the database away for some seconds, of which the body may use some; when it went and when it came back."""
    goes, comes, takes = AWAY[request.param]

    @contextmanager
    def away(seconds):
        until, times = time.monotonic() + seconds - takes, [time.time()]
        goes(server)
        yield times
        lasts(until - time.monotonic())
        comes(server)
        times.append(time.time())

    return away


def lasts(seconds):
    until = time.monotonic() + seconds
    eventually("it lasted", lambda: time.monotonic() >= until)


def lives(scene):
    """On each node a container of its own, and on the first one a coordinator with workers on the others."""
    for name in NODES:
        scene.run(scene.plan(name, queue=name))
    scene.run(scene.plan("coord-123", kind="MUSTERING", queue="one", queues=["two", "three"]))
    for n in range(2):
        goes_on(scene, f"worker-1-{n}", 1)


def ids(scene):
    return {row.id for row in scene.world.living_nodes()}


def test_away_for_two_thirds_of_a_lease_interrupts_nothing(scene, away):
    lives(scene)
    before = ids(scene)
    with away(SHORT) as times:
        pass
    began, ended = times
    print(f"away for {ended - began:.2f} s of a lease of {LEASE} s")
    lasts(scene.lifecycle.settings.expires_in)  # who was silent meanwhile would be declared dead now
    living = [*NODES, "coord-123", "worker-1-0", "worker-1-1"]
    ticks_on(scene, *living)
    assert {name: scene.history(name) for name in living} == dict.fromkeys(living, RUNS_ON)
    assert ids(scene) == before


def test_away_for_three_leases_fences_everything_and_all_of_it_runs_again_once(scene, away):
    lives(scene)
    before = ids(scene)
    slow = scene.world.nodes[1]
    with away(LONG) as times:
        os.kill(slow.pid, signal.SIGSTOP)
    began, ended = times
    lasts(LEASE / 2)
    os.kill(slow.pid, signal.SIGCONT)
    again = [*NODES, "coord-123"]
    for name in [*again, "worker-1-0", "worker-1-1"]:
        last = [line["at"] for line in scene.marks(name) if line["epoch"] == 1][-1]
        assert last - began < LEASE, "it died at its fence"
    for name in again:
        goes_on(scene, name, 2)
    for n in range(2):
        goes_on(scene, f"worker-2-{n}", 1)
        row = scene.get(f"worker-1-{n}")
        assert (row.status, row.exit_message) == ("STOPPED", SUPERSEDED)
    told = max(changed_at(scene, name, "INTERRUPTED") for name in again) - ended
    print(f"away for {ended - began:.2f} s; all told {told:.2f} s after")
    lasts(scene.lifecycle.settings.expires_in)  # who was silent meanwhile would be declared dead now
    ticks_on(scene, *again, "worker-2-0", "worker-2-1")
    assert {name: scene.history(name) for name in again} == dict.fromkeys(again, RUNS_AGAIN)
    assert {scene.get(name).restart_count for name in again} == {1}
    assert ids(scene) == before, "a node that lives is not taken for dead, not even one that needs a moment"
    assert "was declared dead" not in scene.world.log()

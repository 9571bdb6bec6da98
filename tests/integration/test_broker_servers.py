"""Redis and RabbitMQ as the tests start them: they keep their messages or forget them, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from amqp.exceptions import AccessRefused
from celery import Celery
from kombu import Connection, Queue
from kombu.exceptions import ChannelError, OperationalError

from lifecycle.runtime.doorbell import CeleryDoorbell
from tests.conftest import started
from tests.servers import RabbitMQ, Redis, forget

ROOT = Path(__file__).parents[2]
GONE_WITHIN = 3.0  # seconds: a guard takes one, on a machine at rest
OWNER = """
import sys, time
from tests import servers
server = getattr(servers, sys.argv[1])()
server.start()
print(server.home, flush=True)
time.sleep(60)
"""


@pytest.fixture(params=[Redis, RabbitMQ])
def server(request):
    made = started(RabbitMQ(hosts=1) if request.param is RabbitMQ else Redis())
    yield made
    made.close()


def send(server):
    with Connection(server.url) as connection:
        connection.SimpleQueue("kept").put("message")


def test_a_queue_that_may_not_be_looked_at_is_not_taken_as_empty(server):
    """What is taken as lost is sent once more."""
    send(server)
    with Celery(broker=server.url, set_as_current=False) as app, Connection(server.url) as other:
        doorbell = CeleryDoorbell(SimpleNamespace(app=app))
        assert [doorbell.is_empty(queue) for queue in ("kept", "of nobody")] == [False, True]
        if isinstance(server, RabbitMQ):
            Queue("locked", exclusive=True)(other.default_channel).declare()
            assert not doorbell.is_empty("locked")


def waiting(server):
    """How many messages wait; a queue that it does not know has none."""
    with Connection(server.url) as connection, suppress(ChannelError):
        return connection.default_channel.queue_declare("kept", passive=True).message_count
    return 0


def processes_in(home):
    """Pids of what was started for this folder: its command or its environment names it."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if os.fsencode(home) in told:
                found.append(int(entry.name))
    return found


def test_it_restarts_on_its_port_with_its_messages_or_without(server):
    send(server)
    port = server.port
    server.stop()
    server.start()
    assert (server.port, waiting(server)) == (port, 1)
    forget(server)
    server.start()
    assert (server.port, waiting(server)) == (port, 0)


def test_it_wants_its_password(server):
    url = server.url.replace(server.password, "guess")
    with Connection(url, connect_timeout=5) as connection, pytest.raises((OperationalError, AccessRefused)):
        connection.ensure_connection(max_retries=1, interval_start=0)


def test_a_closed_one_leaves_no_process_and_no_folder(server):
    home = server.home
    assert processes_in(home)
    server.close()
    assert (processes_in(home), home.exists()) == ([], False)


def test_it_is_gone_soon_after_its_owner(server):
    name = type(server).__name__
    owner = subprocess.Popen([sys.executable, "-c", OWNER, name], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    home = Path(owner.stdout.readline().strip())
    assert processes_in(home)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + GONE_WITHIN
    while time.monotonic() < deadline and (home.exists() or processes_in(home)):
        time.sleep(0.02)
    assert (processes_in(home), home.exists()) == ([], False)

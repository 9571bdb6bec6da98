"""Flower as it is: it starts with our app and plug-in, and sees containers as Celery's tasks."""

import os
import signal
import subprocess
from contextlib import suppress
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from job.servers import free_port
from tests.acceptance.world import HERE, die_with_tests, eventually

pytest.importorskip("flower")
pytestmark = pytest.mark.acceptance


@pytest.fixture
def flower(calm_world, tmp_path):
    """Asks for a page of a Flower that looks at this world: its text, or nothing."""
    port = free_port()
    words = ["--address=127.0.0.1", f"--port={port}", f"--db={tmp_path / 'flower'}"]
    with (tmp_path / "flower.log").open("wb") as log:
        process = subprocess.Popen(
            calm_world.celery("flower", *words),
            cwd=HERE,
            env=calm_world.env,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_tests,  # noqa: PLW1509 - no thread of ours holds a lock across a start
        )

    def page(path):
        assert process.poll() is None, (tmp_path / "flower.log").read_text()
        with suppress(URLError), urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.read().decode()

    yield page
    os.kill(process.pid, signal.SIGTERM)
    process.wait(10)


def test_flower_shows_a_container_from_its_start_to_its_end(scene, flower, tmp_path):
    """The node tells of its tasks from the start: Flower asks for that only every few seconds."""
    scene.world.start("told", queues="told", slots=2, env={"PIPELINES_CONF": '{"worker_send_task_events": true}'})
    eventually("the node in Flower", lambda: "told@" in (flower("/") or ""))
    scene.run(scene.plan("trader", queue="told", until=str(tmp_path / "sold")))
    eventually("its start in Flower", lambda: "STARTED" in (flower(f"/task/{scene.id('trader')}") or ""))
    (tmp_path / "sold").touch()
    eventually("its end in Flower", lambda: "SUCCESS" in (flower(f"/task/{scene.id('trader')}") or ""))

"""The app that is measured: the same bodies as containers and as plain tasks, with the same settings.

A node is `celery -A benchmarks.node worker`; what measures makes one app a database for itself.
"""

import os
import time
from functools import partial
from pathlib import Path

from celery import Celery

from benchmarks import trace
from lifecycle import ContainerTask, Lifecycle

PAUSE = 0.05  # seconds between two looks of a body that waits to be stopped


def make_app(broker, database_url=None, started=None):
    """Containers with a database, plain tasks without; bodies say in the file `started` that they began."""
    app = Celery("benchmarks", broker=broker, backend=broker, set_as_current=False)
    app.conf.update(worker_prefetch_multiplier=1, worker_disable_prefetch=True)
    app.conf.update(broker_connection_retry_on_startup=True)
    if database_url is None:
        task = partial(app.task, shared=False)
    else:
        app.conf.lifecycle_database_url = database_url
        Lifecycle(app)
        task = partial(app.task, shared=False, base=ContainerTask)
    _add_tasks(app, task, started)
    return app


def _add_tasks(app, task, started):
    _add_short_tasks(task, started)

    @task(name="bench.linger")
    def linger():
        """Say that it began, then work until it is stopped."""
        _note(started)
        _work()

    @task(name="bench.branch")
    def branch(widths, stays):
        """Spawn a level, whose containers spawn those below it; the root works on, the others are over."""
        _note(started)
        below = app.tasks["bench.branch"] if len(widths) > 1 else linger
        args = [widths[1:], False] if len(widths) > 1 else []
        below.spawn_many([(args, {})] * widths[0])
        if stays:
            _work()


def _add_short_tasks(task, started):
    @task(name="bench.noop")
    def noop(number):
        return number

    @task(name="bench.sleeper", iterations=-1, interval=3600)
    def sleeper():
        """One round now, and one in an hour."""
        _note(started)

    @task(name="bench.drop")
    def drop():
        """One of a stream: it says that it ran."""
        _note(started)

    @task(name="bench.one_by_one")
    def one_by_one(count):
        """Start `count` of them from a loop; their ids, for plain tasks have no parent that ends."""
        with trace.spawner():
            return [_start(noop, number) for number in range(count)]

    @task(name="bench.at_once")
    def at_once(count):
        with trace.spawner():
            return [each.id for each in noop.spawn_many([([number], {}) for number in range(count)])]


def _start(task, number):
    """As a pipeline does: `spawn` a container, `delay` a plain task."""
    return task.spawn([number]).id if isinstance(task, ContainerTask) else task.delay(number).id


def _work():
    while True:
        time.sleep(PAUSE)


def _note(path):
    """A line a start, into a file that the library knows nothing of."""
    with Path(path).open("ab", buffering=0) as file:  # unbuffered: O_APPEND keeps each write whole
        file.write(f"{os.getpid()}\n".encode())

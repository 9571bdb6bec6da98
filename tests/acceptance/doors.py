"""The Celery app of the doors: ways into and out of a container, each as small as it can be."""

import logging
import os
import time

from celery import Celery, chain, chord, group

from lifecycle import ContainerTask, Lifecycle, current_container

app = Celery("doors", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.task_routes = {"doors.has_own_queue": {"queue": "side"}}
lifecycle = Lifecycle(app)


def container_task(**options):
    return app.task(base=ContainerTask, **options)


@container_task()
def add(a, b):
    return a + b


@container_task()
def hold():
    time.sleep(60)


@app.task(shared=False)
def plain(seconds, a):
    """No container; what it spawns belongs to the container that sent it."""
    time.sleep(seconds)
    return add.spawn([a, 0]).id


@container_task()
def starts_chain():
    """The body is over before the first step has begun."""
    return chain(add.s(1, 2), add.s(10), add.s(100)).apply_async(countdown=0.3).id


@container_task(iterations=3, interval=1)
def sends_plain():
    """Its epoch has grown when the plain task of its first iteration spawns."""
    if current_container().current_iteration == 0:
        plain.delay(1.5, 7)


@container_task()
def recursive(n):
    return n + recursive(n - 1) if n else 0


@container_task(bind=True)
def replaces(self):
    raise self.replace(add.s(1, 1))


@container_task()
def returns_nan():
    return {"price": float("nan")}


@container_task()
def logs_a_strange_name(fails):
    name = os.fsdecode(b"caf\xe9")
    logging.getLogger("doors").warning("file %s", name)
    if fails:
        raise ValueError(f"bad path {name}\x00")
    return name


@container_task(iterations=100)
def many_short():
    time.sleep(0.1)


@container_task()
def has_own_queue():
    return "side"


def a_chord():
    """One member ends, one is held."""
    return chord(group(add.s(1, 2), hold.s()), add.s(5))

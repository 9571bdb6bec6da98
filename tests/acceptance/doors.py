"""The Celery app of the doors: ways into and out of a container, each as small as it can be."""

import logging
import os
import time

from celery import Celery, chain, chord, group
from celery.exceptions import SoftTimeLimitExceeded

from lifecycle import ContainerTask, Lifecycle, checkpoint, current_container, shield, sleep

app = Celery("doors", broker=os.environ["BROKER_URL"], backend=os.environ["REDIS_URL"])
app.conf.task_routes = {"doors.has_own_queue": {"queue": "side"}}
app.conf.broker_transport_options = {"queue_order_strategy": "priority"}
app.conf.task_soft_time_limit = float(os.environ.get("DOORS_SOFT_LIMIT", "0")) or None
app.conf.beat_schedule = {"tick": {"task": "doors.ticks", "schedule": 1, "args": [2, 3], "options": {"expires": 60}}}
lifecycle = Lifecycle(app)


def container_task(**options):
    """Not shared: a stranger in the same process is to know the names only."""
    return app.task(base=ContainerTask, shared=False, **options)


@container_task()
def add(a, b):
    return a + b


@container_task()
def ticks(a, b):
    return a * b


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
def has_own_queue(*_):
    return "side"


def a_chord():
    """One member ends, one is held."""
    return chord(group(add.s(1, 2), hold.s()), add.s(5))


@container_task()
def total(numbers):
    return sum(numbers)


@container_task()
def note(*given):
    """A link or an errback: what Celery gave it."""
    return list(given)


@container_task()
def fails(*_):
    raise ValueError("rock ahead")


@container_task()
def errs(task_id):
    """An errback as Celery publishes one; with more arguments it is called as a function."""
    return task_id


@container_task()
def blames(request, error, _traceback):
    add.delay(1, 2)


@container_task()
def blames_itself(*failure):
    """Its own errback: a call of a function, within the same request."""
    if not failure:
        raise ValueError("rock ahead")
    add.delay(1, 2)


@app.task(shared=False)
def plain_link(value):
    add.delay(value, 1)


@container_task(bind=True)
def line(self):
    """Celery's own root and parent."""
    return [self.request.root_id, self.request.parent_id]


@container_task()
def spawns_late():
    """The node's dispatcher publishes it."""
    return [line.spawn(countdown=0.1).id, line.spawn().id]


@container_task(ignore_result=True)
def silent():
    return "told to nobody"


@container_task()
def works(seconds):
    time.sleep(seconds)


@container_task(soft_time_limit=1)
def softly(seconds=60):
    time.sleep(seconds)


@container_task(soft_time_limit=1)
def shielded():
    """Its limit is over inside the shield."""
    with shield():
        time.sleep(2)
        checkpoint(done=True)
    time.sleep(60)


@container_task(soft_time_limit=1)
def cleans_up():
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        return "cleaned up"


@container_task(iterations=4, interval=0.1, soft_time_limit=3)
def rounds():
    """Longer than its limit in all, but in no execution."""
    time.sleep(1)
    return current_container().node


@container_task(rate_limit="1/s")
def rated():
    return None


@container_task(bind=True, max_retries=1)
def retries(self):
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(shared=False)
def plain_add(a, b):
    return a + b


@app.task(shared=False)
def slow_plain(seconds, value):
    time.sleep(seconds)
    return value


@container_task()
def opens(door, awaits=0):
    """Go through a door; the body is over before what is behind it has ended, or once so many children have."""
    result = DOORS[door]().apply_async()
    while len(current_container().children(live=False)) < awaits:
        sleep(0.05)
    return result.as_tuple()


class ByName:
    """`send_task`, as a canvas would be applied."""

    def apply_async(self):
        return app.send_task("doors.add", [1, 2])


@container_task()
def spawns_add(a, b):
    return add.spawn([a, b]).id


@app.task(shared=False)
def plain_call(a, b):
    """Calls a container's function: that spawns in the name of whoever sent this."""
    spawns_add(a, b)
    return a + b


@app.task(shared=False)
def plain_late(seconds):
    """Its container has ended meanwhile."""
    time.sleep(seconds)
    add.delay(1, 2)


def linked(signature, **options):
    return signature.set(**options)


DOORS = {
    "a signature": lambda: add.s(1, 2),
    "send_task by name": ByName,
    "a signature by name": lambda: app.signature("doors.add", [1, 2]),
    "a group": lambda: group(add.s(1, 1), add.s(2, 2)),
    "a chain": lambda: chain(add.s(1, 2), add.s(10), add.s(100)),
    "a chord": lambda: chord([add.s(1, 1), add.s(2, 2)], total.s()),
    "a chord of chains": lambda: chord([add.s(1, 1) | add.s(1), add.s(2, 2) | add.s(2)], total.s()),
    "a chord in a chord": lambda: chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(3, 3)], total.s()),
    "a chord in a chain": lambda: add.s(1, 1) | group(add.s(1), add.s(2)) | total.s() | add.s(5),
    "a group in a chain": lambda: add.s(1, 1) | group(add.s(1), add.s(2)),
    "a chain in a group": lambda: group(add.s(1, 1) | add.s(1), add.s(2, 2)),
    "a chord that ends a chain": lambda: chain(add.s(1, 1), chord([add.s(1), add.s(2)], total.s())),
    "starmap": lambda: add.starmap([(1, 1), (2, 2)]),
    "map": lambda: total.map([[1, 1], [2, 2]]),
    "chunks": lambda: add.chunks([(1, 1), (2, 2), (3, 3)], 2),
    "a link": lambda: linked(add.s(1, 1), link=note.s()),
    "a link to a plain task": lambda: linked(add.s(1, 1), link=plain_link.s()),
    "an errback": lambda: linked(fails.s(), link_error=errs.s()),
    "an errback that is a function": lambda: linked(fails.s(), link_error=blames.s()),
    "an errback of its own": lambda: linked(blames_itself.s(), link_error=blames_itself.s()),
    "an errback of a soft limit": lambda: linked(softly.s(), link_error=errs.s()),
    "an errback of a hard limit": lambda: linked(works.s(60), link_error=errs.s(), time_limit=1),
    "an errback of a chord": lambda: chord([add.s(1, 1), fails.s()], total.s().on_error(errs.s())),
    "a retry": retries.s,
    "plain tasks between": lambda: add.s(1, 1) | plain_add.s(1) | add.s(1),
    "a plain task that calls": lambda: plain_call.s(1, 2),
    "plain, then steps": lambda: slow_plain.s(0.5, 1) | add.s(1) | add.s(1),
    "plain, then a chord": lambda: slow_plain.s(0.5, 1) | add.s(1) | chord([add.s(1) | add.s(1), add.s(2)], total.s()),
    "plain, then a group": lambda: slow_plain.s(0.5, 1) | add.s(1) | group(add.s(1) | add.s(1), add.s(2)),
    "a plain map in a chain": lambda: plain_add.si(1, 1) | plain_add.starmap([(1, 1), (2, 2)]),
    "a plain task that spawns late": lambda: plain_late.s(0.5),
    "a chord of plain tasks": lambda: chord([slow_plain.s(0.5, 2), plain_add.s(2, 2)], total.s()),
}
"""By name: each is made anew for each use."""

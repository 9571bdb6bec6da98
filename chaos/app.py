"""The Celery app of the chaos: `celery -A chaos.app …`, configured by the environment alone.

Its bodies do what a plan says, and write down what really happens, line by line, into a file that the library knows
nothing of.
"""

import faulthandler
import json
import os
import signal
import time
from contextlib import suppress
from functools import wraps

from celery import Celery, chain

from lifecycle import ContainerTask, Lifecycle, checkpoint, current_container, finish, later, shield, sleep
from lifecycle.errors import LifecycleError

app = Celery("chaos", broker=os.environ["CHAOS_BROKER"], backend=os.environ["CHAOS_RESULTS"])
app.conf.update(
    worker_hijack_root_logger=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    beat_max_loop_interval=1,
)
if os.environ["CHAOS_BROKER"].startswith("redis"):
    app.conf.broker_transport_options = {"socket_timeout": 10, "socket_connect_timeout": 3}
lifecycle = Lifecycle(app)
marks = os.open(os.environ["CHAOS_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
PAUSE = 0.1  # seconds between two ticks
TYPES = {}
SHOW = signal.SIGRTMIN  # whoever hangs shows in its node's log where
faulthandler.register(SHOW, all_threads=True)


def note(what, **more):
    """One line: short enough for O_APPEND to keep it whole, whoever else writes."""
    here = current_container()
    who = {"id": here.id, "epoch": here.epoch} if here else {"id": None, "epoch": 0}
    line = {**who, "pid": os.getpid(), "at": time.time(), "mono": time.monotonic(), "what": what, **more}
    os.write(marks, json.dumps(line).encode() + b"\n")


def body(name, **options):
    """A container type whose runs say when they begin and how they leave."""

    def register(function):
        @wraps(function)
        def run(plan):
            here = current_container()
            note("begin", node=here.node, iteration=here.current_iteration)
            try:
                value = function(plan)
            except BaseException as error:
                note("raise", error=type(error).__name__)
                raise
            note("return", iteration=here.current_iteration, rests=type(value).__name__ == "Later")
            return value

        known = {"base": ContainerTask, "container_type": name, "shared": False, **options}
        TYPES[name] = app.task(run, name=f"chaos.{name.lower()}", **known)
        return TYPES[name]

    return register


def tick(seconds):
    """Work that never looks whether it is to stop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        note("tick")
        time.sleep(PAUSE)


def spawn(plan):
    """What is refused is not there; what is acknowledged must not be lost."""
    wishes = {name: plan[name] for name in ("detach", "grace", "resources", "countdown") if name in plan}
    try:
        child = TYPES[plan["kind"]].spawn(kwargs={"plan": plan}, **wishes)
    except LifecycleError as error:
        note("refused", error=type(error).__name__)
    else:
        note("spawned", child=child.id, detached=plan.get("detach", False), kind=plan["kind"])


def spawn_all(plan):
    for child in plan.get("children", ()):
        spawn(child)
        time.sleep(plan.get("gap", 0.0))


@body("COORDINATOR")
def coordinator(plan):
    spawn_all(plan)
    tick(plan["seconds"])


@body("BATCHING")
def batching(plan):
    """All at once."""
    calls = [((), {"plan": {"name": plan["name"], "kind": "WORKER", "seconds": 0.2}}) for _ in range(5)]
    for child in worker.spawn_many(calls):
        note("spawned", child=child.id, detached=False, kind="WORKER")
    tick(plan["seconds"])


@body("TRANSACTING")
def transacting(plan):
    """Children in a transaction of its own, which stays open for a time: they are there once it has committed."""
    child = {"name": plan["name"], "kind": "WORKER", "seconds": 0.2}
    with lifecycle.database.engine.begin() as connection:
        recorded = [worker.spawn(kwargs={"plan": child}, connection=connection) for _ in range(2)]
        tick(plan["seconds"] / 2)
    for each in recorded:
        note("spawned", child=each.id, detached=False, kind="WORKER")


@body("WATCHING")
def watching(plan):
    """Waits for its children without a slot."""
    if "asked" not in current_container().state:
        spawn_all(plan)
    note("tick")
    return later(0.5, asked=True) if current_container().children(live=True) else None


@body("WORKER")
def worker(plan):
    tick(plan["seconds"])


@body("SLEEPER")
def sleeper(plan):
    spawn_all(plan)
    sleep(plan["seconds"])


@body("FAILING")
def failing(plan):
    spawn_all(plan)
    tick(plan["seconds"])
    raise ValueError(f"no such ship {plan['name']}")


@body("STEPS")
def steps(plan):
    """Goes on where it was cut off."""
    for step in range(current_container().state.get("done", 0), plan["steps"]):
        with shield():
            note("step", step=step)
            checkpoint(done=step + 1)
        tick(plan["seconds"] / plan["steps"])


@body("SWALLOWING")
def swallowing(plan):
    """Swallows its stop, and returns as if nothing had been."""
    with suppress(BaseException):
        tick(plan["seconds"])
    note("tick")


@body("SHIELDING")
def shielding(plan):
    with shield():
        tick(plan["seconds"])
    tick(plan["seconds"])


@body("STUBBORN")
def stubborn(plan):
    """Ends by itself or by the kill at its deadline."""
    spawn_all(plan)
    end = time.monotonic() + plan["seconds"] * 3
    while time.monotonic() < end:
        with suppress(BaseException):
            tick(plan["seconds"])


@body("CLEANING")
def cleaning(plan):
    try:
        tick(plan["seconds"])
    finally:
        tick(0.8)


@body("RETRYING", max_retries=5)
def retrying(plan):
    spawn_all(plan)
    tick(plan["seconds"] / 2)
    if app.current_task.request.retries < plan["times"]:
        raise app.current_task.retry(countdown=0.3)


@body("RECONNECTING", restart_on=(ConnectionError,))
def reconnecting(plan):
    spawn_all(plan)
    tick(plan["seconds"] / 2)
    if current_container().epoch <= plan["times"]:
        note("reconnects")
        raise ConnectionRefusedError("no answer")


@body("RESTING")
def resting(plan):
    """Gives its slot back between its legs."""
    leg = current_container().state.get("leg", 0)
    note("leg", leg=leg)
    tick(plan["seconds"] / 3)
    return None if leg >= plan["times"] else later(0.4, leg=leg + 1)


@body("ITERATING", iterations=3, interval=0.4)
def iterating(plan):
    spawn_all(plan)
    tick(plan["seconds"] / 3)


@body("BACK_TO_BACK", iterations=3)
def back_to_back(plan):
    tick(plan["seconds"] / 3)


@body("ENDLESS", iterations=-1, interval=1.0)
def endless(plan):
    tick(plan["seconds"] / 3)


@body("FINISHING", iterations=-1, interval=1.0)
def finishing(plan):
    tick(0.2)
    return finish("enough") if current_container().current_iteration >= plan["times"] else None


@body("POISON")
def poison(plan):
    """Kills its first process."""
    tick(plan["seconds"] / 3)
    if current_container().epoch == 1:
        note("dies")
        os.kill(os.getpid(), signal.SIGKILL)


@body("CHAINING")
def chaining(plan):
    """Steps that Celery publishes one after the other: children of this one, siblings of each other."""
    quick = {"name": plan["name"], "kind": "WORKER", "seconds": 0.2}
    chain(*(worker.si(plan=quick) for _ in range(3))).apply_async()
    tick(plan["seconds"])


@body("SELF_STOPPING")
def self_stopping(plan):
    """Stops itself, or what is above it."""
    spawn_all(plan)
    tick(plan["seconds"] / 2)
    here = current_container()
    above = here.parent_container_id if plan.get("above") else None
    note("stops", target=above or here.id)
    lifecycle.stop(above or here.id, reason="enough")

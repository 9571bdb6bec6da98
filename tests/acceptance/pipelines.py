"""The Celery app of the acceptance tests: `celery -A pipelines …`, configured by the environment alone.

Its bodies write down what really happens, line by line, into a file that the library knows nothing of:
a row that says STOPPED is a lie if a tick of that container came later.
"""

import ctypes
import itertools
import json
import logging
import os
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from celery import Celery, signals
from celery.exceptions import WorkerTerminate
from celery.worker.control import control_command

from lifecycle import ContainerTask, Lifecycle, checkpoint, current_container, finish, later, shield, sleep
from lifecycle.errors import ContainerStopped, CutShort, WaitRefused

app = Celery("pipelines", broker=os.environ["BROKER_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(worker_hijack_root_logger=True, broker_connection_retry_on_startup=True)
if "PIPELINES_SOCKET_TIMEOUT" in os.environ:
    app.conf.broker_transport_options = {"socket_timeout": float(os.environ["PIPELINES_SOCKET_TIMEOUT"])}
app.conf.update(json.loads(os.environ.get("PIPELINES_CONF", "{}")))
lifecycle = Lifecycle(app)
truth = os.open(os.environ["PIPELINES_TRUTH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
log = logging.getLogger("pipelines")
left = []  # connections that a body forgot
PAUSE = 0.05  # seconds between two ticks
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG: Celery asks for a SIGKILL


def container_task(name, **options):
    return app.task(name=f"pipelines.{name.lower()}", base=ContainerTask, container_type=name, shared=False, **options)


def note(what, **more):
    """One line of the truth: short enough for O_APPEND to keep it whole, whoever else writes."""
    container = current_container()
    who = {"id": container.id, "epoch": container.epoch} if container else {"id": None, "epoch": 0}
    line = {**who, "pid": os.getpid(), "at": time.time(), "what": what, **more}
    os.write(truth, json.dumps(line).encode() + b"\n")


def tick(seconds=3600.0, until=None):
    """Work that never looks whether it is to stop, for a time or until a file is there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (until and Path(until).exists()):
        note("tick")
        time.sleep(PAUSE)


def spawn(plan):
    """A child as the test planned it."""
    return lifecycle.start(plan["type"], plan["kwargs"], **plan["options"])


@container_task("COORDINATOR")
def coordinator(children=(), seconds=3600.0):
    """Spawns what was planned, then works on."""
    for plan in children:
        spawn(plan)
    note("spawned")
    try:
        tick(seconds)
    finally:
        note("end")


@container_task("WORKER")
def worker(seconds=3600.0, until=None):
    try:
        tick(seconds, until)
    finally:
        note("end")


@container_task("ATTENTIVE")
def attentive(times=72_000):
    """Looks, as a body on threads must."""
    for _ in range(times):
        checkpoint()
        note("tick")
        sleep(0.2)


@container_task("STUBBORN")
def stubborn(children=()):
    for plan in children:
        spawn(plan)
    while True:
        with suppress(BaseException):
            tick()


@container_task("SHIELDING")
def shielding(seconds=3600.0):
    """Inside shield() for a time; what follows is never reached by a stopped one."""
    with shield():
        tick(seconds)
        note("shield over")
    note("after shield")


@container_task("SWALLOWING")
def swallowing():
    """Swallows its stop once, and returns as if nothing had been."""
    with suppress(BaseException):
        tick()
    note("swallowed")
    return "all is well"


@container_task("DISTRACTED")
def distracted():
    """Loses its first stop, as in a callback of another library, and works on."""
    with suppress(BaseException):
        tick()
    note("lost one")
    tick()


@container_task("CLEANING")
def cleaning(seconds):
    """Needs its time to clean up."""
    try:
        tick()
    finally:
        tick(seconds)
        note("clean")


@container_task("QUICK")
def quick(seconds=0.003):
    time.sleep(seconds)


@container_task("ANSWER")
def answer(value):
    note("tick")
    return value


@container_task("FAILING")
def failing(children=(), seconds=0.0):
    for plan in children:
        spawn(plan)
    tick(seconds)
    raise ValueError("no such ship")


@container_task("RETRYING", bind=True, max_retries=5)
def retrying(self, times):
    note("tick")
    if self.request.retries < times:
        raise self.retry(countdown=0.1)
    return self.request.retries


@container_task("THRICE", iterations=3, interval=1.0)
def thrice():
    note("tick")


@container_task("BACK_TO_BACK", iterations=3)
def back_to_back():
    """A child an iteration."""
    note("tick")
    quick.spawn()


@container_task("ENDLESS", iterations=-1, interval=1.0)
def endless():
    note("tick")


@container_task("SLEEPY", iterations=-1, interval=3600.0)
def sleepy():
    note("tick")


@container_task("WAITING")
def waiting(container_id):
    try:
        lifecycle.get(container_id).wait(timeout=5)
    except WaitRefused as refused:
        return str(refused)


@container_task("STOPPING_OTHER")
def stopping_other(container_id):
    return list(lifecycle.stop(container_id).order)


@container_task("STOPPING_SELF")
def stopping_self(children=(), above=False):
    for plan in children:
        spawn(plan)
    try:
        container = current_container()
        lifecycle.stop(container.parent_container_id if above else container.id, reason="enough")
    except BaseException as raised:
        note("raised", error=type(raised).__name__)
        raise
    note("went on")


@container_task("REVOKING_PARENT")
def revoking_parent():
    note("tick")
    app.control.revoke(current_container().parent_container_id)
    tick(5)
    note("went on")


@container_task("SPAWNER")
def spawner(count):
    """Spawns workers one after the other, as fast as it can."""
    note("tick")
    for _ in range(count):
        worker.spawn()
    tick()


@container_task("SENDER")
def sender(container_id):
    """Starts another by its task's name, as a program would that has never heard of containers."""
    app.send_task("pipelines.worker", task_id=container_id, kwargs={"seconds": 3600.0})
    tick()


@container_task("LOGGING")
def logging_body(lines):
    for _ in range(lines):
        log.warning("the same again")
    log.info("fuel at %d%%", 7)


@container_task("COUNTING")
def counting(seconds):
    """Logs a number each time, every third one as a warning."""
    for number in itertools.count():
        note("tick")
        log.log(logging.INFO if number % 3 else logging.WARNING, "number %d", number)
        time.sleep(seconds)


@container_task("SHOUTING")
def shouting(text):
    log.warning("%s", text)
    note("tick")
    tick()


@container_task("CHAINED")
def chained(value=0):
    note("tick")
    return value + 1


@container_task("READING")
def reading():
    """Does nothing but ask the database."""
    note("tick")
    while True:
        lifecycle.find(limit=5)


@container_task("BLOCKING")
def blocking(seconds):
    """Computes, and lets no greenlet run meanwhile."""
    note("tick")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def die_at(moment):
    """This process is gone at its next publish: `before_task_publish`, or after it."""
    getattr(signals, moment).connect(lambda **_: os.kill(os.getpid(), signal.SIGKILL), weak=False)


@container_task("DYING")
def dying(child, moment):
    """Killed while it spawns: its child is recorded."""
    note("tick")
    die_at(moment)
    spawn(child)


@container_task("GATED")
def gated(gate, seconds):
    """Slow until the gate is open."""
    note("tick")
    if not Path(gate).exists():
        time.sleep(seconds)


@control_command()
def end_worker(state):
    """Celery ends a worker so when it meets an error, or a third Ctrl-C."""
    raise WorkerTerminate(1)


@app.task(name="pipelines.plain", shared=False)
def plain(container_id):
    """No container itself: what it starts belongs to whoever sent it."""
    worker.spawn(container_id=container_id)


@container_task("THROUGH_PLAIN")
def through_plain(container_id):
    plain.delay(container_id)
    tick()


if "PIPELINES_TWIN" in os.environ:

    @app.task(name="pipelines.twin", base=ContainerTask, container_type="WORKER", shared=False)
    def twin():
        """A second task of a type."""


if "PIPELINES_ODD" in os.environ:

    @app.task(name="pipelines.odd", base=ContainerTask, interval="soon", shared=False)
    def odd():
        """No number of seconds."""


TIMES = {
    "seconds": float,
    "timedelta": lambda seconds: timedelta(seconds=seconds),
    "datetime": lambda seconds: datetime.now(UTC) + timedelta(seconds=seconds),
}


@container_task("GOING_ON_LATER")
def going_on_later(times, seconds=0.2, said_as="seconds"):
    """`later` as often as asked, each run told what the ones before have said."""
    container = current_container()
    n = container.state.get("n", 0)
    note("tick", state=container.state, progress=lifecycle.get(container.id).progress)
    if n < times:
        return later(TIMES[said_as](seconds), n=n + 1, **{f"after-{n}": container.epoch})
    return container.state


MISTAKES = {
    "negative": lambda: later(-1),
    "naive": lambda: later(datetime(2040, 1, 1)),  # noqa: DTZ001 - the mistake
    "no JSON": lambda: later(1, ship=object()),
    "NaN": lambda: checkpoint(fuel=float("nan")),
    "no text": lambda: finish(42),
}


@container_task("MISTAKEN")
def mistaken(how):
    return MISTAKES[how]()


def scripted(script):
    """A word for each run: what it does. How many there were is in its state."""
    container = current_container()
    runs = container.state.get("runs", 0)
    checkpoint(runs=runs + 1)
    note("tick", progress=lifecycle.get(container.id).progress)
    match script[runs]:
        case "later":
            return later(0.1)
        case "fail":
            raise ValueError("no such ship")
        case "finish":
            return finish("enough", result={"runs": runs + 1})
    return None


container_task("SCRIPTED")(scripted)
container_task("SCRIPTED_THRICE", iterations=3)(scripted)
container_task("SCRIPTED_ENDLESS", iterations=-1, interval=1.0)(scripted)


@container_task("DROWSY")
def drowsy(children=()):
    """Spawns what was planned, then sleeps, an hour at a time."""
    note("tick")
    for plan in [] if current_container().state else children:
        spawn(plan)
    return later(timedelta(hours=1), spawned=True)


@container_task("WATCHFUL")
def watchful(children):
    """Sleeps until its workers are done, and returns how they ended."""
    here = current_container()
    for plan in [] if here.state else children:
        spawn(plan)
    note("tick", running=[child.id for child in here.children(status="RUNNING")])
    if here.children(live=True):
        return later(0.2, spawned=True)
    return {child.id: str(child.status) for child in here.children(status="completed,FAILED")}


@container_task("TURNING_PAGES")
def turning_pages(first=7, pages=1):
    """Looks at its stop only as it says where it is; then it works on."""
    try:
        for page in range(first, first + pages):
            checkpoint(page=page)
            note("tick", page=page)
            time.sleep(PAUSE)
        tick()
    except ContainerStopped:
        note("stopped")
        raise


@container_task("RECRUITING")
def recruiting(number, tags):
    """All its workers at once."""
    note("tick")
    calls = [((each,), {}) for each in range(number)]
    resources = [[f"{current_container().id}:{each}"] for each in range(number)]
    answer.spawn_many(calls, tags=tags, resources=resources)


@container_task("UNTIDY")
def untidy(child, keeps_state):
    """Leaves the transaction open in which it spawned."""
    left.append(sa.create_engine(lifecycle.database.url).connect())
    answer.spawn([1], container_id=child, connection=left[-1])
    note("tick")
    if keeps_state:
        checkpoint(page=1)
    return "over"


@container_task("MOORED")
def moored(then="raise", seconds=0.0):
    """Says what cut it short, cleans up for a time, and does what it was told; run again, it is done at once."""
    here = current_container()
    if here.epoch > 1:
        note("again", state=here.state)
        return "again"
    try:
        tick()
    except CutShort as cut:
        note("cut", by=type(cut).__name__)
        if then == "raise":
            raise
    finally:
        tick(seconds)
        note("end")
    answers = {"later": lambda: later(0, port="north"), "finish": lambda: finish("enough", result="half")}
    return answers[then]() if then in answers else "early"


@container_task("PATIENT")
def patient():
    """Looks, as a body on threads must; run again, it is done at once."""
    if current_container().epoch > 1:
        note("again")
        return "again"
    try:
        while True:
            note("tick")
            sleep(0.2)
    except CutShort as cut:
        note("cut", by=type(cut).__name__)
        raise


@container_task("ADMIRAL")
def admiral(count, queue_below, seconds=3600.0):
    """Each of its runs has children of its own."""
    below = [worker.spawn([seconds], queue=queue_below).id for _ in range(count)]
    note("spawned", below=below)
    tick(seconds)


@container_task("MUSTERING")
def mustering(queues, seconds=3600.0):
    """Each of its runs has a worker of its own on each of these queues, slow to stop, and named after the run."""
    here = current_container()
    for n, queue in enumerate(queues):
        cleaning.spawn([2.0], queue=queue, container_id=f"worker-{here.epoch}-{n}.{here.id.rpartition('.')[2]}")
    tick(seconds)


def poison():
    """Kills its process, every time."""
    note("tick")
    os.kill(os.getpid(), signal.SIGKILL)


container_task("POISON")(poison)
container_task("POISON_ONCE", max_restarts=0)(poison)


@container_task("HUNGRY")
def hungry(gate, megabytes):
    """Eats memory once the gate is open; run again, it has had enough."""
    if current_container().epoch > 1:
        note("tick")
        return "fed"
    tick(until=gate)
    eaten = [b"." * 2**20 for _ in range(megabytes)]
    note("survived")
    return len(eaten)


STALE = {
    "checkpoint": lambda: checkpoint(by="a stale run"),
    "spawn": lambda: worker.spawn().id,
    "later": lambda: later(0, by="a stale run"),
    "finish": lambda: finish("by a stale run"),
    "return": lambda: "by a stale run",
    "fail": lambda: 1 / 0,
}


@container_task("UNFENCED", bind=True)
def unfenced(self, how, gate, until, said):
    """Its first run outlives its node and its lease; what it meets then is told in a file."""
    if current_container().epoch > 1:
        return tick(until=until)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(DIES_WITH_PARENT, 0)
    note("tick")
    while not Path(gate).exists():
        time.sleep(PAUSE)
    try:
        return self.retry(countdown=0) if how == "retry" else STALE[how]()
    except BaseException as raised:
        Path(said).write_text(type(raised).__name__)
        raise


@container_task("VOYAGE")
def voyage(legs):
    """Each leg once, however often it is interrupted: the work and the word of it are shielded together."""
    for leg in range(current_container().state.get("done", 0), legs):
        with shield():
            note("leg", leg=leg)
            checkpoint(done=leg + 1)
        sleep(0.1)
    return legs


ERRORS = {"refused": ConnectionRefusedError, "value": ValueError}


@container_task("RECONNECTING", restart_on=(ConnectionError,), max_restarts=2)
def reconnecting(fails, error="refused", children=()):
    """Its first runs find nobody there."""
    note("tick")
    for plan in children:
        spawn(plan)
    if current_container().epoch <= fails:
        raise ERRORS[error]("no answer")
    return current_container().epoch


@container_task("ASKING_AGAIN", bind=True, max_retries=2)
def asking_again(self, fails, countdown=0.5, said="", seconds=0.0):
    """Asks for another try as often as it fails, and says the next one what went before; then it works a while."""
    note("asked", retries=self.request.retries, said=said)
    if self.request.retries >= fails:
        tick(seconds)
        return self.request.retries
    try:
        raise ConnectionRefusedError("no answer")
    except ConnectionError as error:
        said = f"{said}{self.request.retries}"
        kwargs = {"fails": fails, "countdown": countdown, "said": said, "seconds": seconds}
        raise self.retry(args=(), kwargs=kwargs, exc=error, countdown=countdown) from None

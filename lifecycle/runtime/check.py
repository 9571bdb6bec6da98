"""Looking whether all fits together: settings, database, broker, nodes; and a node's answer to the question."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from celery import __version__ as celery_version
from celery.app.defaults import DEFAULTS
from celery.worker.control import inspect_command

from lifecycle import __version__
from lifecycle.domain.check import Finding, Level, judge
from lifecycle.domain.facts import Answer, Facts, Heard, Own, Recorded
from lifecycle.errors import LifecycleError
from lifecycle.runtime import lookout
from lifecycle.runtime.passes import periods
from lifecycle.store import checks, schema
from lifecycle.store.url import shown

if TYPE_CHECKING:
    from lifecycle.runtime.app import Lifecycle

Any_ = TypeVar("Any_")
ABOUT = "lifecycle_about"
VERSIONS = {"celery-lifecycle": __version__, "celery": celery_version}
ANSWER = 1.0  # seconds a node has to answer
QUESTIONS = 3  # so often is asked while a living one is missed: a machine may be busy
PATIENCE = 5.0  # seconds for a broker: some clients wait for a silent one for ever


def examine(lifecycle: "Lifecycle") -> Iterator[Finding]:
    """Every check in turn; whatever is missing or broken, none raises and none waits long."""
    own = yield from _settings(lifecycle)
    recorded = yield from _database(lifecycle)
    heard = yield from _broker(lifecycle, expected={row.id for row in recorded.rows if row.late < 0})
    facts = Facts(recorded=recorded, heard=heard, own=own)
    yield from judge(facts)
    yield from lookout.examine(lifecycle, facts)


def _settings(lifecycle: "Lifecycle") -> Generator[Finding, None, Own]:
    """Settings and tasks that cannot be meant."""
    own = Own(versions=VERSIONS, default_queue=lifecycle.app.conf.task_default_queue)
    try:
        settings, types = lifecycle.settings, lifecycle.types()
    except LifecycleError as error:
        yield Finding("settings", Level.FAIL, str(error))
        return own
    text = f"lease {settings.lease:g} s, grace {settings.grace:g} s, {len(types):,} container types"
    yield Finding("settings", Level.OK, text)
    late = tuple(sorted(task.name for task in types.values() if task.acks_late))
    return replace(own, types=frozenset(types), acks_late=late, periods=periods(settings))


def _database(lifecycle: "Lifecycle") -> Generator[Finding, None, Recorded]:
    """Can it be used, and does its schema fit the code?"""
    try:
        database = lifecycle.database
        schema.current(database)
    except LifecycleError as error:
        yield Finding("database", Level.FAIL, str(error))
        yield Finding("schema", Level.SKIP, "needs the database")
        return Recorded()
    yield Finding("database", Level.OK, shown(database.url))
    try:
        warning = schema.check(database)
        recorded = checks.recorded(database)
    except LifecycleError as error:
        yield Finding("schema", Level.FAIL, str(error))
        return Recorded()
    yield Finding("schema", Level.WARN if warning else Level.OK, warning or f"revision {schema.head()}")
    return recorded


def _broker(lifecycle: "Lifecycle", expected: set[str]) -> Generator[Finding, None, Heard]:
    """Can it be used, and who answers on it?"""
    where = "the broker"
    try:
        where = lifecycle.app.connection_for_write().as_uri()
        within(PATIENCE, lifecycle.doorbell.reach)
        heard = within(PATIENCE + QUESTIONS * ANSWER, lambda: _ask(lifecycle, expected))
    except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
        yield Finding("broker", Level.FAIL, f"{where} cannot be used, so nothing new starts: {error}")
        return Heard()
    yield Finding("broker", Level.OK, where)
    return heard


def within(seconds: float, call: Callable[[], Any_]) -> Any_:
    """What a call returns or raises; raises TimeoutError if it takes longer, and leaves it behind."""
    came: SimpleQueue[tuple[Any, Exception | None]] = SimpleQueue()

    def work() -> None:
        try:
            came.put((call(), None))
        except Exception as error:  # noqa: BLE001 - raised again by who waits
            came.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        value, error = came.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    result: Any_ = value
    return result


def _ask(lifecycle: "Lifecycle", expected: set[str]) -> Heard:
    """Who answers within a second; a busy node may need another question."""
    answers: dict[str, Answer] = {}
    strangers: set[str] = set()
    for _ in range(QUESTIONS):
        sent = time.time()

        def note(reply: Mapping[str, Any], sent: float = sent) -> None:
            for hostname, said in reply.items():
                if "ok" in said:
                    answer = _answer(hostname, said["ok"], sent)
                    answers[answer.node] = answer
                else:
                    strangers.add(hostname)

        lifecycle.app.control.broadcast(ABOUT, reply=True, timeout=ANSWER, callback=note)
        if expected <= answers.keys():
            break
    return Heard(asked=True, answers=tuple(answers.values()), strangers=tuple(sorted(strangers)))


def _answer(hostname: str, said: Mapping[str, Any], sent: float) -> Answer:
    """Its clock is right if it shows a time between question and answer."""
    at = said["at"]
    return Answer(
        node=said["node"] or hostname,
        database=said["database"],
        versions=said["versions"],
        queues=frozenset(said["queues"]),
        fetches=said["fetches"],
        ahead=max(0.0, at - time.time()) + min(0.0, at - sent),
    )


@inspect_command(name=ABOUT, default_timeout=ANSWER)
def lifecycle_about(state: Any) -> dict[str, Any]:
    """Which database, versions and queues this node has."""
    lifecycle = getattr(state.app, "lifecycle", None)
    if lifecycle is None or lifecycle.node is None:
        return {"error": "no Lifecycle"}
    about = {
        "at": time.time(),
        "node": lifecycle.node.page.node,
        "database": _database_id(lifecycle),
        "versions": VERSIONS,
        "queues": sorted(state.app.amqp.queues.consume_from),
        "fetches": _fetches(state),
    }
    return {"ok": about}


def _database_id(lifecycle: "Lifecycle") -> str | None:
    try:
        return lifecycle.database.id
    except LifecycleError:
        return None


def _fetches(state: Any) -> str | None:
    """What a node fetches that then waits behind a run, and how to end that; None if nothing."""
    multiplier = state.consumer.prefetch_multiplier
    on_redis = state.app.connection_for_read().transport.driver_type == "redis"
    if on_redis and "worker_disable_prefetch" in DEFAULTS:  # Celery 5.6
        ahead = not state.app.conf.worker_disable_prefetch
        return f"{multiplier} a slot before it can run them: set worker_disable_prefetch = True" if ahead else None
    return None if multiplier == 1 else f"{multiplier} a slot: set worker_prefetch_multiplier = 1"

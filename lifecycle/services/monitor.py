"""One look at an engine's containers, and what follows from it: the same for beat's task, the watch and a hand."""

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from lifecycle.domain.recovery import Fate, Memory, Plan
from lifecycle.domain.service import Action, Event, Snapshot
from lifecycle.errors import DaemonTrouble, ServiceTrouble
from lifecycle.services.alert import tell
from lifecycle.services.endings import KILLS_WITHIN, told, unheard, with_fates
from lifecycle.services.engine import Engine
from lifecycle.services.hold import Hold
from lifecycle.services.outcome import Outcome, settle
from lifecycle.services.plan import plan
from lifecycle.services.repair import perform
from lifecycle.services.report import Act, Report, tell_plan
from lifecycle.settings import Settings
from lifecycle.store import recoveries, services, unrestartables
from lifecycle.store.engine import Database

log = logging.getLogger("lifecycle.docker")
LATE = timedelta(seconds=2)  # so much after an end its last event may come
STOP_TIMEOUT = 10  # seconds: the engine's own
NAMELESS = (
    "the engine does not say who it is, so it is taken for the only one, and for another by who may ask it: "
    "allow GET /info, or give it a name, lifecycle_docker_engine"
)


class Containers(Protocol):
    """What is asked of an engine here."""

    guard: Callable[[], None]
    """Called before each step of an action."""

    def snapshot(self) -> Snapshot:
        """All containers, now."""

    def past(self, since: datetime, until: datetime) -> list[Event]:
        """How containers began and ended then, as far as it still knows."""

    def ping(self) -> None:
        """Raise DaemonTrouble if it does not answer."""


Perform = Callable[[Action, Snapshot], str]


def recover_services(
    database: Database, engine: Engine, settings: Settings, *, asked: frozenset[str] = frozenset()
) -> Report:
    """One pass over an engine: all that is due is done. Raises DaemonTrouble, EngineMissing, EngineRefused, StoreError.

    `asked`: keys to be recovered by hand, whatever was remembered of them, and what depends on them; nothing else.
    """
    return monitor_of(database, engine, settings).run(asked)


def monitor_of(database: Database, engine: Engine, settings: Settings) -> "Monitor":
    """One for many passes."""
    return Monitor(database, engine, partial(perform, engine), settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen, what was remembered, and what follows."""

    snapshot: Snapshot
    memory: Memory
    plan: Plan
    fates: Mapping[str, Mapping[str, str]]
    """Of each key, the columns for how it ended, which nobody had heard."""
    outdated: frozenset[str]
    """Keys that another has acted on, or an event told of, since the engine was asked: what was seen of them is old."""


class Monitor:
    """Looks, decides, and does one thing after the other; between two of them it looks again.

    Any number of monitors may be at work on one engine, from one database: a service is in one hand at a time.
    """

    def __init__(self, database: Database, engine: Containers, perform: Perform, settings: Settings) -> None:
        self._database, self._engine, self._perform, self._settings = database, engine, perform, settings
        self._halted, self._is_nameless = threading.Event(), False
        self._fates_of: dict[tuple[str, datetime], Fate | None] = {}
        self._cycles: set[tuple[str, ...]] = set()
        self.by = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"

    def look(self, asked: frozenset[str] = frozenset()) -> Sight:
        """What is to be done now; nothing is written.

        Raises DaemonTrouble, EngineMissing, EngineRefused and StoreError.
        """
        with self._database.read() as connection:
            before = services.time(connection)
        snapshot = self._engine.snapshot()
        if not (snapshot.engine or self._is_nameless):
            self._is_nameless = True
            log.warning(NAMELESS)
        with self._database.read() as connection:
            memory, at = services.recall(connection, snapshot.engine, within=self._settings.docker_budget_within)
        fates = {} if asked else self._fates(snapshot, memory, at)
        memory = with_fates(memory, fates)
        made = plan(snapshot, memory, self._settings, at, asked=asked)
        fresh = {
            key
            for key, row in memory.services.items()
            if any(at >= before for at in (row.acted_at, row.heard_at) if at)
        }
        return Sight(snapshot=snapshot, memory=memory, plan=made, fates=fates, outdated=frozenset(fresh))

    def _fates(self, snapshot: Snapshot, memory: Memory, now: datetime) -> dict[str, dict[str, str]]:
        """Of what ended while nobody listened the engine is asked, once: whoever looks every so often hears nothing."""
        ended = list(unheard(snapshot, memory, now))
        new = [at for each, at in ended if (each.id, at) not in self._fates_of]
        if new:
            found = told(self._engine.past(min(new) - timedelta(seconds=KILLS_WITHIN), max(new) + LATE))
            self._fates_of = {
                (each.id, at): self._fates_of.get((each.id, at)) or found.get(each.id) for each, at in ended
            }
        fates = [(each, self._fates_of[each.id, at]) for each, at in ended]
        return {each.key: {"fate": str(fate), "fate_id": each.id} for each, fate in fates if fate is not None}

    def run(self, asked: frozenset[str] = frozenset()) -> Report:
        """Do all that is due, in order. Raises as `look`; what fails of one service does not hold up the others."""
        acts: list[Act] = []
        tried: set[str] = set()
        while True:
            sight = self.look(asked)
            versions = {} if self._settings.docker_dry_run else self._keep(sight)
            found = next((each for each in sight.plan.actions if each.key in versions.keys() - tried), None)
            if found is None or self._halted.is_set():
                tell_plan(sight.plan, self._cycles, dry_run=self._settings.docker_dry_run)
                return Report(acts=tuple(acts), plan=sight.plan, engine=sight.snapshot.engine)
            tried.add(found.key)
            if (act := self._act(found, sight, versions[found.key])) is not None:
                acts.append(act)

    def halt(self) -> None:
        """Begin no more actions; one that is under way is done to its end."""
        self._halted.set()

    def _keep(self, sight: Sight) -> dict[str, int]:
        """Remember what was seen, and tell what is to be told; the version of each row that nobody else has written."""
        engine, memory = sight.snapshot.engine, sight.memory
        changes = {key: values for key, values in sight.plan.changes.items() if key not in sight.outdated}
        for key in sight.fates.keys() & {each.service.key for each in sight.plan.known} - sight.outdated:
            changes[key] = {**sight.fates[key], **changes.get(key, {})}
        for action in sight.plan.actions:
            if not memory.of(action.key).version:
                changes.setdefault(action.key, {"name": action.name})
        gone = memory.unrestartable.keys() - sight.snapshot.services.keys()
        written: dict[str, int] = {}
        if changes or gone:
            with self._database.begin() as connection:
                written = services.save(connection, engine, changes, memory)
                unrestartables.forget(connection, engine, gone)
        tell((alert for alert in sight.plan.alerts if alert.key in written), self._settings.docker_webhook)
        same = {key: row.version for key, row in memory.services.items() if key not in changes}
        return {key: version for key, version in (same | written).items() if key not in sight.outdated}

    def _act(self, action: Action, sight: Sight, version: int) -> Act | None:
        """One action in one hand; None if another has taken the service."""
        engine, service = sight.snapshot.engine, sight.snapshot.services[action.id]
        seconds = self._settings.docker_lock + (STOP_TIMEOUT if service.stop_timeout is None else service.stop_timeout)
        hold = Hold(self._database, engine, action.key, by=self.by, seconds=seconds)
        with self._database.begin() as connection:
            if not services.lock(connection, engine, action.key, version, by=self.by, seconds=seconds):
                log.debug("in another hand name=%s", action.name)
                return None
            number = recoveries.begin(connection, engine, action, by=self.by)
            recoveries.forget(connection, engine, self._settings.retention)
        log.info("%s name=%s id=%s reason=%s", action.kind, action.name, service.short_id, action.reason)
        self._engine.guard = hold.renew
        try:
            made_id, error = self._perform(action, sight.snapshot), None
        except ServiceTrouble as trouble:
            made_id, error = None, trouble
        finally:
            self._engine.guard = _nobody
        is_away = isinstance(error, DaemonTrouble) and not self._answers()
        done = Outcome(
            action=action,
            snapshot=sight.snapshot,
            memory=sight.memory,
            number=number,
            by=self.by,
            made_id=made_id,
            error=error,
            is_away=is_away,
        )
        settle(self._database, self._settings, done)
        if error is not None and is_away:
            raise error
        return Act(action=action, error=None if error is None else str(error))

    def _answers(self) -> bool:
        """An engine may fail with one container alone, time after time: that holds up nobody else."""
        try:
            self._engine.ping()
        except ServiceTrouble as trouble:
            log.debug("the engine does not answer: %s", trouble)
            return False
        return True


def _nobody() -> None:
    """Between two actions no service is held."""

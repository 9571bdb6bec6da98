"""What came of one action: whom it is charged to, what is remembered of it, and who is told."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lifecycle.domain.recovery import Alert, Fate, Memory, Tone, Unrestartable
from lifecycle.domain.service import REFUSALS, Action, Kind, Snapshot
from lifecycle.errors import (
    DaemonTrouble,
    DependencyDown,
    DependencyMissing,
    EngineRefused,
    ServiceGone,
    ServiceRemoving,
    ServiceStopped,
    ServiceTaken,
    ServiceTrouble,
)
from lifecycle.services.alert import tell
from lifecycle.services.jitter import jittered
from lifecycle.services.report import tell_outcome
from lifecycle.settings import Settings
from lifecycle.store import recoveries, services, unrestartables
from lifecycle.store.engine import Connection, Database

UNRESTARTABLE = (ServiceGone, ServiceRemoving, DependencyMissing)
UNCHARGED = (*UNRESTARTABLE, DaemonTrouble, DependencyDown, EngineRefused, ServiceStopped, ServiceTaken)
"""Nothing was done, or it is not its fault."""
REFUSED = "the engine allows us to look, but not to act: only observing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one action ended, and what was known when it began."""

    action: Action
    snapshot: Snapshot
    memory: Memory
    number: int
    """That of its record."""
    by: str
    made_id: str | None
    """The container that has the place now; None if it failed."""
    error: ServiceTrouble | None
    is_away: bool
    """True if the engine answers nobody."""

    @property
    def is_charged(self) -> bool:
        """True if it counts for the circuit."""
        return not isinstance(self.error, UNCHARGED)

    @property
    def is_put_off(self) -> bool:
        """True if the next one has to wait: also for what an engine cannot do with one container alone."""
        return self.is_charged or (isinstance(self.error, DaemonTrouble) and not self.is_away)

    @property
    def is_news(self) -> bool:
        """T12: it shares with what is gone, and that could not be mended; nothing else may tell of that."""
        failed = self.error is not None and self.is_charged and self.action.kind in (Kind.RECREATE, Kind.TIDY)
        is_dark = failed or isinstance(self.error, DependencyMissing)
        return is_dark and self.memory.of(self.action.key).told is None


def settle(database: Database, settings: Settings, done: Outcome) -> None:
    """Write what came of an action, give the service back, and say so. Raises StoreError."""
    with database.begin() as connection:
        said = None if done.error is None else str(done.error)
        recoveries.end(connection, done.number, error=said, charged=done.is_charged)
        values = _values(done, settings)
        services.unlock(connection, done.snapshot.engine, done.action.key, by=done.by, values=values)
        is_noted = _note(connection, done)
        alerts = list(_alerts(connection, done, settings))
    tell_outcome(done.action, done.error, noted=is_noted)
    tell(alerts, settings.docker_webhook)


def _values(done: Outcome, settings: Settings) -> dict[str, Any]:
    """The columns of its row. What was heard meanwhile of how it ended was our own doing, if nobody stopped it."""
    row = done.memory.of(done.action.key)
    values: dict[str, Any] = {"fate": row.fate and str(row.fate), "fate_id": row.fate_id}
    if isinstance(done.error, ServiceStopped):
        values = {"fate": str(Fate.STOPPED), "fate_id": done.error.container_id}
    if done.is_news:
        values["told"] = str(done.error)
    if not done.is_put_off:
        return values
    steps = settings.docker_backoff
    new_id = done.made_id if done.made_id != done.action.id else None
    wait = jittered(steps[min(row.attempts, len(steps) - 1)])
    return {**services.acted(next_in=wait, made_id=new_id, failed=done.error is not None), **values}


def _note(connection: Connection, done: Outcome) -> bool:
    """True if its id is given up, and was not before."""
    engine, action, error = done.snapshot.engine, done.action, done.error
    if error is None:
        unrestartables.forget(connection, engine, [action.id])  # by hand it was tried again
    if not isinstance(error, UNRESTARTABLE):
        return False
    reference = error.reference if isinstance(error, DependencyMissing) else None
    given_up = Unrestartable(id=action.id, name=action.name, reason=str(error), reference=reference)
    return unrestartables.note(connection, engine, given_up, done.snapshot.services)


def _alerts(connection: Connection, done: Outcome, settings: Settings) -> Iterator[Alert]:
    """What people have to know of it; that the engine refuses, or does not any more, is written with it."""
    action, error, engine = done.action, done.error, done.snapshot.engine
    if done.is_news:
        yield Alert(tone=Tone.BROKEN, key=action.key, name=action.name, text=f"{action.kind} failed: {error}")
    right = REFUSALS[action.kind]
    if isinstance(error, EngineRefused):
        if services.observe(connection, engine, right, seconds=settings.docker_probe_every, why=REFUSED):
            yield Alert(tone=Tone.BROKEN, key=right, name="engine", text=f"{REFUSED}: {action.kind}: {error}")
    elif error is None and done.memory.of(right).told and services.obeyed(connection, engine, right):
        yield Alert(tone=Tone.RESOLVED, key=right, name="engine", text="the engine lets us act again")

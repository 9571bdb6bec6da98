"""How containers ended, told by what their engine said of them, in its order."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from lifecycle.domain.recovery import Fate, Memory, Remembered
from lifecycle.domain.service import Event, Service, Snapshot, State

BY_SIGNAL = {"2": Fate.STOPPED, "3": Fate.STOPPED, "9": Fate.KILLED, "15": Fate.STOPPED}  # others may be a reload
KILLS_WITHIN = 60.0  # seconds: who lives on for longer took the signal for something else
MOST_KILLED = 1_000
KEPT = timedelta(hours=1)
"""An engine keeps its last 256 events: of an older end it knows nothing."""


class Endings:
    """R39: a crash is an end without a signal before it; a stop tells of itself after it."""

    def __init__(self) -> None:
        self._killed: dict[str, Event] = {}

    def hear(self, event: Event) -> Fate | None:
        """How the container has ended, if this event says so."""
        if event.action == "kill":
            while len(self._killed) >= MOST_KILLED:
                del self._killed[next(iter(self._killed))]
            self._killed[event.id] = event
        if event.action == "start":
            self._killed.pop(event.id, None)
        if event.action == "die":
            return self._by(self._killed.pop(event.id, None), event)
        return Fate.STOPPED if event.action == "stop" else None

    @staticmethod
    def _by(kill: Event | None, end: Event) -> Fate:
        if kill is None or end.at - kill.at > KILLS_WITHIN:
            return Fate.CRASHED
        return BY_SIGNAL.get(kill.attributes.get("signal", ""), Fate.CRASHED)


def told(events: Iterable[Event]) -> dict[str, Fate]:
    """By id, how each container ended last."""
    endings, found = Endings(), dict[str, Fate]()
    for event in events:
        if (fate := endings.hear(event)) is not None:
            found[event.id] = fate
        elif event.action == "start":
            found.pop(event.id, None)
    return found


def unheard(snapshot: Snapshot, memory: Memory, now: datetime) -> Iterator[tuple[Service, datetime]]:
    """What ended not long ago without anybody having heard how, and when; not what our own actions have left so."""
    keys = [each.key for each in snapshot]
    for each in snapshot:
        row, ended = memory.of(each.key), each.finished_at
        if each.state is not State.EXITED or each.is_set_aside or each.error or ended is None or each.is_done:
            continue
        ago = snapshot.taken_at - ended
        if row.fate_id != each.id and ago < KEPT and keys.count(each.key) == 1 and not _is_ours(row, now - ago):
            yield each, ended


def _is_ours(row: Remembered, ended_at: datetime) -> bool:
    return row.locked_by is None and row.locked_until is not None and ended_at <= row.locked_until


def with_fates(memory: Memory, fates: Mapping[str, Mapping[str, str]]) -> Memory:
    """The memory as it is once these are written."""
    rows = {
        key: replace(memory.of(key), fate=Fate(values["fate"]), fate_id=values["fate_id"])
        for key, values in fates.items()
    }
    return replace(memory, services={**memory.services, **rows})

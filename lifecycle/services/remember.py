"""What a look at the containers leaves in memory: who was seen, who is well again, and what people have to be told."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from lifecycle.domain.recovery import Alert, Decision, Memory, Remembered, Tone, Verdict
from lifecycle.settings import Settings

MOST_IDS = 10
SEEN_EVERY = timedelta(hours=1)
Changes = dict[str, Any]


def remember(
    decisions: Iterable[Decision], memory: Memory, settings: Settings, now: datetime
) -> tuple[dict[str, Changes], tuple[Alert, ...]]:
    """Of each key what changes in its row, and the alerts that go with that. Nothing of a row that is in hand."""
    changes: dict[str, Changes] = {}
    alerts: list[Alert] = []
    decided = list(decisions)
    shared = {reference for decision in decided for reference in decision.service.shares.values()}
    for decision in decided:
        row = memory.of(decision.service.key)
        if decision.verdict is Verdict.HELD:
            continue
        new = _seen(decision, row, now, shared)
        told = _told(decision, row, new, settings, now)
        changed = {name: value for name, value in new.items() if getattr(row, name) != value}
        if changed:
            changes[row.key] = changed
            alerts += told
    return changes, tuple(alerts)


def _seen(decision: Decision, row: Remembered, now: datetime, shared: Collection[str]) -> Changes:
    """Who it is now, and how it is. R85: what is seen first is only stored.

    An id by which somebody still names what they shared is kept, however many came after it.
    """
    service = decision.service
    new: Changes = {"name": service.name, "verdict": str(decision.verdict), "reason": decision.reason}
    is_wrong = decision.need is not None or decision.verdict is Verdict.STARTING
    new["since"] = (row.since or now) if is_wrong else None
    if row.ids[:1] != (service.id,):
        before = [each for each in row.ids if each != service.id]
        kept = [each for place, each in enumerate(before, 1) if place < MOST_IDS or each in shared]
        new["ids"] = (service.id, *kept)
    if row.baseline is None:
        new["baseline"] = service.started_at
    if row.fate is not None and (service.is_running or row.fate_id != service.id):
        new |= {"fate": None, "fate_id": None}
    if row.seen_at is None or now - row.seen_at >= SEEN_EVERY:
        new["seen_at"] = now
    return new


def _told(decision: Decision, row: Remembered, new: Changes, settings: Settings, now: datetime) -> list[Alert]:
    """An alert for each trouble that begins or ends; `new` says that it was told."""
    if decision.verdict is Verdict.WELL:
        return _well(decision, row, new, settings, now)
    new["well_since"] = None
    if decision.verdict is Verdict.OPEN and row.opened_at is None:
        new |= {"opened_at": now, "told": decision.reason}
        return [_alert(Tone.BROKEN, decision, f"given up for now: {decision.reason}")]
    if decision.verdict is Verdict.TOLD and row.told != decision.reason:
        new["told"] = decision.reason
        return [_alert(Tone.BROKEN, decision, decision.reason)]
    if decision.need is not None and row.told is None and row.attempts >= settings.docker_budget:
        new["told"] = decision.need.reason
        return [_alert(Tone.BROKEN, decision, f"not well after {row.attempts} recoveries: {decision.need.reason}")]
    return _lasting(decision, row, new, settings, now)


def _lasting(decision: Decision, row: Remembered, new: Changes, settings: Settings, now: datetime) -> list[Alert]:
    """R54: who waits, or is only starting, may do so for ever, and nothing has failed."""
    lasts = new["since"] is not None and now - new["since"] >= timedelta(seconds=settings.docker_alert_after)
    if not lasts or row.told is not None:
        return []
    what = (
        decision.reason if decision.need is None else f"{decision.need.reason}; {decision.verdict}: {decision.reason}"
    )
    new["told"] = what
    return [_alert(Tone.BROKEN, decision, f"not well since {new['since']:%Y-%m-%d %H:%M:%S} UTC: {what}")]


def _well(decision: Decision, row: Remembered, new: Changes, settings: Settings, now: datetime) -> list[Alert]:
    """After being well for long, all is forgotten; what was only told of is over at once."""
    if not (row.attempts or row.opened_at or row.told):
        return []
    since = row.well_since or now
    long_enough = now - since >= timedelta(seconds=settings.docker_healthy_after)
    if not long_enough and (row.attempts or row.opened_at):
        new["well_since"] = since
        return []
    new |= forgiven(now)
    return [_alert(Tone.RESOLVED, decision, "well again")] if row.told else []


def forgiven(now: datetime) -> Mapping[str, Any]:
    """The columns of a service that has nothing behind it."""
    return {
        "attempts": 0,
        "next_at": None,
        "opened_at": None,
        "well_since": None,
        "told": None,
        "forgiven_at": now,
    }


def _alert(tone: Tone, decision: Decision, text: str) -> Alert:
    return Alert(tone=tone, key=decision.service.key, name=decision.service.name, text=text)

"""Docker services as lines and tables."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from lifecycle.cli import table
from lifecycle.cli.text import clean, count, seconds
from lifecycle.domain.recovery import Decision, Memory, Remembered, Verdict
from lifecycle.domain.service import OF_ENGINE, Health, Service, State, is_meant
from lifecycle.services.report import Act
from lifecycle.store.recoveries import Recovery

COLOURS = {
    Verdict.WELL: "green",
    Verdict.STARTING: "cyan",
    Verdict.ACTS: "yellow",
    Verdict.HELD: "yellow",
    Verdict.WAITS: "yellow",
    Verdict.COOLS: "yellow",
    Verdict.OPEN: "bold red",
    Verdict.GIVEN_UP: "bold red",
    Verdict.TOLD: "red",
    Verdict.OBSERVED: "red",
}


def table_of(decisions: Iterable[Decision], memory: Memory) -> Table:
    """One line a service, parents first."""
    made = table.blank("SERVICE", "ID", "STATE", "VERDICT", "REASON", "RECOVERIES", "LAST", "NEXT")
    for each in decisions:
        service, row = each.service, memory.of(each.service.key)
        made.add_row(
            table.Cut(clean(service.key)),
            Text(service.short_id, no_wrap=True),
            Text(state(service), no_wrap=True),
            Text(each.verdict, COLOURS.get(each.verdict, ""), no_wrap=True),
            table.Cut(clean(reason(each))),
            recoveries(row),
            _time(row.acted_at),
            Text("-" if each.again_in is None else f"in {each.again_in:.0f} s", no_wrap=True),
        )
    return made


def table_of_rows(rows: Iterable[Remembered]) -> Table:
    """One line a service, as the database remembers it."""
    made = table.blank("SERVICE", "CONTAINER", "VERDICT", "REASON", "RECOVERIES", "LAST")
    for row in rows:
        made.add_row(
            table.Cut(clean(row.key)),
            table.Cut(clean(row.name)),
            Text(row.verdict or "-", no_wrap=True),
            table.Cut(clean(row.reason or "-")),
            recoveries(row),
            _time(row.acted_at),
        )
    return made


def table_of_history(done: Sequence[Recovery]) -> Table:
    """One line an action."""
    made = table.blank("WHEN", "SERVICE", "ACTION", "ID", "REASON", "OUTCOME")
    for each in done:
        made.add_row(
            _time(each.begun_at),
            table.Cut(clean(each.key)),
            each.kind,
            each.container_id[:12],
            table.Cut(clean(each.reason)),
            table.Cut(clean(outcome(each))),
        )
    return made


def footer(shown: int, hidden: int) -> str:
    """How many there are, and how many are not recovered here."""
    return f"Total: {count(shown, 'service')}" + (
        f" (hidden: {hidden:,} not recovered here; --show-all)" if hidden else ""
    )


def state(service: Service) -> str:
    """As the engine says, with its health or its exit code."""
    if service.state is State.EXITED:
        return f"{service.state} ({service.exit_code})"
    return service.state if service.health is Health.NONE else f"{service.state}, {service.health}"


def reason(decision: Decision) -> str:
    """Why it is so; and what is wrong, where that is not the same."""
    need = decision.need
    told = need is None or need.reason in decision.reason
    return decision.reason if told or need is None else f"{need.reason}; {decision.reason}"


def recoveries(row: Remembered) -> str:
    """How many there were, and how many of them failed."""
    return f"{row.recoveries:,}" + (f" ({row.failures:,} failed)" if row.failures else "")


def outcome(done: Recovery) -> str:
    """What came of an action."""
    if done.ended_at is None:
        return f"under way, or died with {done.by}"
    return "done" if done.error is None else done.error


def wish(decision: Decision) -> str:
    """What would be done."""
    action = decision.action
    return f"would {action.kind} {clean(action.key)}: {clean(action.reason)}" if action else ""


def act(done: Act) -> str:
    """What was done."""
    said = f"{done.action.kind} {clean(done.action.key)}: {clean(done.action.reason)}"
    return said if done.error is None else f"{said}; failed: {clean(done.error)}"


def left(decision: Decision) -> str:
    """What is not done now."""
    return f"{clean(decision.service.key)} {decision.verdict}: {clean(reason(decision))}"


def remembered(memory: Memory, words: Collection[str]) -> list[Remembered]:
    """The services of an engine; of those named, if any are."""
    rows = [row for key, row in sorted(memory.services.items()) if key not in OF_ENGINE]
    return [row for row in rows if not words or any(is_meant(word, row.key, row.name) for word in words)]


def as_dict(decision: Decision, row: Remembered) -> dict[str, Any]:
    """A service as JSON types."""
    service = decision.service
    return {
        **row_as_dict(row),
        "key": service.key,
        "name": service.name,
        "id": service.id,
        "project": service.project,
        "service": service.service,
        "state": str(service.state),
        "health": str(service.health),
        "exit_code": service.exit_code,
        "verdict": str(decision.verdict),
        "reason": decision.reason,
        "need": None if decision.need is None else str(decision.need.kind),
        "need_reason": None if decision.need is None else decision.need.reason,
        "again_in": decision.again_in,
    }


def row_as_dict(row: Remembered) -> dict[str, Any]:
    """What is remembered, as JSON types; counters are of all time."""
    times = {name: getattr(row, name) for name in ("acted_at", "next_at", "opened_at", "quiet_until")}
    return {
        "key": row.key,
        "name": row.name,
        "verdict": row.verdict,
        "reason": row.reason,
        "paused": row.paused,
        "attempts": row.attempts,
        "recoveries": row.recoveries,
        "failures": row.failures,
        **{name: None if value is None else value.isoformat() for name, value in times.items()},
    }


def _time(value: Any) -> Text:
    return Text("-" if value is None else seconds(value), no_wrap=True)

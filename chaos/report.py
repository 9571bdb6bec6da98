"""What a run did and what was found, for a person."""

from collections import Counter

from chaos.allowances import BEYOND
from chaos.stopping import seconds, timed

WIDTH = 160
QUIET = ("ok", "found", "none")


def lines(history, violations):
    """Seed, operations, faults, and every violation."""
    run, rows, changes = history.run, history.rows.values(), history.changes
    yield f"seed {run['seed']}, {run['minutes']:g} minutes, {run['broker']}, PostgreSQL"
    yield f"containers {len(rows):,}: {counted(row.status for row in rows)}"
    yield f"executions {sum(row.epoch for row in rows):,}, marks {len(history.marks):,}, transitions {len(changes):,}"
    yield from operations(history)
    took = [(max(seconds(history, stop, row) for row in rows), grace) for stop, rows, grace in timed(history)]
    allowed = sum(each > grace + BEYOND for each, grace in took)
    longest = max(took, default=(0.0,))[0]
    yield f"stops {len(history.stops):,}, {allowed} longer than grace and {BEYOND:g} s; the longest {longest:.1f} s"
    cuts = counted(change.why for change in changes if change.to_status == "INTERRUPTED")
    yield f"interruptions: {cuts}"
    faults = [each.kind for each in history.faults if each.kind != "stall"]
    yield f"faults {len(faults):,}: {counted(faults)}"
    stalls = [each.seconds for each in history.stalls]
    yield f"this machine kept us waiting {sum(stalls):.1f} s, at once {max(stalls, default=0):.1f} s at most"
    yield f"nodes that ended by themselves {len(history.exits)}"
    yield f"results of what was STOPPED: {counted(history.results.values())}"
    yield from (f"violation {violation}" for violation in violations)
    yield f"violations {len(violations)}"


def operations(history):
    """What clients asked for, and what they were refused."""
    done = [event for event in history.events if event.what == "operation"]
    commands = sum(event.what == "command" for event in history.events)
    yield f"operations {len(done) + commands:,}: {counted(each.name for each in done)}, command {commands}"
    refused = (each.said.partition(":")[0] for each in done if not each.said.startswith(QUIET))
    yield f"refused or unanswered: {counted(refused)}"


def counted(values):
    """The most frequent first."""
    counts = Counter(str(value)[:40] for value in values)
    return ", ".join(f"{name} {number:,}" for name, number in counts.most_common())[:WIDTH] or "none"

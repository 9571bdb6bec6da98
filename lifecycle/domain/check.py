"""What `check` finds, judged from facts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from lifecycle.domain.facts import Facts
from lifecycle.domain.pools import HEARS_AT_WORK, KILLABLE, LOOKS, as_option

MAX_SKEW = 1.0  # seconds
MOST = 5  # problems named in one line
OVERDUE = 2  # periods
AGES = ((86_400, "d"), (3_600, "h"), (60, "min"))
MEND_CLOCK = "times in logs and `eta` are off by it; keep clocks in step (NTP)"


class Level(StrEnum):
    """How a check came out; `skip`: what it needs is missing, as another check says."""

    OK = "ok"
    SKIP = "skip"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what is wrong and what to do, or what was found to be right."""

    check: str
    level: Level
    message: str


Problem = tuple[Level, str]
Judged = tuple[list[Problem], str]  # what is wrong; what is right if nothing is


def judge(facts: Facts) -> Iterator[Finding]:
    """All checks that are made of facts."""
    for name, need, check in CHECKS:
        has_it, why = NEEDS[need]
        if has_it(facts):
            yield sum_up(name, *check(facts))
        else:
            yield Finding(name, Level.SKIP, why)


def sum_up(name: str, problems: list[Problem], fine: str) -> Finding:
    """One line of all problems, the worst first."""
    if not problems:
        return Finding(name, Level.OK, fine)
    severity = list(Level)
    worst_first = sorted(problems, key=lambda problem: -severity.index(problem[0]))
    texts = [text for _, text in worst_first]
    more = [f"and {len(texts) - MOST:,} more"] if len(texts) > MOST else []
    return Finding(name, worst_first[0][0], "; ".join([*texts[:MOST], *more]))


def _clock(facts: Facts) -> Judged:
    clocks = {"the database": facts.recorded.ahead} | {each.node: each.ahead for each in facts.heard.answers}
    wrong = {whose: ahead for whose, ahead in clocks.items() if abs(ahead) > MAX_SKEW}
    way = {True: "ahead of", False: "behind"}
    texts = [f"{whose}'s clock is {abs(off):.1f} s {way[off > 0]} this machine's" for whose, off in wrong.items()]
    return [(Level.WARN, f"{text}: {MEND_CLOCK}") for text in texts], "all within a second of this machine's"


def _nodes(facts: Facts) -> Judged:
    problems = [*_lost(facts), *_silent(facts), *_unknown(facts)]
    if not facts.living:
        problems.append((Level.WARN, "no node lives, so nothing runs: start a Celery worker of this app"))
    alive = f"{len(facts.living):,} alive"
    return problems, f"{alive}, and answering" if facts.heard.asked else f"{alive}; not asked, for want of a broker"


def _lost(facts: Facts) -> Iterator[Problem]:
    for row in facts.recorded.rows:
        if row.late >= 0:
            yield Level.FAIL, f"{row.id} is lost: its lease ran out {row.late:.0f} s ago, and no other node saw it yet"


def _silent(facts: Facts) -> Iterator[Problem]:
    for row in facts.living if facts.heard.asked else ():
        if row.id in facts.said:
            continue
        if row.pool in HEARS_AT_WORK:
            yield Level.FAIL, f"{row.id} lives but does not answer: it hangs, or is on another broker"
        else:
            yield Level.WARN, f"{row.id} does not answer: on {row.pool} it cannot while it runs a task"


def _unknown(facts: Facts) -> Iterator[Problem]:
    known = {row.id for row in facts.recorded.rows}
    for node, answer in facts.said.items():
        if node not in known and answer.database == facts.recorded.id:
            yield Level.WARN, f"{node} answers but was declared dead: it has to join anew, or be restarted"
    for stranger in facts.heard.strangers:
        yield Level.WARN, f"{stranger} answers but runs no Lifecycle, or an older one: it runs no containers of here"


def _identity(facts: Facts) -> Judged:
    others = [each for each in facts.heard.answers if each.database not in (facts.recorded.id, None)]
    blind = [each for each in facts.heard.answers if each.database is None]
    problems = [
        (Level.FAIL, f"{each.node} is on another database ({each.database}): give all one lifecycle_database_url")
        for each in others
    ]
    problems += [(Level.FAIL, f"{each.node} cannot read its database: see its log") for each in blind]
    return problems, f"all answering nodes are on this database, {facts.recorded.id}"


def _versions(facts: Facts) -> Judged:
    own = facts.own.versions
    problems = [
        (Level.WARN, f"{each.node} has {name} {version}, this is {own.get(name)}: bring all to one")
        for each in facts.heard.answers
        for name, version in each.versions.items()
        if version != own.get(name)
    ]
    return problems, ", ".join(f"{name} {version}" for name, version in own.items()) + ", on every answering node too"


def _types(facts: Facts) -> Judged:
    known = {name for row in facts.living for name in row.types}
    live = facts.recorded.live_types
    problems = [
        (Level.FAIL, f"no node has type {name}, of which {number:,} live: start one whose app has it")
        for name, number in live.items()
        if name not in known
    ]
    problems += [
        (Level.WARN, f"no node has type {name} of this app: restart nodes that are older than it")
        for name in sorted(facts.own.types - known - set(live))
    ]
    return problems, f"all {len(known):,} are on nodes"


def _queues(facts: Facts) -> Judged:
    said = facts.said
    consumed = {name for row in facts.living for name in said.get(row.id, row).queues}
    waiting: dict[str, int] = {}
    for queue, number in facts.recorded.waiting.items():
        name = queue or facts.own.default_queue
        waiting[name] = waiting.get(name, 0) + number
    problems = [
        (Level.FAIL, f"{number:,} waiting in queue {name}, which no node consumes: start one with -Q {name}")
        for name, number in waiting.items()
        if name not in consumed
    ]
    return problems, "every queue in which containers wait has a node"


def _pools(facts: Facts) -> Judged:
    problems = [
        (
            Level.WARN,
            f"{row.id} is on {as_option(row.pool)}: a body stops only at {LOOKS}, and is never killed; use -P prefork",
        )
        for row in facts.living
        if row.pool != KILLABLE
    ]
    return problems, "all prefork: what does not stop is killed"


def _passes(facts: Facts) -> Judged:
    judged = {name: _pass(facts, name, every) for name, every in facts.own.periods.items()}
    problems = [(Level.WARN, text) for text in judged.values() if text is not None]
    begun = {name: facts.recorded.passes[name].begun for name in judged if name in facts.recorded.passes}
    texts = [f"{name} {_ago(begun[name])} ago" if name in begun else f"{name} not yet" for name in judged]
    return problems, ", ".join(texts)


def _pass(facts: Facts, name: str, every: float) -> str | None:
    """What is wrong with a periodic pass; one that never ran could have since the oldest node started."""
    most = OVERDUE * every
    oldest = max((row.age for row in facts.living), default=0.0)
    run = facts.recorded.passes.get(name)
    if run is None:
        return f"{name}: never ran, in {_ago(oldest)}: restart the nodes, or start beat" if oldest > most else None
    if run.begun > most:
        return f"{name}: last run {_ago(run.begun)} ago, not every {_ago(every)}: start a node, or beat"
    if (run.ended if run.ended is not None else oldest) > most:
        why = f"it failed: {run.error}" if run.error else "the logs of nodes say why"
        since = "has never ended" if run.ended is None else f"last ended {_ago(run.ended)} ago"
        return f"{name}: began {_ago(run.begun)} ago, but {since}: {why}"
    return None


def _ago(seconds: float) -> str:
    """`12 s`, `47 min`, `3 h`, `2 d`: whole, and rounded down."""
    for size, unit in AGES:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(seconds, 0):.3g} s" if 0 < seconds < 1 else f"{max(seconds, 0):.0f} s"


def _prefetch(facts: Facts) -> Judged:
    problems = [
        (Level.WARN, f"{each.node} fetches {each.fetches}") for each in facts.heard.answers if each.fetches is not None
    ]
    return problems, "no message waits behind a run"


def _acks_late(facts: Facts) -> Judged:
    problems = [
        (Level.WARN, f"{name} acknowledges late: the broker sends its message again while it runs; take acks_late away")
        for name in facts.own.acks_late
    ]
    return problems, "no container task acknowledges late"


NEEDS: dict[str, tuple[Callable[[Facts], object], str]] = {
    "nothing": (lambda facts: True, ""),
    "database": (lambda facts: facts.recorded.id, "needs database and schema"),
    "periods": (lambda facts: facts.recorded.id and facts.own.periods, "needs settings, database and schema"),
    "node": (lambda facts: facts.living, "needs a living node"),
    "answer": (lambda facts: facts.heard.answers, "needs a node that answers"),
    "both": (lambda facts: facts.recorded.id and facts.heard.answers, "needs database, schema and a node that answers"),
}
CHECKS: tuple[tuple[str, str, Callable[[Facts], Judged]], ...] = (
    ("clock", "database", _clock),
    ("nodes", "database", _nodes),
    ("identity", "both", _identity),
    ("versions", "answer", _versions),
    ("types", "node", _types),
    ("queues", "database", _queues),
    ("pools", "node", _pools),
    ("passes", "periods", _passes),
    ("prefetch", "answer", _prefetch),
    ("acks_late", "nothing", _acks_late),
)

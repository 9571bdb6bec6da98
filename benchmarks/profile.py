"""Why it takes so long: phases with their SQL, processor time by process, functions by cProfile."""

import cProfile
import io
import json
import pstats
import re

from benchmarks import mark, processor, retention, stop, trace
from benchmarks.spawn import CONTAINERS, WARM, WAYS, seconds, ways
from benchmarks.stage import DATABASES, PLAIN, staged, until

SHOWN = 45
WIDTH = 160
HEADINGS = f"{'phase':<10}{'ms':>9}{'processor ms':>14}{'sql ms':>9}{'statements':>12}{'commits':>9}{'calls':>7}"


def write(benchmark, folder):
    """Texts into a folder, by what they are about; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with staged() as stage:
        for about, text in PROFILES[benchmark](stage):
            name = re.sub(r"[^a-z0-9+]+", "-", f"{benchmark} {about}".lower())
            path = folder / f"{name}.txt"
            path.write_text(text)
            yield path


def _spawn(stage):
    """Two texts a rival and way."""
    for name in (PLAIN, *DATABASES):
        for way in ways(name):
            yield f"{name} {WAYS[way]} phases", _phases(stage, name, way)
            yield f"{name} {WAYS[way]} functions", _functions(stage, name, way)


def _stop(stage):
    """Who calls a stop: mark, ring, watch and report are functions of his process."""
    for name in DATABASES:
        with stage.rival(name, slots=stop.SLOTS) as rival:
            for shape, widths in stop.SHAPES.items():
                forest = stop.Forest(rival, widths)
                yield f"{name} {shape}", _profiled(forest.end)
                until("the queue to be empty", forest.is_drained)


def _mark(stage):
    for name in DATABASES:
        database = mark.open_database(stage, name)
        mark.plant(database, "profiled", mark.SIZES[1])
        yield name, _profiled(lambda database=database: mark.mark_all(database, "profiled"))
        database.dispose()


def _retention(stage):
    """Who stops a tree, ends a child or sweeps, over a long history and over none."""
    for name, ended in ((retention.NONE, False), (retention.FULL, True)):
        parents = retention.Parents(stage, ended=ended)
        for way, call in retention.WAYS.items():
            call(parents)
            yield f"{way} {name}", _profiled(lambda call=call, parents=parents: call(parents))
        parents.database.dispose()


def _profiled(call):
    with cProfile.Profile() as profile:
        call()
    return _functions_of(profile)


def _functions_of(profile, title=""):
    """The functions that take longest, with and without what they call."""
    out = io.StringIO()
    for order in ("cumulative", "tottime"):
        out.write(f"\n== {title} by {order}\n")
        pstats.Stats(profile, stream=out).strip_dirs().sort_stats(order).print_stats(SHOWN)
    return out.getvalue()


def _phases(stage, name, way):
    """One round with every phase timed."""
    traces = stage.traces()
    with stage.rival(name, trace="phases", traces=traces) as rival:
        seconds(rival, way, WARM)
        with processor.used(processor.processes(stage, rival)) as used:
            took = seconds(rival, way, CONTAINERS)
    written = [json.loads(path.read_text()) for path in traces.glob("phases-*.json")]
    told = [phases for phases, _ in written]
    lines = [f"{CONTAINERS:,} no-op containers, {name}, {WAYS[way]}: {took:.2f} s, slower for being traced", ""]
    lines += ["a container, without the phases inside a phase; sql is part of ms", "", HEADINGS]
    lines += [_line(phase, told) for phase in (*trace.PHASES, trace.RESULT, trace.OUTSIDE)]
    lines += ["", "processor ms a container, by process", ""]
    lines += [f"{who:<12}{spent / CONTAINERS * 1000:>8.3f}" for who, spent in used.items()]
    lines += ["", "statements: how many a container, ms each", "", *_statements([each for _, each in written])]
    return "\n".join(lines) + "\n"


def _line(phase, told):
    """The sums over all children; those of the parents are among them, and change no figure."""
    made = CONTAINERS + WARM
    rows = [phases[phase] for phases in told if phase in phases]
    calls, clock, spent, statements, commits, sql = (sum(row[part] for row in rows) / made for part in trace.AMOUNTS)
    times = f"{clock * 1000:>9.3f}{spent * 1000:>14.3f}{sql * 1000:>9.3f}"
    return f"{phase:<10}{times}{statements:>12.2f}{commits:>9.2f}{calls:>7.2f}"


def _statements(told):
    """Longest in all first."""
    sums = {}
    for statement, (count, spent) in (each for process in told for each in process.items()):
        before = sums.get(statement, (0, 0.0))
        sums[statement] = (before[0] + count, before[1] + spent)
    ordered = sorted(sums.items(), key=lambda each: -each[1][1])[:SHOWN]
    made = CONTAINERS + WARM
    return [f"{count / made:>7.2f}{spent / count * 1000:>9.3f}  {text[:WIDTH]}" for text, (count, spent) in ordered]


def _functions(stage, name, way):
    """One round with every function timed: who spawns, and a pool child that runs what was spawned."""
    traces = stage.traces()
    with stage.rival(name, trace="functions", traces=traces) as rival:
        seconds(rival, way, CONTAINERS)
    found = [path for who in ("spawner", "child") for path in sorted(traces.glob(f"{who}-*.prof"))]
    return "".join(_functions_of(str(path), path.stem) for path in found)


PROFILES = {"spawn": _spawn, "stop": _stop, "mark": _mark, "retention": _retention}

"""Benchmarks, each against a rival in the same run. A missed target is said, with a profile under var/bench, but is
no error: the machine is whatever it is.
"""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import mark, profile, retention, sleepers, spawn, stop, stream, tree
from benchmarks.peers import contest
from benchmarks.stage import staged
from job.binaries import ServerMissing
from job.processes import Failed

BENCHMARKS = {"spawn": spawn, "stop": stop, "mark": mark, "retention": retention}
LOADS = {"sleepers": sleepers, "tree": tree, "stream": stream, "peers": contest}  # only by name: they take long
FOLDER = Path("var/bench")
FAST = "PostgreSQL has fsync=off and synchronous_commit=off here. Ratios count, not seconds."


def main(words):
    wanted = parse(words)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}. {FAST}")
    try:
        for name in wanted.names or BENCHMARKS:
            load(name, wanted) if name in LOADS else run(console, name, wanted)
    except (Failed, ServerMissing) as failure:
        console.print(f"dev.py bench: {failure}")
        return 1
    return 0


def run(console, name, wanted):
    """One benchmark on servers of its own; what it missed, and why."""
    with staged() as stage:
        table, missed = BENCHMARKS[name].measure(stage, wanted.rounds)
    console.print(table)
    for line in missed:
        console.print(f"[bold red]missed[/] {line}")
    if not missed:
        console.print("[green]every target met[/]")
    if missed or wanted.profile:
        for path in profile.write(name, FOLDER):
            console.print(f"why: {path}")


def load(name, wanted):
    """Its figures, a line each as it comes: a run that is cut off has told what it saw."""
    with staged() as stage:
        for what, figure in LOADS[name].measure(stage, wanted):
            print(f"{what}: {figure}", flush=True)


def parse(words):
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    known = [*BENCHMARKS, *LOADS]
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(known)}; {', '.join(BENCHMARKS)} if none")
    parser.add_argument("--rounds", type=int, default=5, help="of each rival, in turn; medians are shown (5)")
    parser.add_argument("--profile", action="store_true", help="write why to var/bench even if no target was missed")
    parser.add_argument("--containers", type=int, help="of sleepers or tree, for a quick try")
    parser.add_argument("--seconds", type=int, help="of stream, for a quick try")
    parser.add_argument("--rate", type=int, help="of stream: spawns a second")
    wanted = parser.parse_args(words)
    if not set(wanted.names) <= set(known):
        parser.error(f"names are {', '.join(known)}")
    if min(each for each in (wanted.rounds, wanted.containers, wanted.seconds, wanted.rate) if each is not None) < 1:
        parser.error("one is the least")
    return wanted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

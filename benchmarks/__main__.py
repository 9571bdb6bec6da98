"""Benchmarks, each against a rival in the same run. A missed target is said, with a profile under var/bench, but is
no error: the machine is whatever it is.
"""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import mark, profile, retention, spawn, stop
from benchmarks.stage import staged
from job.binaries import ServerMissing
from job.processes import Failed

BENCHMARKS = {"spawn": spawn, "stop": stop, "mark": mark, "retention": retention}
FOLDER = Path("var/bench")
FAST = "PostgreSQL has fsync=off and synchronous_commit=off here. Ratios count, not seconds."


def main(words):
    wanted = parse(words)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}. {FAST}")
    try:
        for name in wanted.names or BENCHMARKS:
            run(console, name, wanted)
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


def parse(words):
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(BENCHMARKS)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=5, help="of each rival, in turn; medians are shown (5)")
    parser.add_argument("--profile", action="store_true", help="write why to var/bench even if no target was missed")
    wanted = parser.parse_args(words)
    if wanted.rounds < 1 or not set(wanted.names) <= set(BENCHMARKS):
        parser.error(f"names are {', '.join(BENCHMARKS)}, and a round is the least")
    return wanted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

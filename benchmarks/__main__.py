"""Benchmarks, each against a rival in the same run. A missed target is said, with a profile under var/bench, but is
no error: the machine is whatever it is.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import mark, profile, spawn, stop
from benchmarks.stage import staged

BENCHMARKS = {"spawn": spawn, "stop": stop, "mark": mark}
FOLDER = Path("var/bench")


def main(words):
    wanted = parse(words)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print("PostgreSQL runs with fsync=off and synchronous_commit=off here: ratios count, not seconds.")
    for name in wanted.names or BENCHMARKS:
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
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="|".join(BENCHMARKS))
    parser.add_argument("--rounds", type=int, default=5, help="each rival's times in a round; medians are shown")
    parser.add_argument("--profile", action="store_true", help="write why to var/bench even if no target was missed")
    return parser.parse_args(words)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Random trees under faults, then a check of what was written. Exits with 1 if an invariant was broken."""

import argparse
import random
import shutil
import sys
import time
from pathlib import Path

from chaos import history, report
from chaos.checker import check
from chaos.play import play
from chaos.servers import BROKERS
from job.binaries import ServerMissing

FOLDER = Path("var/chaos")


def main(words):
    wanted = parse(words)
    if wanted.check:
        return judge(wanted.check)
    folder = wanted.keep or FOLDER / f"{time.strftime('%H%M%S')}-{wanted.seed}"
    print(f"seed {wanted.seed}: everything is kept in {folder}", flush=True)
    try:
        play(folder, wanted.seed, wanted.minutes, wanted.broker)
    except ServerMissing as missing:
        print(f"dev.py chaos: {missing}", file=sys.stderr)
        return 1
    failed = judge(folder)
    if failed:
        print(f"again: python3 dev.py chaos --minutes {wanted.minutes:g} --seed {wanted.seed} --broker {wanted.broker}")
    elif wanted.keep is None:
        shutil.rmtree(folder)
    return failed


def judge(folder):
    """Read a run's folder, and say what it shows."""
    told = history.read(folder)
    violations = check(told)
    print("\n".join(report.lines(told, violations)), flush=True)
    return int(bool(violations))


def parse(words):
    parser = argparse.ArgumentParser(prog="dev.py chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of faults; what follows takes one more at most (2)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the same seed, the same plan")
    parser.add_argument("--broker", choices=BROKERS, default="redis")
    parser.add_argument("--keep", type=Path, help="folder for rows, marks, diary and logs; kept also if all is well")
    parser.add_argument("--check", type=Path, help="only check what such a folder keeps")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

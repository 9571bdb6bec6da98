"""The fleet of `workers/fleet` as the main job: a universe of its own, an agent in it, and the commander's tree."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from job import crawl, nodes, signals, stage
from job.processes import Failed, Process, run, stop
from job.stage import Refusal
from job.view import View
from lifecycle import Container, Lifecycle

TYPE = "FLEET_COORDINATOR"
AGENT = "TORWINDO"
NEEDED = ("httpx", "httpx_retries", "tornado")
HASTE = {"FLEET_RATE": "100", "FLEET_BURST": "100", "FLEET_EVERY": "2"}  # of a universe of our own
STARTS_WITHIN = 30.0
LEAVES_WITHIN = 3.0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py run fleet", description=__doc__)
    parser.add_argument("--ships", type=int, default=8, help="freighters (%(default)s)")
    parser.add_argument("--probes", type=int, default=3, help="probes (%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of the universe (%(default)s)")
    parser.add_argument("--compression", type=float, default=60.0, help="its seconds in one of ours (%(default)g)")
    return parser.parse_args(arguments)


def play(options: argparse.Namespace, picture: View) -> int:
    """Each part stands on those above it, and leaves before them."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise Refusal(f"the fleet needs {', '.join(missing)}: pip install '.[fleet]'")
    with stage.alone(), stage.broker() as server, stage.environment(), universe(options) as space:
        nodes.migrate()
        run(
            Process("tables", [sys.executable, "-m", "workers.fleet.migrate"], nodes.LOGS / "tables.log"), STARTS_WITHIN
        )
        lifecycle = crawl.installed()
        with nodes.running() as processes, crawl.stopped_in_the_end(lifecycle, picture) as ours:
            root = lifecycle.start(TYPE, {"max_workers": options.ships})
            ours.append(root)
            picture.say(crawl.how_to_stop(root))
            crawl.follow(lifecycle, root, [*processes, *server, *space], picture)
            return summarise(lifecycle, root, picture)


@contextmanager
def universe(options: argparse.Namespace) -> Iterator[list[Process]]:
    """The one that FLEET_URL and FLEET_TOKEN name, the real one too; else one of our own, which lives as long as we."""
    told = [name for name in ("FLEET_URL", "FLEET_TOKEN") if os.environ.get(name)]
    if len(told) == 1:
        raise Refusal(f"only {told[0]} is set: set FLEET_URL and FLEET_TOKEN for a universe that runs, or neither")
    if told:
        yield []
        return
    process = started(options)
    try:
        enlist(address(process))
        yield [process]
    finally:
        stop([process], signal.SIGTERM, LEAVES_WITHIN)


def started(options: argparse.Namespace) -> Process:
    told = {**vars(options), "rate": HASTE["FLEET_RATE"], "burst": HASTE["FLEET_BURST"]}
    words = [word for name, value in told.items() for word in (f"--{name}", str(value))]
    process = module("universe", "workers.fleet.universe", *words)
    process.start()
    return process


def module(name: str, path: str, *words: str) -> Process:
    log = nodes.LOGS / f"{name}.log"
    log.unlink(missing_ok=True)
    return Process(name, [sys.executable, "-m", path, *words], log)


def address(process: Process) -> str:
    """What it prints once it listens."""
    end = time.monotonic() + STARTS_WITHIN
    while not process.last_words().startswith("http://"):
        signals.check()
        if not process.alive or time.monotonic() > end:
            raise Failed(f"{process.name}: {process.last_words()}")
        time.sleep(0.05)
    return process.last_words()


def enlist(url: str) -> None:
    """A new agent; nodes find it in their environment."""
    from workers.fleet.client import register  # noqa: PLC0415 - needs the extra

    os.environ.update({**HASTE, "FLEET_URL": url, "FLEET_TOKEN": register(url, AGENT)["token"]})


def summarise(lifecycle: Lifecycle, root: Container, picture: View) -> int:
    """The tree has ended though it has no end: somebody stopped it, or it failed."""
    ended = lifecycle.get(root.id)
    picture.say(f"{ended.id} {ended.status}: {ended.exit_message}")
    return 1 if ended.exit_code == 1 else 0

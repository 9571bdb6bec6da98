"""Crawl the *.py files of a folder, or run the fleet: a broker, nodes, beat, and the tree until its end or yours."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from job import crawl, fleet, nodes, signals, stage, view
from job.binaries import ServerMissing
from job.processes import Failed
from lifecycle import LifecycleError

FLEET = "fleet"


def main(arguments: Sequence[str]) -> int:
    signals.take_over()
    try:
        play = as_told(arguments)
        os.chdir(Path(__file__).parents[1])
        return play(view.of(Console(highlight=False)))
    except signals.Ended as ended:
        return 128 + ended.number
    except (stage.Refusal, ServerMissing, Failed, LifecycleError) as problem:
        print(f"job: {problem}", file=sys.stderr)
        return 1


def as_told(arguments: Sequence[str]) -> Callable[[view.View], int]:
    """The fleet, if that is the first word; else a crawl."""
    if arguments[:1] == [FLEET]:
        return partial(fleet.play, fleet.parse(arguments[1:]))
    return partial(crawled, parse(arguments).folder)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py run", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where (default: Python's standard library); or: fleet")
    options = parser.parse_args(arguments)
    if options.folder:
        options.folder = options.folder.resolve()
        if not options.folder.is_dir():
            parser.error(f"not a folder: {options.folder}")
    return options


def crawled(folder: Path | None, picture: view.View) -> int:
    """Each part stands on those above it, and leaves before them."""
    with stage.alone(), stage.broker() as server, stage.environment():
        nodes.migrate()
        lifecycle = crawl.installed()
        with nodes.running() as processes, crawl.stopped_in_the_end(lifecycle, picture) as ours:
            root = crawl.start(lifecycle, folder)
            ours.append(root)
            picture.say(crawl.how_to_stop(root))
            tree = crawl.follow(lifecycle, root, [*processes, *server], picture)
            return crawl.summarise(tree, picture)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

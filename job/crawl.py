"""The tree of the main job, through the library's public names: started, followed, summed up, stopped."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from job import signals, view
from job.processes import Process
from job.stage import ENV, Refusal, has_own_database
from lifecycle import Container, Lifecycle, LifecycleError, Status

TYPE = "CRAWL_COORDINATOR"
LOOK_EVERY = 0.5
GRACE = 10.0
LIVE = (Status.PENDING, Status.RUNNING, Status.INTERRUPTED, Status.STOPPING)
MANY = 100_000


def installed() -> Lifecycle:
    """The workers' library; imported late, for the app reads the environment that the stage sets."""
    from workers import app  # noqa: PLC0415 - see above

    app.loader.import_default_modules()
    lifecycle: Lifecycle = app.lifecycle
    return lifecycle


def start(lifecycle: Lifecycle, folder: Path | None) -> Container:
    return lifecycle.start(TYPE, {"folder": str(folder)} if folder else None)


def follow(lifecycle: Lifecycle, crawl: Container, needed: Sequence[Process], console: Console) -> list[Container]:
    """Show the tree until all of it has ended; refuse to wait for processes that are gone."""
    with view.of(console) as picture:
        while True:
            signals.check()
            tree = lifecycle.tree(crawl.id)
            picture.show(tree)
            if all(container.is_ended for container in tree):
                return tree
            if gone := [process for process in needed if not process.alive]:
                raise Refusal(f"{gone[0].name} ended (see {gone[0].log}): {gone[0].last_words()}")
            time.sleep(LOOK_EVERY)


@contextmanager
def stopped_in_the_end(lifecycle: Lifecycle, console: Console) -> Iterator[list[Container]]:
    """Whatever is put into the list, and in a database of our own every tree, is stopped when the job leaves."""
    ours: list[Container] = []
    left_over = live_roots(lifecycle) if has_own_database() else []
    for root in left_over:
        # Of a run that was killed. Not waited for, now or later: its nodes' leases may run on.
        lifecycle.stop(root.id, reason="left by an earlier run", wait=False)
    try:
        yield ours
    finally:
        roots = live_roots(lifecycle) if has_own_database() else [root.refresh() for root in ours]
        for root in roots:
            if not root.is_ended and root.id not in {left.id for left in left_over}:
                stop(lifecycle, root, console)


def stop(lifecycle: Lifecycle, root: Container, console: Console) -> None:
    console.print(f"Stopping {root.id} …", soft_wrap=True)
    try:
        report = lifecycle.stop(root.id, grace=GRACE, reason="the main job ends")
    except LifecycleError as error:
        console.print(f"{root.id} is not stopped: {error}", soft_wrap=True)
        return
    console.print(f"Stopped {len(report.stopped):,} containers, children before parents", soft_wrap=True)
    for container, why in report.failed.items():
        console.print(f"{container} is not stopped: {why}", soft_wrap=True)


def live_roots(lifecycle: Lifecycle) -> list[Container]:
    return [container for container in lifecycle.find(status=LIVE, limit=MANY) if container.is_root]


def how_to_stop(crawl: Container) -> str:
    celery = Path(sys.executable).with_name("celery")
    if celery.is_relative_to(Path.cwd()):
        celery = celery.relative_to(Path.cwd())
    return (
        f"Ctrl-C ends everything; from a second terminal in this folder, the tree alone:\n"
        f"  env $(cat {ENV}) {celery} -A workers container stop {crawl.id}"
    )


def summarise(tree: Sequence[Container], console: Console) -> int:
    """Say how it went; a crawl that failed is a failure of the job."""
    root = tree[0]
    seconds = (max(container.stopped_at or root.created_at for container in tree) - root.created_at).total_seconds()
    console.print(f"{root.id} {root.status} after {seconds:.1f} s. {view.counts(tree)}", soft_wrap=True)
    if root.exit_message:
        console.print(root.exit_message, soft_wrap=True)
    return 1 if root.status == Status.FAILED else 0

"""The tree of the main job, through the library's public names: started, followed, summed up, stopped."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from job import signals
from job.processes import Process
from job.stage import ENV, VAR, Refusal, has_own_database
from job.view import View, count, counts
from lifecycle import Container, Lifecycle, LifecycleError, Status, StopReport

TYPE = "CRAWL_COORDINATOR"
FOLDER = "CRAWL_FOLDER"
LOOK_EVERY = 0.25
LOOK_AT_A_STOP_EVERY = 0.1
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


def follow(lifecycle: Lifecycle, crawl: Container, needed: Sequence[Process], view: View) -> list[Container]:
    """Show the tree until all of it has ended; refuse to wait for processes that are gone."""
    with view:
        while True:
            signals.check()
            tree = lifecycle.tree(crawl.id)
            view.show(tree)
            if all(container.is_ended for container in tree):
                return tree
            if gone := [process for process in needed if not process.alive]:
                raise Refusal(f"{gone[0].name} ended (see {gone[0].log}): {gone[0].last_words()}")
            time.sleep(LOOK_EVERY)


@contextmanager
def stopped_in_the_end(lifecycle: Lifecycle, view: View) -> Iterator[list[Container]]:
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
                stop(lifecycle, root, view)


def stop(lifecycle: Lifecycle, root: Container, view: View) -> None:
    view.say(f"Stopping {root.id} …")
    try:
        report = watched_stop(lifecycle, root, view)
    except LifecycleError as error:
        view.say(f"{root.id} is not stopped: {error}")
        return
    view.say(f"Stopped {count(len(report.stopped), 'container')}, children before parents")
    for container, why in report.failed.items():
        view.say(f"{container} is not stopped: {why}")


def watched_stop(lifecycle: Lifecycle, root: Container, view: View) -> StopReport:
    """The stop waits in a thread, so that its tree is shown until all of it has ended."""
    with ThreadPoolExecutor(1) as aside, view:
        stopping = aside.submit(lifecycle.stop, root.id, grace=GRACE, reason="the main job ends")
        while wait([stopping], LOOK_AT_A_STOP_EVERY).not_done:
            view.show(lifecycle.tree(root.id))
        view.show(lifecycle.tree(root.id))
        return stopping.result()


def live_roots(lifecycle: Lifecycle) -> list[Container]:
    return [container for container in lifecycle.find(status=LIVE, limit=MANY) if container.is_root]


def how_to_stop(crawl: Container) -> str:
    celery = Path(sys.executable).with_name("celery")
    if celery.is_relative_to(Path.cwd()):
        celery = celery.relative_to(Path.cwd())
    return (
        f"Ctrl-C ends everything; from a second terminal in {Path.cwd()}, the tree alone:\n"
        f"  env $(cat {ENV}) {celery} -A workers container stop {crawl.id}"
    )


def summarise(tree: Sequence[Container], view: View) -> int:
    """Say how it went; a crawl that failed is a failure of the job."""
    root = tree[0]
    seconds = (max(container.stopped_at or root.created_at for container in tree) - root.created_at).total_seconds()
    view.say(f"{root.id} {root.status} after {seconds:.1f} s. {counts(tree)}")
    if root.status == Status.COMPLETED:
        view.say(what_was_new(tree))
    if root.exit_message:
        view.say(root.exit_message)
    return 1 if root.status == Status.FAILED else 0


def what_was_new(tree: Sequence[Container]) -> str:
    """From what the folders' containers returned; one that failed returned nothing."""
    found = [container.result for container in tree if container.container_type == FOLDER and container.result]
    files, changed = (sum(each[key] for each in found) for key in ("files", "changed"))
    again = f"; rm {os.environ.get('CRAWL_DATABASE', VAR / 'crawl.db')} reads all again" if changed < files else ""
    return f"{changed:,} of {count(files, 'file')} new or changed since the last crawl{again}"

"""How fast containers come and go, against plain tasks that do the same: results stored, same node, same broker."""

import time
from contextlib import ExitStack
from statistics import median

from rich.table import Table

from benchmarks import processor
from benchmarks.stage import DATABASES, PLAIN, until
from lifecycle import ContainerTask

CONTAINERS = 1_000
WARM = 50
LOOK = 0.1  # seconds: looking costs the same processors
TARGET = 0.6  # of the rate of plain tasks
TITLE = f"spawn: {CONTAINERS:,} no-op containers until all have ended, two slots"
WAYS = {"one_by_one": "one by one", "at_once": "spawn_many"}


def seconds(rival, way, count):
    """From the parent's start to the end of the last child."""
    begun = time.perf_counter()
    if rival.name == PLAIN:
        _until_results(rival, rival.app.tasks[f"bench.{way}"].delay(count))
    else:
        parent = rival.app.tasks[f"bench.{way}"].spawn([count])
        ended = until(f"{count} containers on {rival.name}", lambda: _ended(rival, parent.id), every=LOOK)
        assert ended.status == "COMPLETED", ended
    return time.perf_counter() - begun


def _ended(rival, container_id):
    found = rival.lifecycle.get(container_id)
    return found if found.is_ended else None


def _until_results(rival, parent):
    """Until the parent's and every child's result is there."""
    backend = rival.app.backend
    ids = until("the plain parent", lambda: parent.result if parent.state == "SUCCESS" else None)
    waiting = {backend.get_key_for_task(each) for each in ids}

    def all_there():
        keys = list(waiting)
        found = backend.mget(keys)
        waiting.difference_update(key for key, value in zip(keys, found, strict=True) if value is not None)
        return not waiting

    until(f"{len(ids)} plain results", all_there, every=LOOK)


def measure(stage, rounds):
    """The rivals round by round; a ratio is of one round, for the machine is noisy."""
    taken = {}
    with ExitStack() as stack:
        rivals = [stack.enter_context(stage.rival(name)) for name in (PLAIN, *DATABASES)]
        for rival in rivals:
            seconds(rival, "one_by_one", WARM)
        for _ in range(rounds):
            for rival in rivals:
                for way in ways(rival.name):
                    taken.setdefault((rival.name, way), []).append(_round(stage, rival, way))
    return _table(taken)


def _round(stage, rival, way):
    """Seconds by the clock, and of the processor in the node and the servers."""
    with processor.used(processor.processes(stage, rival)) as used:
        clock = seconds(rival, way, CONTAINERS)
    return clock, sum(used.values())


def ways(name):
    """Plain Celery publishes one by one only."""
    both = name != PLAIN and hasattr(ContainerTask, "spawn_many")
    return ("one_by_one", "at_once") if both else ("one_by_one",)


def _table(taken):
    table = Table("rival", "way", "median s", "per second", "rate / plain", "processor ms each", "/ plain", title=TITLE)
    missed = []
    plain = taken[PLAIN, "one_by_one"]
    for (name, way), times in taken.items():
        clock, spent = (median(part) for part in zip(*times, strict=True))
        rate = median(base / each for (base, _), (each, _) in zip(plain, times, strict=True))
        work = median(each / base for (_, base), (_, each) in zip(plain, times, strict=True))
        speed, each = f"{CONTAINERS / clock:.0f}", f"{spent / CONTAINERS * 1000:.2f}"
        table.add_row(name, WAYS[way], f"{clock:.2f}", speed, f"{rate:.2f}", each, f"{work:.2f}")
        if rate < TARGET:
            missed.append(f"spawn, {name}, {WAYS[way]}: {rate:.2f} of the rate of plain tasks; target {TARGET}")
    return table, missed

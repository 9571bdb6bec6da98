"""What executions wrote down of themselves, held to the rule that a container has one of them at a time."""

from itertools import pairwise

from tests.acceptance.world import eventually


def overlaps(world):
    """Where two executions of one container were at work at once; empty if all is well."""
    return [said for container, lines in world.marks().items() if container for said in _overlaps_of(container, lines)]


def _overlaps_of(container, lines):
    """One epoch is one process, and writes nothing once the next has begun."""
    spans = {epoch: [line for line in lines if line["epoch"] == epoch] for epoch in epochs(lines)}
    for epoch, written in spans.items():
        pids = {line["pid"] for line in written}
        if len(pids) > 1:
            yield f"{container}: epoch {epoch} is that of processes {sorted(pids)}"
    for earlier, later in pairwise(sorted(spans)):
        late = max(line["at"] for line in spans[earlier]) - min(line["at"] for line in spans[later])
        if late >= 0:
            yield f"{container}: epoch {earlier} wrote {late:.3f} s after epoch {later} had begun"


def epochs(lines):
    """Which executions wrote, in the order of their first lines."""
    return list(dict.fromkeys(line["epoch"] for line in lines))


def goes_on(scene, name, epoch):
    """Wait until this execution of a container is at work; its lines so far."""

    def written():
        return [line for line in scene.marks(name) if line["epoch"] == epoch]

    return eventually(f"{name} at work in epoch {epoch}", written)


def ticks_on(scene, *names):
    """Wait until each has written once more: it lives."""
    before = {name: len(scene.ticks(name)) for name in names}
    for name in names:
        eventually(f"{name} ticks on", lambda name=name: len(scene.ticks(name)) > before[name])


def changed_at(scene, name, status):
    """When a row last changed to a status, by the database's clock (one machine: the bodies' clock as well)."""
    times = [each.at for each in scene.lifecycle.history(scene.id(name)) if each.to_status == status]
    return times[-1].timestamp()

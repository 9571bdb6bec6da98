"""Every transaction of the model: one call each of the store's and the trees' own functions, and what time does."""

from unittest.mock import patch

from lifecycle.domain.counters import Counter
from lifecycle.domain.ending import completed, failed, stopped
from lifecycle.domain.policy import STOPPED_ORPHAN, Restarts
from lifecycle.errors import ContainerStopped, ExecutionSuperseded, InvalidParent
from lifecycle.store import containers, endings, interrupts, marks, nodes, orphans, prunes, runs, stops, totals
from lifecycle.trees import end, interrupt, recover, spawn, stop, sweep
from lifecycle.trees.interrupt import Cut
from tests.model.memory import PAST

LOST = Cut("lost")
CUTS = {
    "leave": Cut("node shut down", wait=0.0),
    "retry": Cut("asked for it", wait=60.0, attempt="retry 1/1"),
    "restart": Cut("engine broke"),
}
FREE = {cut.why for cut in CUTS.values() if cut.wait is not None}
MAX_RESTARTS, RESTARTS = 1, Restarts(backoff=(0.0,))
ENDINGS = {"return": completed(), "fail": failed("engine broke"), "stopped": stopped()}


class Refused(str):
    """The name of the error with which a transaction left everything as it was."""

    __slots__ = ()


def call(memory, name, *arguments):
    """Run one transaction; its result, or how it was refused."""
    memory.doing = name
    try:
        return CALLS[name](memory, *arguments)
    except (InvalidParent, ContainerStopped, ExecutionSuperseded) as error:
        return Refused(type(error).__name__)


def register(memory, node):
    about = {"id": node, "hostname": node, "pid": 1, "pool": "prefork", "concurrency": 1, "version": "1"}
    with memory.database.begin() as connection:
        nodes.register(connection, about, expires_in=30)


def spawn_(memory, child, parent, epoch, detached):
    place = None if parent is None else spawn.Parent(id=parent, epoch=epoch)
    birth = spawn.Birth(
        id=child,
        container_type="WORK",
        by="test",
        parent=place,
        detached=detached,
        resources=(f"ship:{child}",),
        max_restarts=MAX_RESTARTS,
    )
    spawn.spawn(memory.database, birth)


def follow(memory, child, before, parent):
    """What a chain publishes after the body of `before`: a sibling of it."""
    with memory.database.read() as connection:
        born_of = containers.get(connection, before).parent_epoch
    place = spawn.Parent(id=parent, born_of=born_of, through=before)
    spawn.spawn(memory.database, spawn.Birth(id=child, container_type="WORK", by="test", parent=place))


def claim(memory, container, node):
    with memory.database.begin() as connection:
        taken = runs.claim(connection, container, node=node, pid=1, pid_started=1)
    return taken and taken.epoch


def rest(memory, container, epoch):
    with memory.database.begin() as connection:
        return runs.rest(connection, container, epoch, until=60, iterations=1)


def count(memory, container, epoch):
    with memory.database.begin() as connection:
        return runs.count_iteration(connection, container, epoch)


def end_(memory, container, epoch, word):
    return end.end_own(memory.database, container, epoch, ENDINGS[word])[0]


def lose(memory, container, epoch, node, was_killed):
    how = {"node": node, "cut": LOST, "restarts": RESTARTS, "was_killed": was_killed}
    return next(iter(interrupt.lose_one(memory.database, container, epoch, **how)), None)


def give_up(memory, container, epoch, node):
    with memory.database.begin() as connection:
        return endings.give_up(connection, container, epoch, "does not stop", node=node)


def look(memory, container):
    with memory.database.read() as connection:
        return endings.can_settle(connection, container)


def settle(memory, container):
    with memory.database.begin() as connection:
        runs.lock(connection, container)
        return endings.settle(connection, container)


def mark(memory, container):
    stop.mark(memory.database, stop.Request(container_id=container, by="test", reason="enough"))


def ring(memory, container):
    """What the caller of a stop reads after its mark: the parent to settle, if the target has ended."""
    with memory.database.read() as connection:
        target = containers.get(connection, container)
    return target.parent_container_id if target.is_ended and not target.detached else None


def declare_dead(memory):
    with memory.database.begin() as connection:
        return tuple(nodes.declare_dead(connection))


def read_lost(memory):
    with memory.database.read() as connection:
        return tuple((row.id, row.epoch, row.node) for row in nodes.rows_on_dead_nodes(connection)) or None


def read_unsettled(memory):
    with memory.database.read() as connection:
        return tuple(endings.unsettled(connection)) or None


def wake(memory, container):
    """Its time has come."""
    memory.raw.execute("UPDATE containers SET wake_at = ? WHERE id = ?", (PAST, container))


def expire(memory, node):
    """Its lease and the margin have run out."""
    memory.raw.execute("UPDATE nodes SET expires_at = ? WHERE id = ?", (PAST, node))


def interrupt_(memory, container, epoch, word):
    """The first transaction of `interrupt`: what it settles then is a step of its own."""
    with patch.object(interrupt, "settle", return_value=[]):
        changed = interrupt.interrupt(memory.database, container, epoch, CUTS[word], RESTARTS)
    return changed and changed[0]


def read_left(memory):
    with memory.database.read() as connection:
        return tuple(interrupts.superseding(connection, 9)) or None


def supersede(memory, container, epoch):
    return tuple(recover.supersede_one(memory.database, container, epoch)[1])


def resume(memory):
    with memory.database.begin() as connection:
        return tuple(moved.id for moved in interrupts.resume(connection, 9)) or None


def renew(memory, node):
    with memory.database.begin() as connection:
        return nodes.renew(connection, node, expires_in=30, timeout=1)


def hand(memory, container):
    """An operator's UPDATE, that asks for nothing and writes nothing else."""
    memory.raw.execute("UPDATE containers SET status = 'COMPLETED' WHERE id = ?", (container,))


def sweep_orphans(memory):
    """The transaction of `sweep_orphans`: what it found, and what ended at once."""
    with memory.database.begin() as connection:
        found = orphans.orphans(connection, 9, lock=True)
        marked = marks.mark_all(connection, found, by=sweep.BY, message=STOPPED_ORPHAN) if found else None
        if found:
            totals.add(connection, Counter.ORPHANS, value=len(found))
        ended = stops.ended_by(connection, marked.stop_id) if marked else []
    return tuple((row.id, row.status) for row in found), tuple(ended)


def release_owed(memory):
    sweep.sweep_owed(memory.database)


def count_for_good(memory):
    """One transaction of a reading, of the smallest batch."""
    with memory.database.begin() as connection:
        return totals.fold(connection, 1)


def prune(memory):
    """One transaction of a prune: a batch of whatever has ended."""
    with memory.database.begin() as connection:
        before = prunes.time_before(connection, -1)
        return prunes.delete(connection, prunes.take(connection, before, after=prunes.OLDEST, limit=1))


CALLS = {
    "register": register,
    "spawn": spawn_,
    "follow": follow,
    "claim": claim,
    "rest": rest,
    "count": count,
    "end": end_,
    "lose": lose,
    "give up": give_up,
    "look": look,
    "settle": settle,
    "mark": mark,
    "ring": ring,
    "declare dead": declare_dead,
    "read lost": read_lost,
    "read unsettled": read_unsettled,
    "wake": wake,
    "expire": expire,
    "interrupt": interrupt_,
    "read left": read_left,
    "supersede": supersede,
    "resume": resume,
    "renew": renew,
    "hand": hand,
    "sweep orphans": sweep_orphans,
    "release owed": release_owed,
    "count for good": count_for_good,
    "prune": prune,
}

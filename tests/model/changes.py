"""How a guard is taken away: changes to statements as they are sent, and to functions."""

from dataclasses import replace
from types import SimpleNamespace

from lifecycle.store import runs
from lifecycle.store.tables import containers as table
from lifecycle.trees import spawn
from tests.model import calls
from tests.model.truth import Truth


def without(guard, *doing):
    """The guard holds for every row, wherever these kinds of transactions send it."""
    return lambda patch, memory: memory.weaken(doing, guard)


def instead(module, name, mutated):
    """`mutated` takes the real function and its arguments."""

    def apply(patch, memory):
        real = getattr(module, name)
        patch.setattr(module, name, lambda *args, **kwargs: mutated(real, *args, **kwargs))

    return apply


def nothing(module, name, result=None):
    return instead(module, name, lambda real, *args, **kwargs: result)


def kept_out(module, name, **values):
    """It is given these values, whatever its caller says."""
    return instead(module, name, lambda real, *args, **kwargs: real(*args, **{**kwargs, **values}))


def charged(patch, memory):
    """Every interruption is charged."""
    patch.setattr(calls, "CUTS", {word: replace(cut, wait=None) for word, cut in calls.CUTS.items()})


def held_as(doing, **values):
    """The row that this kind of transaction locks seems to have these values, or those made of its own."""

    def apply(patch, memory):
        def locked(real, connection, container_id, **how):
            held = real(connection, container_id, **how)
            if held is None or memory.doing != doing:
                return held
            seeming = {name: value(held._mapping[name]) if callable(value) else value for name, value in values.items()}
            return SimpleNamespace(**{**held._mapping, **seeming})

        instead(runs, "lock", locked)(patch, memory)

    return apply


class Whatever(int):
    """A row's own number, and in a comparison any other too."""

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = int.__hash__


class Whoever(str):
    """A row's own name, or none, and in a comparison any other too."""

    __slots__ = ()

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = str.__hash__


def parent_as(change):
    """The spawner asks for its parent's state, and gets another."""
    return instead(spawn, "_refuse_unless_running", lambda real, parent, row: real(*change(parent, row)))


def always_born_of_a_run(patch, memory):
    """What is spawned from outside seems to be of the parent's first run."""

    def placed(real, connection, birth):
        place, *inherited = real(connection, birth)
        return {**place, "parent_epoch": place.get("parent_epoch") or 1}, *inherited

    instead(spawn, "_under_parent", placed)(patch, memory)


def its_own_epoch(parent, row):
    return (parent if parent.epoch is None else replace(parent, epoch=row.epoch)), row


def without_outcome(parent, row):
    return parent, SimpleNamespace(**{**row._mapping, "outcome": None})


def only(*statuses):
    return lambda real, of=table: of.c.status.in_(statuses)


def unfenced(patch, memory):
    """The lease is trusted though no timer kills what outlives it."""
    patch.setattr(Truth, "living", property(lambda truth: [run for run in sorted(truth.runs) if not run.over]))


def both(*changes):
    def apply(patch, memory):
        for change in changes:
            change(patch, memory)

    return apply

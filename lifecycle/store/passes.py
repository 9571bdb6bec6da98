"""Periodic passes: when each last ran and what it found; who may run it next is decided here."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lifecycle.domain.facts import Pass
from lifecycle.store.clock import later, now
from lifecycle.store.tables import passes

p = passes.c


def _begin(made: Any) -> Any:
    """In one statement, so that of two who come at once the second sees what the first wrote."""
    long_ago = later(p.begun_at, sa.bindparam("at_most_every", type_=sa.Float)) <= now()
    values = {"begun_at": now(), "ran_by": made.excluded.ran_by}
    return (
        made.values(name=sa.bindparam("pass_name"), ran_by=sa.bindparam("by"), begun_at=now())
        .on_conflict_do_update(index_elements=[p.name], set_=values, where=long_ago)
        .returning(p.name)
    )


BEGIN = {
    name: _begin(made) for name, made in (("postgresql", postgresql.insert(passes)), ("sqlite", sqlite.insert(passes)))
}


def begin(connection: sa.Connection, name: str, *, by: str, at_most_every: float) -> bool:
    """True for the one who is to run the pass now; False if it began less than `at_most_every` seconds ago."""
    asked = {"pass_name": name, "by": by, "at_most_every": at_most_every}
    return connection.execute(BEGIN[connection.dialect.name], asked).first() is not None


def done(connection: sa.Connection, name: str, found: int) -> None:
    """The pass has ended, and found so many."""
    counted = {"found": found, "runs": p.runs + 1, "total_found": p.total_found + found}
    connection.execute(passes.update().where(p.name == name).values(ended_at=now(), error=None, **counted))


def failed(connection: sa.Connection, name: str, error: str) -> None:
    """The pass has failed, and why."""
    connection.execute(passes.update().where(p.name == name).values(error=error))


def last(connection: sa.Connection) -> dict[str, float]:
    """Seconds since each pass last began; one that never did is missing."""
    return {name: each.begun for name, each in runs(connection).items()}


def runs(connection: sa.Connection) -> Mapping[str, Pass]:
    """Of each pass that ever began, when it last began and last ended."""
    found = connection.execute(sa.select(p.name, p.begun_at, p.ended_at, p.error, now()))
    return {
        name: Pass(
            begun=(at - begun_at).total_seconds(),
            ended=None if ended_at is None else (at - ended_at).total_seconds(),
            error=error,
        )
        for name, begun_at, ended_at, error, at in found
    }

"""What is remembered of Docker services: a row a service of an engine, and who is at work on it.

Whoever decides has read a row's version, and only does what it decided from the row as it still is.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lifecycle.domain.recovery import Fate, Hint, Memory, Remembered
from lifecycle.domain.service import EVENTS, OF_ENGINE
from lifecycle.store import unrestartables
from lifecycle.store.clock import later, latest, now
from lifecycle.store.tables import docker_actions, docker_services

s, a = docker_services.c, docker_actions.c
INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
COLUMNS = [s[each.name] for each in fields(Remembered) if each.name in s]
FORGIVEN: dict[str, Any] = {
    "attempts": 0,
    "next_at": None,
    "opened_at": None,
    "well_since": None,
    "told": None,
    "since": None,
    "fate": None,
    "fate_id": None,
    "quiet_until": None,
    "forgiven_at": now(),
}


def recall(connection: sa.Connection, engine: str, *, within: float) -> tuple[Memory, datetime]:
    """All that is remembered of an engine, and the time it is. Recoveries of the last `within` seconds are counted."""
    recent = (
        sa.select(sa.func.count())
        .where(a.engine == s.engine, a.key == s.key, a.charged == sa.true())
        .where(a.begun_at > later(now(), -within), sa.or_(s.forgiven_at.is_(None), a.begun_at > s.forgiven_at))
    )
    query = sa.select(*COLUMNS, recent.scalar_subquery().label("recent")).where(s.engine == engine)
    rows = {row.key: _as_value(row) for row in connection.execute(query)}
    return Memory(services=rows, unrestartable=unrestartables.listed(connection, engine)), time(connection)


def time(connection: sa.Connection) -> datetime:
    """The database's."""
    return connection.execute(sa.select(now())).scalar_one()


def engines(connection: sa.Connection) -> list[str]:
    """The engines of which anything is remembered."""
    return list(connection.execute(sa.select(s.engine).distinct().order_by(s.engine)).scalars())


def known(connection: sa.Connection) -> list[tuple[str, str, str]]:
    """Engine, key and container's name of each service that is remembered."""
    query = sa.select(s.engine, s.key, s.name).where(s.key.not_in(OF_ENGINE)).order_by(s.engine, s.key)
    return [(row.engine, row.key, row.name or "") for row in connection.execute(query)]


def save(
    connection: sa.Connection, engine: str, changes: Mapping[str, Mapping[str, Any]], memory: Memory
) -> dict[str, int]:
    """Write what changed of each key, unless another has since `memory`; of those written the new version."""
    written = {}
    for key, values in sorted(changes.items()):
        version = memory.of(key).version
        if (_update if version else _insert)(connection, engine, key, version, dict(values)):
            written[key] = version + 1
    return written


def _insert(connection: sa.Connection, engine: str, key: str, version: int, values: dict[str, Any]) -> bool:
    made = INSERT[connection.dialect.name](docker_services)
    made = made.values(engine=engine, key=key, version=version + 1, **values).on_conflict_do_nothing()
    return bool(connection.execute(made).rowcount)


def _update(connection: sa.Connection, engine: str, key: str, version: int, values: dict[str, Any]) -> bool:
    same = docker_services.update().where(s.engine == engine, s.key == key, s.version == version)
    return connection.execute(same.values(version=version + 1, **values)).rowcount == 1


def lock(connection: sa.Connection, engine: str, key: str, version: int, *, by: str, seconds: float) -> bool:
    """Take a service for one action; False if it was written since `version`, or another is at work on it."""
    free = sa.or_(s.locked_until.is_(None), s.locked_until <= now())
    mine = docker_services.update().where(s.engine == engine, s.key == key, s.version == version, free)
    values = {"locked_by": by, "locked_until": later(now(), seconds), "version": s.version + 1}
    return connection.execute(mine.values(values)).rowcount == 1


def renew(connection: sa.Connection, engine: str, key: str, *, by: str, seconds: float) -> bool:
    """Keep a service for so long from now on; False if another has taken it."""
    mine = docker_services.update().where(s.engine == engine, s.key == key, s.locked_by == by)
    return connection.execute(mine.values(locked_until=later(now(), seconds))).rowcount == 1


def unlock(connection: sa.Connection, engine: str, key: str, *, by: str, values: Mapping[str, Any]) -> bool:
    """Give a service back with what came of it, from now on; False if another has taken it, for it took too long."""
    mine = docker_services.update().where(s.engine == engine, s.key == key, s.locked_by == by)
    free = {"locked_by": None, "locked_until": now(), "version": s.version + 1}
    return connection.execute(mine.values({**free, **values})).rowcount == 1


def acted(*, next_in: float, made_id: str | None, failed: bool) -> dict[str, Any]:
    """The columns after an action that counts: R71, the wait begins when it is over."""
    values = {
        "attempts": s.attempts + 1,
        "recoveries": s.recoveries + 1,
        "failures": s.failures + int(failed),
        "acted_at": now(),
        "next_at": later(now(), next_in),
        "well_since": None,
    }
    return values if made_id is None else {**values, "made_id": made_id}


def hear(connection: sa.Connection, engine: str, hint: Hint, *, quiet: float, ours_for: float) -> bool:
    """Keep what an event has told of a service that is remembered; False if it is none, or the doing may be our own.

    It may while an action is under way, and for `ours_for` seconds after it. How it ended is kept even so until the
    hand lets go: one that is dead never does, and then it was another's doing.
    """
    long_ago = sa.or_(s.locked_until.is_(None), later(s.locked_until, ours_for) <= now())
    theirs = docker_services.update().where(s.engine == engine, s.key == hint.key, long_ago)
    values: dict[str, Any] = {"version": s.version + 1, "heard_at": now()}
    if hint.fate is not None:
        values |= {"fate": str(hint.fate), "fate_id": hint.id}
    if hint.is_quiet:
        values["quiet_until"] = latest(later(now(), quiet), s.quiet_until)
    if connection.execute(theirs.values(values)).rowcount == 1:
        return True
    held = docker_services.update().where(s.engine == engine, s.key == hint.key, s.locked_by.is_not(None))
    if hint.fate is not None:
        connection.execute(held.values({name: value for name, value in values.items() if name != "quiet_until"}))
    return False


def pause(connection: sa.Connection, engine: str, key: str, *, paused: bool) -> bool:
    """Leave a service alone until it is reset; False if nothing is remembered of it."""
    row = docker_services.update().where(s.engine == engine, s.key == key)
    return connection.execute(row.values(paused=paused, version=s.version + 1)).rowcount == 1


def reset(connection: sa.Connection, engine: str, keys: Collection[str]) -> int:
    """Forget pauses, stops, recoveries and circuits of these keys; how many rows there were."""
    rows = docker_services.update().where(s.engine == engine, s.key.in_(keys))
    return connection.execute(rows.values(**FORGIVEN, paused=False, version=s.version + 1)).rowcount


def observe(connection: sa.Connection, engine: str, key: str, *, seconds: float, why: str) -> bool:
    """The engine lets nobody act so (`REFUSALS`): only look, for so long; True for the first who says so."""
    connection.execute(
        INSERT[connection.dialect.name](docker_services).values(engine=engine, key=key).on_conflict_do_nothing()
    )
    row = docker_services.update().where(s.engine == engine, s.key == key)
    first = connection.execute(row.where(s.told.is_(None)).values(told=why)).rowcount == 1
    connection.execute(row.values(quiet_until=later(now(), seconds), version=s.version + 1))
    return first


def obeyed(connection: sa.Connection, engine: str, key: str) -> bool:
    """The engine lets us act again; True for the first who says so."""
    refused = docker_services.update().where(s.engine == engine, s.key == key, s.told.is_not(None))
    return connection.execute(refused.values(told=None, quiet_until=None, version=s.version + 1)).rowcount == 1


def listened(connection: sa.Connection, engine: str, *, error: str | None) -> None:
    """A watch has heard the engine's events until now; or hears them no more, and why."""
    made = INSERT[connection.dialect.name](docker_services).values(
        engine=engine, key=EVENTS, seen_at=now(), reason=error
    )
    changed = {"reason": error} if error else {"reason": None, "seen_at": now()}
    connection.execute(made.on_conflict_do_update(index_elements=[s.engine, s.key], set_=changed))


def listens_no_more(connection: sa.Connection, engine: str) -> None:
    """A watch has ended as it was told to."""
    connection.execute(docker_services.delete().where(s.engine == engine, s.key == EVENTS))


def _as_value(row: Any) -> Remembered:
    values = row._asdict()
    values["name"] = values["name"] or ""
    values["ids"] = tuple(values["ids"] or ())
    values["fate"] = Fate(values["fate"]) if values["fate"] else None
    return Remembered(**values)

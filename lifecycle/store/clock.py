"""The database's clock in SQL, one spelling a dialect; every time is UTC and timezone-aware."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from lifecycle.errors import CorruptRow

SQLITE_FORMAT = "%Y-%m-%d %H:%M:%f"


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """`timestamptz` on PostgreSQL; on SQLite text that sorts as time does, to the millisecond."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Text on SQLite, which has no type for times."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.String(23))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Refuse naive times: they would be read as whatever zone the machine is in."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times must be timezone-aware")
        utc = value.astimezone(UTC)
        return f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03d}" if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """Back to an aware time in UTC."""
        if value is None:
            return None
        if isinstance(value, str):
            return _parse(value)
        return value.astimezone(UTC)  # type: ignore[no-any-return]


def _parse(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise CorruptRow(f"the database holds a time that is none: {text!r}") from error


class now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The time of the statement, not of the transaction: a claim may have waited for a lock."""

    type = UtcDateTime()
    inherit_cache = True


class later(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """`later(time, seconds)`: both may be columns."""

    type = UtcDateTime()
    inherit_cache = True


class latest(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """`latest(a, b)`: the later of two times; a NULL one is left out."""

    type = UtcDateTime()
    inherit_cache = True


class earliest(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """`earliest(a, b)`: the earlier of two times; a NULL one is left out."""

    type = UtcDateTime()
    inherit_cache = True


class elapsed(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """`elapsed(since, until)`: the seconds between two times; NULL if one of them is."""

    type = sa.Float()
    inherit_cache = True


@compiles(now, "postgresql")
def _now_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return "clock_timestamp()"


@compiles(now, "sqlite")
def _now_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"strftime('{SQLITE_FORMAT}', 'now')"


@compiles(later, "postgresql")
def _later_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    time, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"(CAST({time} AS timestamptz) + make_interval(secs => {seconds}))"


@compiles(later, "sqlite")
def _later_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    time, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"strftime('{SQLITE_FORMAT}', {time}, printf('%+.3f seconds', {seconds}))"


@compiles(latest, "postgresql")
def _latest_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return f"greatest({compiler.process(element.clauses, **kw)})"


@compiles(latest, "sqlite")
def _latest_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    a, b = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"max(coalesce({a}, {b}), coalesce({b}, {a}))"


@compiles(earliest, "postgresql")
def _earliest_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return f"least({compiler.process(element.clauses, **kw)})"


@compiles(earliest, "sqlite")
def _earliest_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    a, b = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"min(coalesce({a}, {b}), coalesce({b}, {a}))"


@compiles(elapsed, "postgresql")
def _elapsed_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    since, until = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"CAST(extract(epoch FROM CAST({until} AS timestamptz) - CAST({since} AS timestamptz)) AS float)"


@compiles(elapsed, "sqlite")
def _elapsed_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    since, until = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"((julianday({until}) - julianday({since})) * 86400.0)"

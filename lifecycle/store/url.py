"""Database URLs: read, and shown to people."""

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from lifecycle.errors import ImpossibleSettings


def parse_url(url: str) -> sa.URL:
    """Read a database URL; `postgres://` and `postgresql://` mean psycopg2, explicit drivers are kept.

    Raises ImpossibleSettings without repeating the URL: it may hold a password.
    """
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ImpossibleSettings(
            "lifecycle_database_url is not a database URL; give postgresql://user:password@host/name or sqlite:///file"
        ) from error
    if backend == "postgres" or parsed.drivername == "postgresql":
        return parsed.set(drivername="postgresql+psycopg2")
    if backend not in {"sqlite", "postgresql"}:
        raise ImpossibleSettings(f"lifecycle_database_url names {backend!r}; PostgreSQL and SQLite are supported")
    return parsed


def shown(url: sa.URL) -> str:
    """A URL for people: without its password and its query, which may hold another."""
    return url.set(query={}).render_as_string(hide_password=True)

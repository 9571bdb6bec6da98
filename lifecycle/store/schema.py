"""The schema of a database: bring it to a revision, and see at a start whether code and database fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from lifecycle.errors import SchemaMissing, StoreError
from lifecycle.store.engine import Database
from lifecycle.store.tables import VERSION_TABLE, metadata
from lifecycle.store.url import shown

MIGRATE = "run: celery -A <app> container migrate"
LOCK = 0x6C696665  # "life", among PostgreSQL's advisory locks

version = sa.Table(VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))


def migrate(database: Database, revision: str = "head") -> list[str]:
    """Upgrade, all or nothing; returns the revisions applied. A schema newer than this code is left as it is."""
    with alone(database) as connection:
        found = _revision(connection)
        if found is None:
            _refuse_strangers(database, connection)
        elif found not in revisions():
            return []
        elif revision in revisions() and revision < found:
            where = shown(database.url)
            raise StoreError(f"the database {where} is at revision {found}: to go back to {revision} add --back")
        return _run(database, connection, "upgrade", revision)


def downgrade(database: Database, revision: str) -> list[str]:
    """Undo what is newer than the revision (`base`: everything); returns the revisions undone."""
    with alone(database) as connection:
        if _revision(connection) is None:
            return []
        undone = _run(database, connection, "downgrade", revision)
        if _revision(connection) is None:
            version.drop(connection)
        return undone


def check(database: Database) -> str | None:
    """Raise SchemaMissing if the schema is missing or older than this code; a warning if it is newer, else None."""
    found = current(database)
    if found == head():
        return None
    if found is None:
        raise SchemaMissing(f"the database {shown(database.url)} has no tables yet; {MIGRATE}")
    if found in revisions():
        raise SchemaMissing(f"the database {shown(database.url)} is at revision {found}, not {head()}; {MIGRATE}")
    return f"the database {shown(database.url)} is at revision {found}, newer than this version, which knows {head()}"


def current(database: Database) -> str | None:
    """The revision a database is at; None before the first."""
    try:
        with database.read() as connection:
            return connection.execute(sa.select(version.c.version_num)).scalar()
    except SchemaMissing:
        return None


def head() -> str:
    """The revision this code is written for."""
    return revisions()[-1]


@cache
def revisions() -> tuple[str, ...]:
    """All revisions this code knows, oldest first. Read from the file names: Alembic is slow to import."""
    return tuple(sorted(path.name.partition("_")[0] for path in (scripts() / "versions").glob("[0-9]*_*.py")))


def scripts() -> Path:
    """Alembic's folder: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / "migrations", package.parent / "migrations") if folder.is_dir())


@contextmanager
def alone(database: Database) -> Iterator[sa.Connection]:
    """One transaction for all revisions of a run; who else migrates waits for its end."""
    transaction = _alone_in_sqlite if database.dialect == "sqlite" else _alone_in_postgresql
    with transaction(database) as connection:
        yield connection


@contextmanager
def _alone_in_postgresql(database: Database) -> Iterator[sa.Connection]:
    with database.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        if database.schema:
            # Asked first: CREATE SCHEMA IF NOT EXISTS needs the right to create even where there is nothing to do.
            if not sa.inspect(connection).has_schema(database.schema):
                connection.execute(sa.schema.CreateSchema(database.schema))
            path = connection.dialect.identifier_preparer.quote_identifier(database.schema)
            connection.execute(sa.select(sa.func.set_config("search_path", path, True)))
        yield connection


@contextmanager
def _alone_in_sqlite(database: Database) -> Iterator[sa.Connection]:
    """Without foreign keys, for a revision that rebuilds a table would delete what hangs on its rows."""
    with database.read() as connection:  # in a transaction the PRAGMA does nothing, so we begin our own
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            _check_foreign_keys(connection)
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            connection.rollback()
            raise
        finally:
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def _check_foreign_keys(connection: sa.Connection) -> None:
    broken = {row[0] for row in connection.exec_driver_sql("PRAGMA foreign_key_check")} & set(metadata.tables)
    if broken:
        raise StoreError(f"nothing was changed: rows of {', '.join(sorted(broken))} refer to rows that do not exist")


def _revision(connection: sa.Connection) -> str | None:
    inspector = sa.inspect(connection)
    if not inspector.has_table(VERSION_TABLE):
        return None
    if [column["name"] for column in inspector.get_columns(VERSION_TABLE)] != [version.c.version_num.name]:
        where = shown(connection.engine.url)
        raise StoreError(f"the database {where} has a {VERSION_TABLE} of other software: give containers their own")
    return connection.execute(sa.select(version.c.version_num)).scalar()


def _refuse_strangers(database: Database, connection: sa.Connection) -> None:
    """A table of the same name that we did not make holds somebody's data."""
    inspector = sa.inspect(connection)
    taken = [name for name in metadata.tables if inspector.has_table(name)]
    if taken:
        raise StoreError(
            f"the database {shown(database.url)} has tables of other software named {', '.join(sorted(taken))};"
            " give containers a database or a schema of their own"
        )


def _run(database: Database, connection: sa.Connection, direction: str, revision: str) -> list[str]:
    # Imported here: every node calls check(), few processes migrate.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    applied: list[str] = []
    config = Config(attributes={"connection": connection, "applied": applied})
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    try:
        getattr(command, direction)(config, revision)
    except CommandError as error:
        raise StoreError(f"the database {shown(database.url)} stays as it is: {error}") from error
    return applied

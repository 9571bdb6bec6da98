"""One database: its engine, its transactions, its identity, and the errors it makes."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lifecycle.errors import (
    CorruptRow,
    InvalidArgument,
    SchemaMissing,
    StoreBusy,
    StoreError,
    StoreUnreachable,
)
from lifecycle.store import connections
from lifecycle.store.forks import close_at_fork, no_fork
from lifecycle.store.tables import identity
from lifecycle.store.url import parse_url, shown

Connection = sa.Connection
Around = Callable[[], AbstractContextManager[None]]
CONNECT_TIMEOUT = 5  # seconds
READS = "lifecycle_reads"  # an execution option: AUTOCOMMIT would set it up, and back, at each use
PSYCOPG2_MISSING = "PostgreSQL needs psycopg2: pip install 'celery-lifecycle[postgres]'"


class Database:
    """A database by its URL; safe to hold across a fork and between threads.

    `begin()` is a write transaction, `read()` one snapshot after another; `around` is entered for each.
    busy_timeout: seconds to wait for SQLite's lock. idle_timeout: seconds after which PostgreSQL ends a transaction
    whose process says nothing.
    Raises StoreUnreachable, SchemaMissing or StoreError, never a driver's own error; only SQLAlchemy's IntegrityError
    is left as it is.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str | None = None,
        busy_timeout: float = 8.0,
        idle_timeout: float = 30.0,
        around: Around = nullcontext,
    ) -> None:
        self.url = parse_url(url)
        self.schema = schema
        self._busy_timeout = busy_timeout
        self._idle_timeout = idle_timeout
        self._around = around
        self._engines: dict[int, sa.Engine] = {}  # by the pid of the process that may use it
        self._reading: sa.Engine | None = None
        self._identity: str | None = None
        close_at_fork(self)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.url.get_backend_name()

    @property
    def engine(self) -> sa.Engine:
        """The engine of this process: a forked child never touches its parent's connections."""
        pid = os.getpid()
        # Two threads may make one each; a second one in use would keep its connections open over a fork.
        return self._engines.get(pid) or self._engines.setdefault(pid, self._create_engine())

    @property
    def _reader(self) -> sa.Engine:
        """The same connections, for statements that take no lock on SQLite."""
        engine = self.engine
        if self._reading is None or self._reading.pool is not engine.pool:
            self._reading = engine.execution_options(**{READS: True})
        return self._reading

    @contextmanager
    def begin(self, *, impatient: bool = False, patience: float | None = None) -> Iterator[sa.Connection]:
        """A transaction that commits at the end of the block, or leaves nothing behind.

        impatient: wait for no lock longer than SQLite does for its one; who holds it may never commit.
        patience: how many seconds that is on PostgreSQL, if less.
        """
        with self._around(), self._translated(), self._no_fork(), self.engine.begin() as connection:
            if impatient and self.dialect == "postgresql":
                limit = f"{int((self._busy_timeout if patience is None else patience) * 1000)}ms"
                connection.execute(sa.select(sa.func.set_config("lock_timeout", limit, True)))
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for reading; each statement sees what is committed by then."""
        with self._around(), self._translated(), self._no_fork(), self._reader.connect() as connection:
            yield connection

    def _no_fork(self) -> AbstractContextManager[None]:
        return no_fork(of_file=self.dialect == "sqlite")

    @contextmanager
    def within(self, connection: sa.Connection) -> Iterator[sa.Connection]:
        """A savepoint in a caller's own transaction: what is refused in the block leaves that as it was.

        Raises InvalidArgument for a connection to another database, or one that commits by itself.
        """
        before = connection.get_execution_options().get("schema_translate_map")
        _refuse_autocommit(connection)
        with self._around(), self._translated():
            _begin_for_savepoint(connection)
            connection.execution_options(schema_translate_map={None: self.schema} if self.schema else {})
            try:
                with connection.begin_nested():
                    self._refuse_another(connection)
                    yield connection
            finally:
                connection.execution_options(schema_translate_map=before or {})

    def _refuse_another(self, connection: sa.Connection) -> None:
        found = None
        with suppress(SchemaMissing), self._translated():
            found = connection.execute(sa.select(identity.c.id)).scalar()
        if found != self.id:
            raise InvalidArgument(f"the connection is not to {shown(self.url)}")

    @property
    def id(self) -> str:
        """The random id this database carries; messages repeat it (design, section 4)."""
        if self._identity is None:
            self._identity = self._read_identity()
        return self._identity

    def _read_identity(self) -> str:
        with self.read() as connection:
            found = connection.execute(sa.select(identity.c.id)).scalar()
        if found is None:
            raise SchemaMissing(self._needs_migrating())
        return str(found)

    def dispose(self) -> None:
        """Close this process's connections; the next use opens new ones."""
        if engine := self._engines.pop(os.getpid(), None):
            engine.dispose()

    def _create_engine(self) -> sa.Engine:
        if self.dialect == "sqlite":
            return self._create_sqlite()
        try:
            engine = sa.create_engine(
                self.url,
                isolation_level="READ COMMITTED",  # whatever the server's default: our races are decided in it
                pool_size=2,
                max_overflow=8,
                connect_args={"connect_timeout": CONNECT_TIMEOUT, "application_name": "celery-lifecycle"},
                execution_options={"schema_translate_map": {None: self.schema}} if self.schema else {},
            )
        except ModuleNotFoundError as error:
            raise StoreError(PSYCOPG2_MISSING) from error
        connections.ping_when_idle(engine)
        connections.let_go_when_idle(engine, self._idle_timeout)
        return engine

    def _create_sqlite(self) -> sa.Engine:
        engine = sa.create_engine(self.url, connect_args={"timeout": self._busy_timeout})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_immediate)
        return engine

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise  # a row that the schema refuses: its writer knows what that means
        except PoolTimeout as error:
            raise StoreUnreachable(f"the database {shown(self.url)} has no connection free for this process") from error
        except DBAPIError as error:
            raise self._in_words(error) from error
        except json.JSONDecodeError as error:  # SQLite keeps JSON as text, and hands can write any
            raise CorruptRow(f"the database holds JSON that is none: {error.doc[:40]!r}") from error

    def _needs_migrating(self) -> str:
        return f"the database {shown(self.url)} lacks this version's tables; run: celery -A <app> container migrate"

    def _in_words(self, error: DBAPIError) -> Exception:
        """The driver's error as one line that says what to do."""
        where = shown(self.url)
        cause = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
        if "no such table" in cause or "no such column" in cause or type(error.orig).__name__ in MISSING:
            return SchemaMissing(self._needs_migrating())
        if type(error.orig).__name__ in CONFLICTS:
            return StoreBusy(f"the database {where}: another transaction was in the way, try again: {cause}")
        if isinstance(error, OperationalError) or error.connection_invalidated:
            return StoreUnreachable(f"the database {where} cannot be used: {cause}")
        return StoreError(f"the database {where} refused a statement: {cause}")


CONFLICTS = {"LockNotAvailable", "DeadlockDetected", "SerializationFailure"}
MISSING = {"UndefinedTable", "UndefinedColumn", "InvalidSchemaName"}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """WAL, foreign keys, and transactions begun by us: the driver would begin them too late."""
    connection.isolation_level = None
    with suppress(sqlite3.OperationalError):  # no lock is waited for here; who holds it is turning the file to WAL
        connection.execute("PRAGMA journal_mode=WAL")
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def limit_statements(connection: sa.Connection, seconds: float) -> None:
    """For the rest of the transaction each statement fails that takes longer; on PostgreSQL."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.set_config("statement_timeout", f"{int(seconds * 1000)}ms", True)))


def is_open(connection: sa.Connection) -> bool:
    """True if a caller's connection is in a transaction."""
    return not connection.closed and connection.in_transaction()


def _refuse_autocommit(connection: sa.Connection) -> None:
    of_engine = getattr(connection.dialect, "_on_connect_isolation_level", None)  # no public name for it
    if connection.get_execution_options().get("isolation_level", of_engine) == "AUTOCOMMIT":
        raise InvalidArgument("the connection commits each statement by itself: give one in a transaction")


def _begin_for_savepoint(connection: sa.Connection) -> None:
    """On SQLite a savepoint outside of a transaction would begin one, and its release would commit it."""
    if not connection.in_transaction():
        connection.begin()
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite" and not driver.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_immediate(connection: sa.Connection) -> None:
    """Take the write lock at once: a read that becomes a write could not wait for it."""
    if not connection.get_execution_options().get(READS):
        connection.exec_driver_sql("BEGIN IMMEDIATE")

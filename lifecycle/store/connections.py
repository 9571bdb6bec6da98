"""What a connection to PostgreSQL is asked when it has lain idle, and told for the time when it will."""

import math
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import InvalidatePoolError

IDLE = 1.0  # seconds after which a connection is asked whether it still lives


def ping_when_idle(engine: sa.Engine) -> None:
    """A connection that lay idle may have lost its server; a ping before each use would slow those that did not."""

    def note(_connection: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    def ping(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("used", math.inf) > IDLE:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise InvalidatePoolError from error

    sa.event.listen(engine, "checkin", note)
    sa.event.listen(engine, "checkout", ping)


def let_go_when_idle(engine: sa.Engine, seconds: float) -> None:
    """A process may be paused, or its machine gone, in a transaction: every node would wait for its locks."""

    def limit(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET idle_in_transaction_session_timeout = %s", (int(seconds * 1000),))
        connection.commit()

    sa.event.listen(engine, "connect", limit)

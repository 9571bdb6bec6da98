"""Container logs: what a body logs through the standard `logging`, folded, kept with its row."""

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lifecycle.domain.container import Container
from lifecycle.domain.text import clean
from lifecycle.errors import StoreUnreachable
from lifecycle.runtime.execution import current_execution
from lifecycle.settings import Settings
from lifecycle.store import logs
from lifecycle.store.engine import Database

log = logging.getLogger("lifecycle.logs")
MAX_LINES = 10_000  # kept while the database is away
MAX_TEXT = 8_000  # characters of one message
Key = tuple[str, int, str, str, str]  # container, epoch, level, logger, message


@dataclass(slots=True)
class _Line:
    """A line of the buffer, then of the database: `id` once it is written."""

    since: float
    values: dict[str, Any]
    id: int | None = None
    again: int = 0
    """Repeats not yet added to the written line."""


class ContainerLogs(logging.Handler):
    """Buffers the lines of this process's executions and writes them every `log_flush` seconds and at an end."""

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__()
        self._database, self._settings = database, settings
        self._guard = threading.Lock()  # held for moments: a body that logs never waits for the database
        self._writing = threading.Lock()
        self._lines: dict[Key, _Line] = {}
        self._unwritten: list[_Line] = []
        self._over = threading.Event()

    def start(self) -> None:
        """Listen to the root logger; after Celery has set it up."""
        root = logging.getLogger()
        if self not in root.handlers:
            root.addHandler(self)
            threading.Thread(target=self._keep, name="lifecycle-logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line that was logged inside a container."""
        execution = current_execution()
        if execution is None or record.name.startswith(("lifecycle.", "sqlalchemy", "celery.", "kombu", "amqp")):
            return
        try:
            key = self._key(execution.container, record)
        except Exception:  # noqa: BLE001 - as the standard handlers: arguments that do not fit never reach a body
            self.handleError(record)
            return
        with self._guard:
            line = self._lines.get(key)
            if line is not None and time.monotonic() - line.since < self._settings.log_fold:
                line.again += 1
            elif len(self._unwritten) < MAX_LINES:
                self._lines[key] = _Line(time.monotonic(), _values(key, record.created))
                self._unwritten.append(self._lines[key])

    def flush(self) -> None:
        """Write what is buffered, and never raise; a database that is away keeps it in the buffer."""
        with self._writing:
            with self._guard:
                new, self._unwritten = self._unwritten, []
                counts = {id(line): line.again for line in (*new, *self._lines.values())}
            try:
                self._write(new, counts)
            except StoreUnreachable as error:
                with self._guard:
                    self._unwritten = [*new, *self._unwritten][:MAX_LINES]
                log.warning("logs not written yet lines=%d error=%s", len(new), error)
            except Exception as error:  # noqa: BLE001 - as when a container was pruned meanwhile
                with self._guard:
                    self._lines.clear()
                log.warning("logs dropped lines=%d error=%s", len(new), error)

    def _write(self, new: list[_Line], counts: dict[int, int]) -> None:
        written = [line for line in self._lines.copy().values() if line.id is not None and counts.get(id(line))]
        if not new and not written:
            return
        with self._database.begin() as connection:
            ids = logs.append(connection, [{**line.values, "count": 1 + counts[id(line)]} for line in new])
            logs.repeat(connection, {line.id: counts[id(line)] for line in written if line.id is not None})
        with self._guard:
            for line, line_id in zip(new, ids, strict=True):
                line.id = line_id
            for line in (*new, *written):
                line.again -= counts[id(line)]
            young = time.monotonic() - self._settings.log_fold
            self._lines = {key: line for key, line in self._lines.items() if line.since > young or line.again}

    def _key(self, container: Container, record: logging.LogRecord) -> Key:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        text = clean(text[:MAX_TEXT])[:MAX_TEXT]
        return container.id, container.epoch, clean(record.levelname), clean(record.name), text

    def _keep(self) -> None:
        while not self._over.wait(self._settings.log_flush):
            self.flush()


def _values(key: Key, created: float) -> dict[str, Any]:
    container_id, epoch, level, logger, text = key
    at = datetime.fromtimestamp(created, UTC)
    return {
        "container_id": container_id,
        "epoch": epoch,
        "at": at,
        "level": level,
        "logger": logger,
        "message": text,
    }

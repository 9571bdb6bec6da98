"""The watch: passes as soon as the engine tells of something, and every so often whatever it tells.

An event is a hint. What it says that no listing would (who ended a container, that others are at work) is kept with
the service at once; all else is seen by the next pass.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from lifecycle.domain.recovery import Hint
from lifecycle.domain.service import Event, Recover, key_of
from lifecycle.errors import EngineMissing, SchemaMissing, StoreError
from lifecycle.services.endings import Endings
from lifecycle.services.jitter import jittered
from lifecycle.services.report import Report
from lifecycle.settings import Settings
from lifecycle.store import services
from lifecycle.store.engine import Database

log = logging.getLogger("lifecycle.docker")
PROJECT, RECOVER = "com.docker.compose.project", "lifecycle.recover"
OTHERS_AT_WORK = {"create", "destroy", "rename"}
NOTHING_NEW = {"create", "kill"}
OURS_FOR = 3.0  # seconds after an action of ours in which its events may still come
FIRST, LONGEST = 1.0, 60.0  # seconds before the engine is asked again


class Stream(Protocol):
    """What is asked of an engine here."""

    def events(self, seconds: float) -> Iterator[Event]:
        """What happens from now on, for so long."""


class Looker(Protocol):
    """What makes the passes."""

    def run(self) -> Report:
        """One pass."""

    def halt(self) -> None:
        """Begin no more actions."""


class Watch:
    """Runs passes until `stop`, in the thread that calls `run`; a second thread listens to the engine."""

    def __init__(self, database: Database, stream: Stream, monitor: Looker, settings: Settings) -> None:
        self._database, self._stream, self._monitor, self._settings = database, stream, monitor, settings
        self._engine: str | None = None  # known after the first pass
        self._keys: frozenset[str] = frozenset()
        self._projects: frozenset[str | None] = frozenset()
        self._endings = Endings()
        self._over, self._woken = threading.Event(), threading.Event()
        self._troubles: dict[str, str] = {}

    def run(self) -> None:
        """Until `stop`. Raises EngineMissing and SchemaMissing, if that is so at the beginning."""
        listener = threading.Thread(target=self._listen, name="lifecycle-docker", daemon=True)
        pause = FIRST
        while not self._over.is_set():
            try:
                wait, pause = self._pass(), FIRST
            except Exception as error:  # what fails once is tried again: nobody else may be watching
                if isinstance(error, EngineMissing | SchemaMissing) and self._engine is None:
                    raise
                self._complain("no pass", error)
                wait, pause = jittered(pause), min(2 * pause, LONGEST)
            if listener.ident is None:
                listener.start()
            if self._woken.wait(wait):
                self._over.wait(self._settings.docker_debounce)
            self._woken.clear()
        if self._engine is not None:
            with suppress(StoreError), self._database.begin() as connection:
                services.listens_no_more(connection, self._engine)

    def stop(self) -> None:
        """End `run` after the action that it is at; may be called in a signal's handler."""
        self._over.set()
        self._monitor.halt()
        self._woken.set()

    def _pass(self) -> float:
        """One pass; seconds until the next is due."""
        report = self._monitor.run()
        self._relieved("no pass")
        self._engine = report.engine
        self._keys, self._projects = report.keys, report.projects
        return min(report.again_in or self._settings.docker_every, self._settings.docker_every)

    def _listen(self) -> None:
        """Each stream has its end, so that one whose other side is gone is noticed; then all is looked at again."""
        pause = FIRST
        self._noted()
        while not self._over.is_set():
            try:
                events = self._stream.events(self._settings.docker_every)
                self._woken.set()  # what happened while nobody listened
                self._relieved("not listening")
                for event in events:
                    pause = FIRST
                    self._hear(event)
                self._noted()
            except Exception as error:  # noqa: BLE001 - without its listener a watch would go on, and be slow unseen
                self._complain("not listening", error)
                self._noted(str(error) or type(error).__name__)
                self._over.wait(jittered(pause))
                pause = min(2 * pause, LONGEST)

    def _noted(self, error: str | None = None) -> None:
        """R97: a stream was heard to its end, or was not; one whose other side is gone opens, and says nothing."""
        if self._engine is None or self._over.is_set():
            return
        with suppress(StoreError), self._database.begin() as connection:
            services.listened(connection, self._engine, error=error)

    def _hear(self, event: Event) -> None:
        key, hint = key_of(event.name, event.attributes), self._hint(event)
        if not self._concerns(key, event):
            return
        if hint is not None and self._engine is not None:
            try:
                with self._database.begin() as connection:
                    services.hear(connection, self._engine, hint, quiet=self._settings.docker_quiet, ours_for=OURS_FOR)
            except StoreError as error:
                log.warning("event lost action=%s name=%s error=%s", event.action, event.name, error)
        if event.action not in NOTHING_NEW:
            self._woken.set()

    def _concerns(self, key: str, event: Event) -> bool:
        said = event.attributes.get(RECOVER, "").strip().lower()
        return (
            key in self._keys
            or event.attributes.get(PROJECT) in self._projects
            or said in (Recover.TRUE, Recover.NOTIFY)
        )

    def _hint(self, event: Event) -> Hint | None:
        """How it ended; H5: others create, rename and remove."""
        fate = self._endings.hear(event)
        is_quiet = event.action in OTHERS_AT_WORK
        if fate is None and not is_quiet:
            return None
        key = key_of(event.name, event.attributes)
        return Hint(key=key, id=event.id, name=event.name, fate=fate, is_quiet=is_quiet)

    def _complain(self, what: str, error: Exception) -> None:
        """Once for each trouble, however long it lasts."""
        if self._troubles.get(what) != type(error).__name__:
            log.error("%s: %s", what, error)
        self._troubles[what] = type(error).__name__

    def _relieved(self, what: str) -> None:
        if self._troubles.pop(what, None) is not None:
            log.info("over: %s", what)

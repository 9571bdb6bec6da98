"""Our recovery over one scene: a database, intervals of fractions of a second, passes and watches."""

import threading
import time
from contextlib import contextmanager

from lifecycle.services.engine import Engine
from lifecycle.services.monitor import monitor_of, recover_services
from lifecycle.services.watch import Watch
from lifecycle.settings import Settings
from lifecycle.store import services
from lifecycle.store.engine import Database

PACE = {
    "docker_every": 0.5,
    "docker_debounce": 0.05,
    "docker_timeout": 10.0,
    "docker_lock": 20.0,
    "docker_settle": 0.3,
    "docker_patience": 0.5,
    "docker_backoff": (0.3, 0.6, 1.2),
    "docker_quiet": 0.0,
}
PATIENCE = 60.0  # seconds: for a condition on a loaded machine, never a measure


class Ward:
    """One database with what is remembered; any number of passes and watches may be at work on it."""

    def __init__(self, scene, url, database_url, **settings):
        self.scene = scene
        self.settings = Settings(
            database_url=database_url, **{"docker_url": url, "docker_projects": (scene.project,), **PACE, **settings}
        )
        self.database = Database(database_url)
        self.engine = Engine(self.settings)
        self.done = []

    def close(self):
        self.engine.close()
        self.database.dispose()

    def recover(self, *asked):
        """One pass; the actions that were done, as `restart child`."""
        report = recover_services(self.database, self.engine, self.settings, asked=frozenset(map(self.key, asked)))
        acts = [f"{act.action.kind} {act.action.key.split('/')[1]}" for act in report.acts]
        self.done += acts
        return acts

    def recover_until(self, condition):
        """Passes, one after the other, until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"not within {PATIENCE} s; done: {self.done}, now: {self.verdicts()}"
            self.recover()
            time.sleep(0.05)

    def calm(self, passes=3):
        """Some more passes, in which nothing may be done."""
        assert [self.recover() for _ in range(passes)] == [[]] * passes

    def verdicts(self):
        """What is decided about each service of the scene now."""
        sight = monitor_of(self.database, self.engine, self.settings).look()
        known = {each["Id"] for each in self.scene.listed()}
        decisions = [each for each in sight.plan.decisions if each.service.id in known]
        return {each.service.service: f"{each.verdict}: {each.reason}" for each in decisions}

    def remembered(self, service):
        with self.database.read() as connection:
            memory, _ = services.recall(connection, self.engine.snapshot().engine, within=600.0)
        return memory.of(self.key(service))

    def key(self, service):
        return f"{self.scene.project}/{service}"

    @contextmanager
    def watching(self, url=None, **settings):
        """A watch, which has looked once."""
        stream, engine = Engine(self.settings), Engine(self.settings)
        monitor = monitor_of(self.database, engine, self.settings)
        watch = Watch(self.database, stream, monitor, self.settings)
        thread = threading.Thread(target=watch.run)
        thread.start()
        try:
            yield watch
        finally:
            watch.stop()
            thread.join(PATIENCE)
            assert not thread.is_alive()
            engine.close()

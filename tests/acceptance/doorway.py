"""A world whose nodes and client run the app of `doors.py`."""

import importlib.util

from celery import Celery

from tests.acceptance.world import HERE, World, environment, eventually


class Doors(World):
    """`stranger` is a client of the same broker that knows no lifecycle, and tasks by their names only."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        spec = importlib.util.spec_from_file_location("doors", HERE / "doors.py")
        self.tasks = importlib.util.module_from_spec(spec)
        with environment(self.env):
            spec.loader.exec_module(self.tasks)
            self.tasks.app.finalize()
            assert self.tasks.lifecycle.settings.heartbeat == 1
        self.app, self.lifecycle = self.tasks.app, self.tasks.lifecycle
        self.stranger = Celery("stranger", broker=self.env["BROKER_URL"], backend=self.env["REDIS_URL"])
        self.stranger.conf.broker_transport_options = self.app.conf.broker_transport_options

    def celery(self, *words):
        return [word if word != "pipelines" else "doors" for word in super().celery(*words)]

    def ended(self, container_id):
        """The row once it has ended."""
        return eventually(
            f"{container_id} over", lambda: row if (row := self.lifecycle.get(container_id)).is_ended else None
        )

    def since(self, before):
        """Rows that were not there before, oldest first."""
        return [row for row in reversed(self.rows()) if row.id not in before]

    def rows(self):
        return self.lifecycle.find(limit=None)

    def known(self):
        return {row.id for row in self.rows()}

    def below(self, container_id, number):
        """Its children once there are so many, and all have ended."""

        def whole():
            rows = self.lifecycle.children(container_id)
            return rows if len(rows) >= number and all(row.is_ended for row in rows) else None

        return eventually(f"{number} children of {container_id} over", whole)

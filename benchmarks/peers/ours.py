"""Containers: `Lifecycle.stop` of the parent."""

from celery import Celery

import lifecycle
from benchmarks.peers import beats, seat
from lifecycle import ContainerTask, Lifecycle
from lifecycle.store import schema

app = Celery("peers", broker=seat.BROKER, backend=seat.BROKER, set_as_current=False)
app.conf.update(worker_prefetch_multiplier=1, worker_disable_prefetch=True, broker_connection_retry_on_startup=True)
app.conf.lifecycle_database_url = seat.DATABASE
Lifecycle(app)
WORKER = ("-c", str(seat.SLOTS), "-l", "ERROR", "--without-gossip", "--without-mingle")


@app.task(name="noop", base=ContainerTask)
def noop(path, number):
    beats.noop(path, number)


@app.task(name="linger", base=ContainerTask)
def linger(path, number):
    beats.linger(path, number)


@app.task(name="parent", base=ContainerTask)
def parent(kind, way, count, path):
    """Over at once: it waits for its children without a slot."""
    child, calls = app.tasks[kind], [([path, number], {}) for number in range(1, count + 1)]
    if way == "at once":
        child.spawn_many(calls)
    else:
        for args, _ in calls:
            child.spawn(args)
    beats.spawned(path)


class Peer:
    version = f"celery-lifecycle {lifecycle.__version__}"

    def __init__(self):
        schema.migrate(app.lifecycle.database)
        self._worker = seat.start_worker("celery", "-A", "benchmarks.peers.ours", "worker", *WORKER)
        self._root = None
        seat.until(lambda: app.control.ping(timeout=0.5))

    def spawn(self, kind, way, count, path):
        self._root = parent.spawn([kind, way, count, path]).id

    def learn(self):
        """Nothing: the parent's id is enough."""

    def is_over(self):
        """The parent ends after all its children."""
        return app.lifecycle.get(self._root).is_ended

    def stop(self):
        """Returns when nothing runs any more."""
        app.lifecycle.stop(self._root)

    def close(self):
        seat.end_worker(self._worker)


if __name__ == "__main__":
    seat.serve(Peer())

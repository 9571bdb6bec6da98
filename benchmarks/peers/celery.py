"""Plain Celery: no tree, so who stops it keeps the ids; `revoke` with `terminate` of all of them."""

import celery
from celery import Celery

from benchmarks.peers import beats, seat

app = Celery("peers", broker=seat.BROKER, backend=seat.BROKER, set_as_current=False)
app.conf.update(worker_prefetch_multiplier=1, worker_disable_prefetch=True, broker_connection_retry_on_startup=True)
WORKER = ("-c", str(seat.SLOTS), "-l", "ERROR", "--without-gossip", "--without-mingle")


@app.task(name="noop")
def noop(path, number):
    beats.noop(path, number)


@app.task(name="linger")
def linger(path, number):
    beats.linger(path, number)


@app.task(name="parent")
def parent(kind, count, path):
    """The children's ids."""
    child = app.tasks[kind]
    ids = [child.delay(path, number).id for number in range(1, count + 1)]
    beats.spawned(path)
    return ids


class Peer:
    version = f"Celery {celery.__version__}"

    def __init__(self):
        self._worker = seat.start_worker("celery", "-A", "benchmarks.peers.celery", "worker", *WORKER)
        self._parent, self._ids, self._keys = None, [], []
        seat.until(lambda: app.control.ping(timeout=0.5))

    def spawn(self, kind, way, count, path):
        self._parent = parent.delay(kind, count, path)

    def learn(self):
        self._ids = self._parent.get()
        self._keys = [app.backend.get_key_for_task(each) for each in self._ids]

    def is_over(self):
        """With a result, of whatever state: REVOKED is one. All are looked at once the last is there."""
        return None not in app.backend.mget(self._keys[-1:]) and None not in app.backend.mget(self._keys)

    def stop(self):
        app.control.revoke(self._ids, terminate=True)

    def close(self):
        seat.end_worker(self._worker)


if __name__ == "__main__":
    seat.serve(Peer())

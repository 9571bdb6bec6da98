"""Dramatiq with dramatiq-abort: threads of one process, no tree; `abort` of each id, raised in the thread."""

from importlib.metadata import version

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from dramatiq_abort import Abortable, abort, backends

from benchmarks.peers import beats, seat

results = RedisBackend(url=seat.BROKER)
broker = RedisBroker(url=seat.BROKER)
broker.add_middleware(Abortable(backend=backends.RedisBackend.from_url(seat.BROKER)))
broker.add_middleware(Results(backend=results, store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor(max_retries=0)
def noop(path, number):
    beats.noop(path, number)


@dramatiq.actor(max_retries=0, time_limit=600_000)
def linger(path, number):
    beats.linger(path, number)


@dramatiq.actor(max_retries=0)
def parent(kind, count, path):
    """The children's ids."""
    child = broker.get_actor(kind)
    messages = [child.send(path, number) for number in range(1, count + 1)]
    beats.spawned(path)
    return [each.message_id for each in messages]


class Peer:
    version = f"Dramatiq {version('dramatiq')}, dramatiq-abort {version('dramatiq-abort')}"

    def __init__(self):
        threads = ("--processes", "1", "--threads", str(seat.SLOTS))
        self._worker = seat.start_worker("dramatiq", "benchmarks.peers.dramatiq", *threads)
        self._root, self._ids, self._keys, self._kind = None, [], [], None

    def spawn(self, kind, way, count, path):
        self._root, self._kind = parent.send(kind, count, path), broker.get_actor(kind)

    def learn(self):
        self._ids = self._root.get_result(block=True, timeout=60_000)
        messages = (self._kind.message(None, None).copy(message_id=each) for each in self._ids)
        self._keys = [results.build_message_key(each) for each in messages]

    def is_over(self):
        """With a result, which is all that it records. All are looked at once the last is there."""
        there = results.client.exists(self._keys[-1])
        return bool(there) and results.client.exists(*self._keys) == len(self._keys)

    def stop(self):
        for each in self._ids:
            abort(each)

    def close(self):
        seat.end_worker(self._worker)


if __name__ == "__main__":
    seat.serve(Peer())

"""Ray: a process a running child, all in memory; `ray.cancel` of the parent, which reaches down by default."""

import os
import secrets

import ray
from ray._private import services

from benchmarks.peers import beats, seat

MEMORY = 100 * 2**20  # bytes of its object store


@ray.remote(max_retries=0)
def noop(path, number):
    beats.noop(path, number)


@ray.remote(max_retries=0)
def linger(path, number):
    beats.linger(path, number)


@ray.remote(num_cpus=0, max_retries=0)
def parent(child, count, path):
    """It owns its children: they go when it goes, so it waits for them; it holds no slot."""
    refs = [child.remote(path, number) for number in range(1, count + 1)]
    beats.spawned(path)
    ray.get(refs)


class Peer:
    version = f"Ray {ray.__version__}"

    def __init__(self):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # else it keeps one in the user's home
        services.resolve_ip_for_localhost = str  # it would listen to other machines
        here = {"_node_ip_address": "127.0.0.1", "_temp_dir": seat.FOLDER, "object_store_memory": MEMORY}
        ray.init(num_cpus=seat.SLOTS, include_dashboard=False, log_to_driver=False, configure_logging=False, **here)
        self._root = None

    def spawn(self, kind, way, count, path):
        self._root = parent.remote({"noop": noop, "linger": linger}[kind], count, path)

    def learn(self):
        """Nothing: the parent's reference is enough."""

    def is_over(self):
        """By the parent's reference: the children's are known to the parent only."""
        ready, _ = ray.wait([self._root], timeout=0)
        return bool(ready)

    def stop(self):
        ray.cancel(self._root)

    def close(self):
        ray.shutdown()


if __name__ == "__main__":
    seat.serve(Peer())

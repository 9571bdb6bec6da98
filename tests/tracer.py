"""Coverage where processes are killed, and where signal handlers raise anywhere.

Its tracer takes a lock at each call of a function. A handler that raises there, or a fork while another thread is
there, leaves it taken, and the next call hangs. The lock only guards the moment of writing: here it is gone.

A pool child that is killed tells nothing at its end, so it tells each second what it has seen, if that is new: a
hundred children that wait would else take a core to say the same again.
"""

import os
import threading
import time

from coverage import Coverage
from coverage.collector import Collector

EVERY = 1.0  # seconds


def coverage_init(registry, options):
    # A call that is no Python: no signal handler runs in it, so none can raise there, which would end the tracing.
    Collector.lock_data = Collector.unlock_data = bool
    os.register_at_fork(after_in_child=lambda: threading.Thread(target=tell, name="coverage", daemon=True).start())


def tell():
    told = set()
    while True:
        time.sleep(EVERY)
        measuring = Coverage.current()
        data = measuring._collector.data.copy()
        seen = {(file, step) for file, steps in data.items() for step in steps.copy()}
        if not seen <= told:
            measuring.save()
            told |= seen

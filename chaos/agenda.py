"""What is to be done when, by one thread: acts of the plan, and what follows of them."""

import heapq
import itertools
import threading
import time

LOOK = 0.1  # seconds: another thread may have put something in front


class Agenda:
    """Actions by their monotonic time; they are put down from any thread, and done by whoever calls `work`."""

    def __init__(self):
        self._due, self._order, self._lock = [], itertools.count(), threading.Lock()

    def at(self, when, action):
        with self._lock:
            heapq.heappush(self._due, (when, next(self._order), action))

    def after(self, seconds, action):
        self.at(time.monotonic() + seconds, action)

    def work(self, seconds):
        """Do what is due, for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            action = self._take()
            if action is None:
                time.sleep(min(left, LOOK))
            else:
                action()

    def _take(self):
        with self._lock:
            if not self._due or self._due[0][0] > time.monotonic():
                return None
            return heapq.heappop(self._due)[2]

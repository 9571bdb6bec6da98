"""What a run did and met, as lines of a file: operations, faults, nodes, and how long this machine kept us waiting."""

import json
import threading
import time

LOOK = 0.4  # seconds
WORK = 0.01
STALL = 0.25  # seconds: a sleep that takes so much longer is one
WAITS = 0.5  # a share: who waits longer than it runs is stalled too


class Diary:
    """Events with the wall clock's time, from any thread."""

    def __init__(self, path):
        self._file = path.open("a")
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._measure, name="chaos-watchdog", daemon=True)

    def start(self):
        self._watch.start()

    def note(self, what, **more):
        """`at` is when it is noted; `began` and `ended` are given where a thing takes time."""
        with self._lock:
            self._file.write(json.dumps({"at": time.time(), "what": what, **more}) + "\n")
            self._file.flush()

    def close(self):
        self._over.set()
        if self._watch.is_alive():
            self._watch.join(2)
        self._file.close()

    def _measure(self):
        """Sleep, then work: how late it wakes us, and what share of a time who wants a processor has none."""
        last = time.time()
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(LOOK)
            late = time.monotonic() - began - LOOK
            share = waits()
            at = time.time()
            seconds = late if late > STALL else share * (at - last) if share > WAITS else 0.0
            if seconds:
                self.note("stall", seconds=seconds, late=late, share=share, began=last, ended=at)
            last = at


def waits():
    """The share of a short work's time in which it did not run."""
    began, ran = time.monotonic(), time.thread_time()
    while time.thread_time() - ran < WORK:
        pass
    took = time.monotonic() - began
    return 1.0 - min(1.0, (time.thread_time() - ran) / took)

"""What a run did and met, as lines of a file: operations, faults, nodes, and how long this machine kept us waiting."""

import json
import threading
import time

LOOK = 0.05  # seconds
STALL = 0.25  # a sleep that takes so much longer is one


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
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(LOOK)
            late = time.monotonic() - began - LOOK
            if late > STALL:
                self.note("stall", seconds=late, began=time.time() - late - LOOK, ended=time.time())

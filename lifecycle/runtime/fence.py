"""The fence of a pool child: the kernel kills it when its node's lease may have run out.

An interval timer, not a thread's look at a clock: after a SIGSTOP past the lease the process is dead
before its code resumes. Limits: bodies that use SIGALRM themselves, suspended virtual machines.
"""

import os
import signal
import threading
import time

from lifecycle.runtime.page import Page


class Fence:
    """Keeps a child's `ITIMER_REAL` at the deadline that its node published."""

    def __init__(self, page: Page, every: float) -> None:
        self._page = page
        self._every = every

    def start(self) -> None:
        """Lead a process group of its own, so that a kill takes what the body started; then arm, and keep arming."""
        os.setpgid(0, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self.arm()
        threading.Thread(target=self._keep, name="lifecycle-fence", daemon=True).start()

    def arm(self) -> bool:
        """Set the timer; False if the lease is over: nothing may be claimed then."""
        left = self._page.deadline - time.monotonic()
        if left <= 0:
            return False
        signal.setitimer(signal.ITIMER_REAL, left)
        return True

    def _keep(self) -> None:
        while True:
            self.arm()
            time.sleep(self._every)

"""An outage of something that a thread needs: told once when it begins, and once when it is over."""

import logging

from lifecycle.errors import LifecycleError
from lifecycle.runtime.page import Page


class Outage:
    """What a thread that tries again and again says of it; an error that is no outage comes with its traceback."""

    def __init__(self, log: logging.Logger, page: Page, begins: str, ends: str) -> None:
        self._log, self._page, self._begins, self._ends = log, page, begins, ends
        self._lasts = False

    def see(self, error: Exception | None, *, expected: type[Exception] = LifecycleError) -> None:
        """How the last try went: None if it did."""
        if error is not None and not self._lasts:
            unexpected = not isinstance(error, expected)
            self._log.warning("%s node=%s error=%s", self._begins, self._page.node, error, exc_info=unexpected)
        if error is None and self._lasts:
            self._log.warning("%s node=%s", self._ends, self._page.node)
        self._lasts = error is not None

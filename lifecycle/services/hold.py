"""One service in one hand: kept from step to step, and let go of by who finds that another has it."""

import logging
import time

from lifecycle.errors import ServiceTaken, StoreError
from lifecycle.store import services
from lifecycle.store.engine import Database

log = logging.getLogger("lifecycle.docker")


class Hold:
    """A service that we have just taken in hand, for so many seconds from each step on."""

    def __init__(self, database: Database, engine: str, key: str, *, by: str, seconds: float) -> None:
        self._database, self._engine, self._key, self._by, self._seconds = database, engine, key, by, seconds
        self._until = time.monotonic() + seconds

    def renew(self) -> None:
        """Before each step. Raises ServiceTaken if another has the service, or may have it for all that we know."""
        began = time.monotonic()
        try:
            with self._database.begin() as connection:
                is_ours = services.renew(connection, self._engine, self._key, by=self._by, seconds=self._seconds)
        except StoreError as error:
            if began >= self._until:
                raise ServiceTaken(f"{self._key} may be in another hand by now: {error}") from error
            log.warning("goes on without the database name=%s error=%s", self._key, error)  # half a repair is worse
            return
        if not is_ours:
            raise ServiceTaken(f"{self._key} is in another hand by now")
        self._until = began + self._seconds

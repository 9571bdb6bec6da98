"""What a Lifecycle does from time to time for all its containers: by beat, by a node, or by hand."""

from abc import ABC, abstractmethod

from lifecycle.settings import Settings
from lifecycle.store.engine import Database
from lifecycle.trees import prune, recover, sweep
from lifecycle.trees.doorbell import Doorbell
from lifecycle.trees.prune import Pruned
from lifecycle.trees.recover import Recovered
from lifecycle.trees.sweep import Swept


class Upkeep(ABC):
    """The passes over the containers of one database; each may run twice at once."""

    @property
    @abstractmethod
    def bell(self) -> Doorbell:
        """How nodes and Celery's results are told."""

    @property
    @abstractmethod
    def database(self) -> Database:
        """Where the rows are."""

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """As configured."""

    @property
    @abstractmethod
    def may_reap(self) -> bool:
        """Whether this process is fit to declare nodes dead."""

    def sweep(self, *, dry_run: bool = False) -> Swept:
        """Find what lost its parent, its node or its end, and end it; dry_run: only say what would be found."""
        if dry_run:
            return sweep.preview(self.database)
        return sweep.sweep(self.database, self.bell, self.settings.restarts, may_reap=self.may_reap)

    def recover(self, *, dry_run: bool = False) -> Recovered:
        """Let interrupted containers go on whose time has come; dry_run: only say which wait, and for what."""
        if dry_run:
            return recover.preview(self.database)
        return recover.recover(self.database, self.bell, self.settings.restarts, may_reap=self.may_reap)

    def prune(self, *, older_than: float | None = None, dry_run: bool = False) -> Pruned:
        """Delete what ended more than `older_than` seconds ago, by default the setting `retention`.

        dry_run: only count. Raises InvalidArgument for a time that is none.
        """
        seconds = self.settings.retention if older_than is None else older_than
        if dry_run:
            return prune.preview(self.database, older_than=seconds)
        return prune.prune(self.database, older_than=seconds)

"""What every pipeline works with: the API and the books of the container's player."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lifecycle import Container, ContainerNotFound, StoreUnreachable, checkpoint, current_container, later
from workers import app
from workers.fleet.account import Account, open_account
from workers.fleet.charts import Charts
from workers.fleet.client import Client, client
from workers.fleet.deeds import Deeds
from workers.fleet.errors import FleetError, Unreachable
from workers.fleet.hulls import KIND, Hulls
from workers.fleet.inquiry import Inquiry
from workers.fleet.ledger import Ledger
from workers.fleet.pace import PATIENCE
from workers.fleet.prices import Prices

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request would be most of a container's logs
COORDINATOR = {"iterations": -1, "max_restarts": 1_000}  # it is to outlive any number of lost nodes
WORKER = {"max_restarts": 100}


class NotHeld(FleetError):
    """The ship was taken away from its container; nothing was ordered."""


@dataclass(frozen=True, slots=True)
class Office:
    """The books of one account, and the container at hand."""

    api: Client
    lifecycle: Any
    account: Account
    here: Container

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.lifecycle.database, self.account)

    @property
    def prices(self) -> Prices:
        return Prices(self.lifecycle.database, self.account)

    @property
    def charts(self) -> Charts:
        return Charts(self.api, self.lifecycle.database, self.account)

    @property
    def hulls(self) -> Hulls:
        return Hulls(self.api, self.lifecycle, self.account)

    @property
    def inquiry(self) -> Inquiry:
        return Inquiry(self.api, self.ledger)

    def deeds(self, purpose: str, lot: str | None = None) -> Deeds:
        """Orders of the container at hand; lot: what its purchases are counted together as, if not as its own."""
        return Deeds(self.api, self.ledger, self.here.id, purpose, self.here.id if lot is None else lot, self.fence)

    def fence(self, ship: str) -> None:
        """Raises ContainerStopped in an execution that was superseded, NotHeld without the ship."""
        checkpoint(orders=ship)
        held = {each.resource for each in self.lifecycle.holdings(self.here.id)}
        if f"{KIND}{ship}" not in held:
            raise NotHeld(f"{self.here.id} does not hold {ship} any more")

    def keep_at_least(self, min_balance: int | None) -> None:
        """The wish that a coordinator was started with; later looks would undo an operator's own."""
        if min_balance is not None and not self.here.current_iteration:
            self.ledger.keep_at_least(min_balance)

    def has_ended(self, container_id: str) -> bool:
        """Also what was deleted since."""
        try:
            return bool(self.lifecycle.get(container_id).is_ended)
        except ContainerNotFound:
            return True


def open_office() -> Office:
    """In a container's body; raises NotConfigured, WrongPlayer, DeadEra, Refused for a token that is not known."""
    here = current_container()
    assert here is not None, "pipelines run in containers: start them with spawn or `container start`"
    api = client()
    account = open_account(api, app.lifecycle.database, here.player_id)
    account.check_era(here.state.get("era"))
    if "era" not in here.state:
        checkpoint(era=account.era)
    return Office(api, app.lifecycle, account, current_container() or here)


def patiently(body: Callable[[], Any]) -> Any:
    """The body; where the API or the database does not answer it goes on a little later, as if nothing had been."""
    try:
        return body()
    except (Unreachable, StoreUnreachable) as error:
        log.warning("again in %g s: %s", PATIENCE, error)
        return later(PATIENCE)

"""`fleet_contracts`: which container works on the account's contract; the database allows one open one."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from workers.fleet.account import Account
from workers.fleet.errors import FleetError
from workers.fleet.tables import OPEN, contracts, now

c = contracts.c
FULFILLED, EXPIRED = "FULFILLED", "EXPIRED"


class ContractTaken(FleetError):
    """Another container works on the account's contract."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """One row; `contract` is the API's id, once it is known."""

    id: int
    container_id: str
    contract: str | None
    status: str


COLUMNS = [c[name] for name in Workflow.__dataclass_fields__]


def purpose(contract: str) -> str:
    """What a contract's cargo is aboard for."""
    return f"contract:{contract}"


class Workflows:
    """The rows of one account."""

    def __init__(self, database: Any, account: Account) -> None:
        self._database, self._account = database, account

    def open(self) -> Workflow | None:
        """The one that is not over."""
        return self._find(c.status == OPEN)

    def of(self, container_id: str) -> Workflow | None:
        """The newest one of a container."""
        return self._find(c.container_id == container_id)

    def purposes(self) -> set[str]:
        """Whose cargo no one else may touch."""
        found = self.open()
        return {purpose(found.contract)} if found is not None and found.contract is not None else set()

    def take(self, connection: sa.Connection, found: Workflow | None, container_id: str) -> None:
        """Make the open one this container's, or begin one, in the caller's transaction.

        Raises ContractTaken if another has taken it over meanwhile, IntegrityError if another has begun one.
        """
        if found is None:
            row = {"agent_id": self._account.id, "container_id": container_id, "status": OPEN, "opened_at": now()}
            connection.execute(contracts.insert().values(row))
            return
        still = sa.and_(c.id == found.id, c.container_id == found.container_id, c.status == OPEN)
        if connection.execute(contracts.update().where(still).values(container_id=container_id)).rowcount != 1:
            raise ContractTaken(f"contract {found.contract} goes on elsewhere")

    def name(self, found: Workflow, contract: str) -> None:
        """It is this contract."""
        with self._database.begin() as connection:
            connection.execute(contracts.update().where(c.id == found.id).values(contract=contract))

    def close(self, found: Workflow, status: str) -> None:
        """It is over; what is left of its cargo is anybody's."""
        with self._database.begin() as connection:
            closed = contracts.update().where(c.id == found.id, c.status == OPEN)
            connection.execute(closed.values(status=status, closed_at=now()))

    def _find(self, which: sa.ColumnElement[bool]) -> Workflow | None:
        query = sa.select(*COLUMNS).where(c.agent_id == self._account.id, which).order_by(c.id.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else Workflow(*row)

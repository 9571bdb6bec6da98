"""What the fleet did and is about to do, an entry each: RESERVED before the order, SETTLED or VOID after its answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from workers.fleet.account import Account
from workers.fleet.errors import FleetError, NotSent
from workers.fleet.tables import RESERVED, SETTLED, VOID, Moment, agents, cargo, clock, entries, now
from workers.fleet.upsert import add

a, e, k = agents.c, entries.c, cargo.c
BUY, SELL, REFUEL, JETTISON = "BUY", "SELL", "REFUEL", "JETTISON"
ACCEPT, DELIVER, FULFILL = "ACCEPT", "DELIVER", "FULFILL"
FOUND, MISSING, CORRECTION = "FOUND", "MISSING", "CORRECTION"  # what happened to ships or credits without an entry
PERCENT = 100
HEADROOM = 110  # percent of the price that was seen are set aside: another ship may raise it before ours buys


class Overspent(FleetError):
    """The guard of the account refused an expense; `room` is what may be spent now."""

    def __init__(self, wanted: int, room: int) -> None:
        super().__init__(f"{wanted} credits are more than the {room} that may be spent now")
        self.wanted, self.room = wanted, room

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.wanted, self.room)


class Busy(FleetError):
    """Another of ours buys the same good there, or has since its price was seen: look again."""


class Counting(NotSent):
    """No order begins for some seconds: the credits are to be compared while none is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One deed of a ship; its fields are columns of `fleet_entries`."""

    container_id: str
    purpose: str
    lot: str
    kind: str
    ship: str
    waypoint: str | None = None
    good: str | None = None
    contract: str | None = None
    units: int = 0
    aboard: int = 0
    held: int = 0
    before: int = 0
    amount: int = 0
    price: int = 0
    id: int = 0


def set_aside(units: int, price: int) -> int:
    """Credits for so many units, with headroom."""
    return -(-units * price * HEADROOM // PERCENT)


FIELDS = tuple(Entry.__dataclass_fields__)
COLUMNS = [e[name] for name in FIELDS]


@dataclass(frozen=True, slots=True)
class Cargo:
    """What the books say is aboard a ship, and what for."""

    good: str
    purpose: str
    units: int


class Ledger:
    """The entries of one account. Who reserves holds its row: no two see the same credits as free."""

    def __init__(self, database: Any, account: Account) -> None:
        self._database, self._account = database, account

    def newest(self, waypoint: str, good: str) -> int:
        """The newest purchase of a good there, to be known before its price is seen; raises Busy while it is made."""
        with self._database.read() as connection:
            return self._newest(connection, waypoint, good)

    def reserve(self, entry: Entry, *, newest: int | None = None) -> Entry:
        """Write an entry down before its order is given; raises Overspent where the account's guards say so.

        newest: of the purchases there when the price was seen; raises Busy if there is another by now, which raised it.
        Raises Counting while no order may begin.
        """
        with self._database.begin() as connection:
            until = self._lock(connection).shut_until
            if until is not None and clock(connection) < until:
                raise Counting("the account's credits are being compared")
            if newest is not None and self._newest(connection, entry.waypoint, entry.good) != newest:
                raise Busy(f"{entry.good} was bought at {entry.waypoint} meanwhile")
            if entry.held:
                room = self._room(connection, entry.lot, entry.kind)
                if entry.held > room:
                    raise Overspent(entry.held, room)
            return self._insert(connection, entry, RESERVED)

    def affordable(self, lot: str, price: int) -> int:
        """Units that a purchase of this lot may take now; another may be faster, and `reserve` has the last word."""
        with self._database.begin() as connection:
            self._lock(connection)
            return self._room(connection, lot, BUY) * PERCENT // (price * HEADROOM)

    def settle(
        self, entry: Entry, amount: int, *, price: int = 0, at: datetime | None = None, guess: bool = False
    ) -> bool:
        """The order was executed; False if another has written so. guess: nobody knows the exact amount."""
        done = {"status": SETTLED, "amount": amount, "price": price, "transacted_at": at, "is_estimate": guess}
        with self._database.begin() as connection:
            self._lock(connection)
            settled = self._close(connection, entry, done)
            if settled:
                self._load(connection, entry)
                self._pay(connection, amount)
            return settled

    def void(self, entry: Entry, why: str) -> bool:
        """The order was not executed."""
        with self._database.begin() as connection:
            self._lock(connection)
            return self._close(connection, entry, {"status": VOID, "note": why})

    def waited(self, entry: Entry) -> float:
        """Seconds since this was first asked of an entry: by then nobody sends its order any more."""
        with self._database.begin() as connection:
            at = clock(connection)
            first = sa.func.coalesce(e.asked_at, sa.literal(at, Moment))
            asked = entries.update().where(e.id == entry.id).values(asked_at=first).returning(e.asked_at)
            return (at - connection.execute(asked).scalar_one()).total_seconds()

    def write(self, entry: Entry, note: str) -> None:
        """What happened without an order of ours: cargo that is there or is not, credits that differ."""
        with self._database.begin() as connection:
            self._lock(connection)
            written = self._insert(connection, entry, SETTLED)
            connection.execute(entries.update().where(e.id == written.id).values(note=note, settled_at=now()))
            self._load(connection, entry)
            self._pay(connection, entry.amount)

    def left(self, ship: str | None = None) -> list[Entry]:
        """Entries whose order has not been answered, of one ship or of all."""
        of_ship = sa.true() if ship is None else e.ship == ship
        query = sa.select(*COLUMNS).where(self._mine, e.status == RESERVED, of_ship).order_by(e.id)
        with self._database.read() as connection:
            return [Entry(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name

    def cargo(self, ships: Sequence[str] | None = None) -> dict[str, list[Cargo]]:
        """By ship, what the settled entries say is aboard."""
        of_ships = sa.true() if ships is None else k.ship.in_(ships)
        query = sa.select(k.ship, k.good, k.purpose, k.units).order_by(k.ship, k.good, k.purpose)
        found: dict[str, list[Cargo]] = {}
        with self._database.read() as connection:
            for ship, *row in connection.execute(query.where(k.agent_id == self._account.id, k.units > 0, of_ships)):
                found.setdefault(ship, []).append(Cargo(*row))
        return found

    def of_lot(self, lot: str) -> list[Entry]:
        """What came of one lot, oldest first."""
        return self._settled(e.lot == lot)

    def of_purpose(self, purpose: str) -> list[Entry]:
        """What was done for one purpose, oldest first."""
        return self._settled(e.purpose == purpose)

    def _settled(self, which: sa.ColumnElement[bool]) -> list[Entry]:
        query = sa.select(*COLUMNS).where(self._mine, e.status == SETTLED, which).order_by(e.id)
        with self._database.read() as connection:
            return [Entry(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - as above

    def has(self, kind: str, contract: str) -> bool:
        """Whether an order of this kind for a contract is settled: it is accepted once, and fulfilled once."""
        return bool(self._settled(sa.and_(e.kind == kind, e.contract == contract)))

    def last_transaction(self, ship: str) -> datetime | None:
        """When the API executed the last order of a ship that is settled."""
        query = sa.select(sa.func.max(e.transacted_at)).where(self._mine, e.ship == ship)
        with self._database.read() as connection:
            return connection.execute(query).scalar()

    def credits(self) -> tuple[int, int]:
        """What the agent owns by these books, and how many deeds they know of."""
        with self._database.read() as connection:
            return tuple(connection.execute(sa.select(a.credits, a.deeds).where(self._row)).one())

    def keep_at_least(self, min_balance: int) -> None:
        """From now on no purchase leaves less than this."""
        with self._database.begin() as connection:
            self._set(connection, min_balance=min_balance)

    def shut(self, seconds: float, *, every: float) -> bool:
        """Have no order begin for so long; False, and nothing done, where it is not due.

        It is due when the last comparison was `every` seconds ago, and the last hold-up a tenth of that.
        """
        with self._database.begin() as connection:
            row, at = self._lock(connection), clock(connection)
            due = row.counted_at is None or at >= row.counted_at + timedelta(seconds=every)
            if not due or (row.shut_until is not None and at < row.shut_until + timedelta(seconds=every / 10)):
                return False
            self._set(connection, shut_until=at + timedelta(seconds=seconds))
            return True

    def reopen(self) -> None:
        """Orders begin again."""
        with self._database.begin() as connection:
            self._set(connection, shut_until=clock(connection))

    def correct(self, owned: int, deeds: int, container_id: str) -> int | None:
        """Write down by how much the agent's credits differ.

        None, and nothing is written, if anything was done since `deeds` were known, or an order is under way.
        """
        with self._database.begin() as connection:
            row = self._lock(connection)
            if row.deeds != deeds or self._reserved(connection) is not None:
                return None
            self._set(connection, counted_at=clock(connection))
            if off := owned - row.credits:
                told = {"container_id": container_id, "purpose": "", "lot": "", "ship": "", "kind": CORRECTION}
                self._insert(connection, Entry(**told, amount=off), SETTLED)
                self._pay(connection, off)
            return off

    @property
    def _row(self) -> sa.ColumnElement[bool]:
        return a.id == self._account.id

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return e.agent_id == self._account.id

    def _lock(self, connection: sa.Connection) -> Any:
        """From here to the commit nobody else spends, settles or voids; SQLite has one writer anyway."""
        return connection.execute(sa.select(agents).where(self._row).with_for_update()).one()

    def _newest(self, connection: sa.Connection, waypoint: str | None, good: str | None) -> int:
        there = sa.and_(self._mine, e.kind == BUY, e.waypoint == waypoint, e.good == good)
        row = connection.execute(sa.select(e.id, e.status).where(there).order_by(e.id.desc()).limit(1)).first()
        if row is not None and row.status == RESERVED:
            raise Busy(f"{good} is being bought at {waypoint}")
        return 0 if row is None else int(row.id)

    def _room(self, connection: sa.Connection, lot: str, kind: str) -> int:
        """What is neither spent, set aside nor to be kept; of that one lot may take the account's share."""
        account = connection.execute(sa.select(a.credits, a.min_balance, a.share).where(self._row)).one()
        free = account.credits - int(self._reserved(connection) or 0)
        if kind != BUY:  # fuel: a ship that cannot fly earns nothing
            return free
        spent, held = self._costs(connection, lot)
        share = (account.credits + spent) * account.share // PERCENT - spent - held
        return max(0, min(free - account.min_balance, share))

    def _costs(self, connection: sa.Connection, lot: str) -> tuple[int, int]:
        """What the purchases of a lot have cost, and what is set aside for those under way."""
        of_lot = sa.and_(self._mine, e.lot == lot, e.kind == BUY)
        spent = sa.select(sa.func.coalesce(sa.func.sum(-e.amount), 0)).where(of_lot, e.status == SETTLED)
        held = sa.select(sa.func.coalesce(sa.func.sum(e.held), 0)).where(of_lot, e.status == RESERVED)
        return int(connection.execute(spent).scalar_one()), int(connection.execute(held).scalar_one())

    def _reserved(self, connection: sa.Connection) -> int | None:
        """Credits that orders under way may still take; None if there is no order under way."""
        under_way = sa.and_(self._mine, e.status == RESERVED)
        found = connection.execute(sa.select(sa.func.sum(e.held)).where(under_way)).scalar()
        return None if found is None else int(found)

    def _insert(self, connection: sa.Connection, entry: Entry, status: str) -> Entry:
        given = {name: getattr(entry, name) for name in FIELDS if name != "id"}
        values = {**given, "agent_id": self._account.id, "status": status, "created_at": now()}
        made = connection.execute(entries.insert().values(values).returning(e.id)).scalar_one()
        self._set(connection, deeds=a.deeds + 1)
        return replace(entry, id=made)

    def _close(self, connection: sa.Connection, entry: Entry, values: dict[str, Any]) -> bool:
        ours = sa.and_(e.id == entry.id, e.status == RESERVED)
        closed = connection.execute(entries.update().where(ours).values(**values, settled_at=now())).rowcount == 1
        if closed:
            self._set(connection, deeds=a.deeds + 1)
        return closed

    def _load(self, connection: sa.Connection, entry: Entry) -> None:
        if entry.aboard:
            where = {"agent_id": self._account.id, "ship": entry.ship, "good": entry.good, "purpose": entry.purpose}
            add(connection, cargo, {**where, "units": entry.aboard}, "units")
            connection.execute(cargo.delete().where(k.agent_id == self._account.id, k.ship == entry.ship, k.units == 0))

    def _set(self, connection: sa.Connection, **values: Any) -> None:
        connection.execute(agents.update().where(self._row).values(values))

    def _pay(self, connection: sa.Connection, amount: int) -> None:
        self._set(connection, credits=a.credits + amount)

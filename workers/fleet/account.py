"""Whose books these are: an agent in one era of the universe, kept for one player."""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from workers.fleet.client import Client
from workers.fleet.errors import FleetError
from workers.fleet.migrate import check
from workers.fleet.tables import NOBODY, agents, clock

a = agents.c


class WrongPlayer(FleetError):
    """The token is that of an agent whose books are another player's, or the player has another agent."""


class DeadEra(FleetError):
    """The container began before a reset of the universe: what it had to do is gone with its ship's cargo."""


@dataclass(frozen=True, slots=True)
class Account:
    """One row of `fleet_agents`; after a reset of the universe a new one begins, and the old one stays as it was."""

    id: int
    symbol: str
    era: str
    player_id: int
    headquarters: str

    def check_era(self, began: str | None) -> None:
        """Raises DeadEra for a container that began in another one; None is one that begins now."""
        if began not in {None, self.era}:
            raise DeadEra(f"the universe of {began} is over, this one began {self.era}")


def open_account(api: Client, database: Any, player_id: int | None) -> Account:
    """The account of this token's agent for this player; once for each process, for a token is good for one era.

    Raises WrongPlayer.
    """
    return _opened(os.getpid(), api, database, NOBODY if player_id is None else player_id)


@cache
def _opened(process: int, api: Client, database: Any, player_id: int) -> Account:
    check(database)
    return found_or_made(database, api.agent(), api.status()["resetDate"], player_id)


def found_or_made(database: Any, agent: Any, era: str, player_id: int) -> Account:
    """One agent of an era belongs to one player, and the other way round."""
    account = _find(database, agent["symbol"], era, player_id) or _make(database, agent, era, player_id)
    if (account.symbol, account.player_id) != (agent["symbol"], player_id):
        raise WrongPlayer(
            f"the token is that of agent {agent['symbol']}, but the books of era {era} have agent {account.symbol} "
            f"for player {_named(account.player_id)}, and this container is of player {_named(player_id)}; "
            f"python -m workers.fleet.migrate --give {account.symbol} PLAYER changes whose it is"
        )
    return account


def _find(database: Any, symbol: str, era: str, player_id: int) -> Account | None:
    theirs = sa.or_(a.symbol == symbol, a.player_id == player_id)
    query = sa.select(a.id, a.symbol, a.era, a.player_id, a.headquarters).where(a.era == era, theirs).order_by(a.id)
    with database.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else Account(*row)


def _make(database: Any, agent: Any, era: str, player_id: int) -> Account:
    """Its credits of now are what the ledger begins with."""
    values = {
        "symbol": agent["symbol"],
        "era": era,
        "player_id": player_id,
        "headquarters": agent["headquarters"],
        "opening": agent["credits"],
        "credits": agent["credits"],
    }
    try:
        with database.begin() as connection:
            connection.execute(agents.insert().values(**values, counted_at=clock(connection)))
    except IntegrityError:  # another process was first
        pass
    made = _find(database, agent["symbol"], era, player_id)
    assert made is not None
    return made


def _named(player_id: int) -> str:
    return "none" if player_id == NOBODY else str(player_id)

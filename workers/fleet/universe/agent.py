"""A player: credits, ships and contracts."""

import hashlib
from random import Random
from typing import Any

from workers.fleet.universe.clock import Clock
from workers.fleet.universe.contract import Contract, offer
from workers.fleet.universe.error import Code, Refusal
from workers.fleet.universe.galaxy import Galaxy
from workers.fleet.universe.ship import Model, Ship


class Agent:
    """The same symbol in the same universe is offered the same contracts; its token ends with the universe."""

    def __init__(self, symbol: str, seed: int, galaxy: Galaxy, clock: Clock, money: int) -> None:
        self.symbol, self.credits, self._galaxy, self._clock = symbol, money, galaxy, clock
        self.token = hashlib.sha256(f"token {seed} {symbol} {clock.start}".encode()).hexdigest()
        self._chance = Random(f"contracts {seed} {symbol}")  # noqa: S311 - made to be foreseen
        self.ships: dict[str, Ship] = {}
        self.contracts: dict[str, Contract] = {}

    def add(self, model: Model) -> None:
        """Another ship; numbers are hexadecimal, as the API's."""
        symbol = f"{self.symbol}-{len(self.ships) + 1:X}"
        self.ships[symbol] = Ship.new(symbol, model, self._clock, self._galaxy.headquarters)

    def ship(self, symbol: str) -> Ship:
        if symbol not in self.ships:
            raise Refusal(Code.NOT_FOUND, f"Ship {symbol} is not known.", shipSymbol=symbol)
        return self.ships[symbol]

    def contract(self, contract_id: str) -> Contract:
        if contract_id not in self.contracts:
            raise Refusal(Code.NOT_FOUND, f"Contract {contract_id} is not known.", contractId=contract_id)
        return self.contracts[contract_id]

    def negotiate(self) -> Contract:
        """One contract at a time."""
        for contract in self.contracts.values():
            if contract.open:
                raise Refusal(Code.HAS_CONTRACT, f"Agent {self.symbol} has a contract.", contractId=contract.id)
        contract = offer(self.symbol, len(self.contracts) + 1, self._chance, self._galaxy, self._clock)
        self.contracts[contract.id] = contract
        return contract

    def afford(self, price: int) -> None:
        if price > self.credits:
            message = f"Agent {self.symbol} has {self.credits} credits, and this costs {price}."
            raise Refusal(Code.CREDITS, message, agentCredits=self.credits, totalPrice=price)

    def present(self, waypoint: str) -> bool:
        """A ship of theirs is there, and has arrived."""
        return any(ship.waypoint.symbol == waypoint and ship.status != "IN_TRANSIT" for ship in self.ships.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "accountId": f"account-{self.symbol.lower()}",
            "symbol": self.symbol,
            "headquarters": self._galaxy.headquarters.symbol,
            "credits": self.credits,
            "startingFaction": "COSMIC",
            "shipCount": len(self.ships),
        }

"""A whole universe in memory: its galaxy, its clock and who plays in it."""

import re
from dataclasses import dataclass

from workers.fleet.universe.agent import Agent
from workers.fleet.universe.clock import Clock
from workers.fleet.universe.error import Code, Refusal
from workers.fleet.universe.galaxy import Galaxy
from workers.fleet.universe.ship import FREIGHTER, FRIGATE, PROBE

SYMBOL = re.compile(r"[A-Z0-9_-]{3,14}")
TOKEN = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Plan:
    """What a universe is made from. All but the time in which it is lived follows from it."""

    seed: int = 1
    waypoints: int = 16
    markets: int = 12
    ships: int = 4
    probes: int = 2
    credits: int = 175_000
    recovery: float = 6 * 3_600.0


class Universe:
    """Every agent begins with a frigate, and the plan's freighters and probes, at its headquarters."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.plan, self.clock = plan, clock
        extent = {"waypoints": max(plan.waypoints, plan.markets), "markets": plan.markets}
        self.galaxy = Galaxy(plan.seed, clock, recovery=plan.recovery, **extent)
        self.agents: dict[str, Agent] = {}

    def register(self, symbol: str) -> Agent:
        if not SYMBOL.fullmatch(symbol):
            raise Refusal(Code.INVALID, "A symbol has 3 to 14 of A-Z, 0-9, - and _.", symbol=symbol)
        if any(agent.symbol == symbol for agent in self.agents.values()):
            raise Refusal(Code.SYMBOL_TAKEN, f"There is an agent {symbol} already.", agentSymbol=symbol)
        agent = Agent(symbol, self.plan.seed, self.galaxy, self.clock, self.plan.credits)
        for model in [FRIGATE, *[FREIGHTER] * self.plan.ships, *[PROBE] * self.plan.probes]:
            agent.add(model)
        agent.negotiate()
        self.agents[agent.token] = agent
        return agent

    def agent(self, authorization: str) -> Agent:
        """Whose token it is."""
        kind, _, token = authorization.partition(" ")
        if kind != "Bearer" or not token:
            raise Refusal(Code.TOKEN_MISSING, "A token is needed: Authorization: Bearer …")
        if not TOKEN.fullmatch(token):
            raise Refusal(Code.TOKEN_INVALID, "The token is none.")
        if token not in self.agents:
            raise Refusal(Code.TOKEN_OUTDATED, "The token is not of this universe.")
        return self.agents[token]

"""Which probe looks after which markets: split once, and again only when probes or markets are others."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from workers.fleet.account import Account
from workers.fleet.charts import Places
from workers.fleet.route import distance
from workers.fleet.tables import tours
from workers.fleet.upsert import upsert

t = tours.c
Tours = dict[str, list[str]]


class TourBook:
    """The tours of one account's probes, as its scouts read them."""

    def __init__(self, database: Any, account: Account) -> None:
        self._database, self._account = database, account

    def all(self, system: str) -> Tours:
        return self._read(t.system == system)

    def of(self, ship: str) -> list[str]:
        """Empty where it has none."""
        return self._read(t.ship == ship).get(ship, [])

    def replace(self, system: str, found: Tours) -> None:
        """Those of one system: another one has a coordinator of its own."""
        where = {"agent_id": self._account.id, "system": system}
        rows = [{**where, "ship": ship, "markets": markets} for ship, markets in found.items()]
        others = sa.and_(t.agent_id == self._account.id, t.system == system, t.ship.not_in(list(found)))
        with self._database.begin() as connection:
            connection.execute(tours.delete().where(others))
            upsert(connection, tours, rows)

    def _read(self, which: sa.ColumnElement[bool]) -> Tours:
        query = sa.select(t.ship, t.markets).where(t.agent_id == self._account.id, which).order_by(t.ship)
        with self._database.read() as connection:
            return {row.ship: list(row.markets) for row in connection.execute(query)}


def fits(known: Tours, probes: Sequence[str], markets: Sequence[str]) -> bool:
    """True if these tours are of these probes and cover these markets."""
    return set(known) == set(probes) and {market for tour in known.values() for market in tour} == set(markets)


def split(markets: Sequence[str], probes: Mapping[str, str], places: Places) -> Tours:
    """Each market to one probe: again and again, to whom the next market makes for the shortest tour.

    probes: where each is. With more probes than markets, the rest look after markets that others have too.
    """
    found: Tours = {probe: [] for probe in sorted(probes)}
    left, lengths, ends = sorted(markets), dict.fromkeys(found, 0.0), dict(probes)
    while left and found:
        pairs = ((lengths[each] + _way(places, ends[each], market), each, market) for each in found for market in left)
        length, probe, market = min(pairs, key=lambda pair: (pair[0], len(found[pair[1]]), pair))
        found[probe].append(market)
        lengths[probe], ends[probe] = length, market
        left.remove(market)
    for number, idle in enumerate(probe for probe in found if not found[probe] and markets):
        found[idle] = [sorted(markets)[number % len(markets)]]
    return found


def rotated(tour: Sequence[str], here: str, places: Places) -> list[str]:
    """The tour from where the ship is, or from the market nearest to it: so it goes on where it was cut off."""
    if not tour:
        return []
    first = min(range(len(tour)), key=lambda at: (_way(places, here, tour[at]), at))
    return [*tour[first:], *tour[:first]]


def _way(places: Places, start: str, goal: str) -> float:
    """A probe elsewhere is equally far from all."""
    return distance(places[start], places[goal]) if start in places else 0.0

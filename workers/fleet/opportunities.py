"""Which goods are worth carrying from where to where: rules, without a ship or a database."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workers.fleet.charts import Places
from workers.fleet.hulls import Hull
from workers.fleet.prices import Price
from workers.fleet.route import distance

HOLD = 40  # units of cargo that are assumed
PERCENT = 100.0
SUPPLY = {"ABUNDANT": 20, "HIGH": 15, "MODERATE": 10, "LIMITED": 5}
ACTIVITY = {"STRONG": 20, "GROWING": 15, "WEAK": 5}
OF_MARGIN, OF_SUPPLY, OF_ACTIVITY, OF_DISTANCE = 40.0, 20.0, 20.0, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Opportunity:
    """A good, where to buy it and where to sell it, at the prices that were seen."""

    good: str
    buy_at: str
    sell_at: str
    buy_price: int
    sell_price: int
    units: int
    distance: float
    supply: str | None
    activity: str | None
    score: float = 0.0

    @property
    def margin(self) -> float:
        """What is gained, in percent of what is paid."""
        return margin(self.buy_price, self.sell_price)

    @property
    def profit(self) -> int:
        """Of one trip, if prices stay."""
        return (self.sell_price - self.buy_price) * self.units

    @property
    def lane(self) -> str:
        """What no two ships do at once: each would spoil the other's prices."""
        return lane(self.good, self.buy_at, self.sell_at)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def lane(good: str, buy_at: str, sell_at: str) -> str:
    return f"{good} {buy_at} {sell_at}"


def margin(buy: int, sell: int) -> float:
    return (sell - buy) / buy * PERCENT if buy > 0 else 0.0


def rank(prices: Sequence[Price], places: Places, min_margin: float) -> list[Opportunity]:
    """The best first: every pair of markets that gains at least `min_margin` percent."""
    found = [
        _opportunity(buy, sell, places)
        for buy in prices
        for sell in prices
        if buy.good == sell.good and sell.sell > buy.buy and margin(buy.buy, sell.sell) >= min_margin
    ]
    return sorted(found, key=lambda each: (-each.score, each.lane))


def sendable(
    found: Sequence[Opportunity], free: Sequence[Hull], *, most: int, laden: set[str]
) -> tuple[Sequence[Opportunity], Sequence[Hull]]:
    """What may be bought, when a unit may cost `most`; where that is nothing, only ships with cargo to sell go."""
    payable = [each for each in found if each.buy_price <= most]
    return (payable, free) if payable else (found, [hull for hull in free if hull.symbol in laden])


def assign(
    found: Iterable[Opportunity], free: Sequence[Hull], places: Places, taken: set[str]
) -> list[tuple[Opportunity, Hull]]:
    """To each opportunity, by its rank, the closest ship that is still free; one ship a lane."""
    left, pairs, lanes = list(free), [], set(taken)
    for each in found:
        near = [hull for hull in left if hull.waypoint in places]
        if each.lane in lanes or not near:
            continue
        closest = min(near, key=lambda hull: (distance(places[hull.waypoint], places[each.buy_at]), hull.symbol))
        left.remove(closest)
        lanes.add(each.lane)
        pairs.append((each, closest))
    return pairs


def _opportunity(buy: Price, sell: Price, places: Places) -> Opportunity:
    length = distance(places[buy.waypoint], places[sell.waypoint])
    return Opportunity(
        good=buy.good,
        buy_at=buy.waypoint,
        sell_at=sell.waypoint,
        buy_price=buy.buy,
        sell_price=sell.sell,
        units=min(HOLD, buy.volume, sell.volume),
        distance=round(length, 2),
        supply=buy.supply,
        activity=sell.activity,
        score=round(_score(margin(buy.buy, sell.sell), buy.supply, sell.activity, length), 2),
    )


def _score(gain: float, supply: str | None, activity: str | None, length: float) -> float:
    return (
        gain * OF_MARGIN
        + SUPPLY.get(supply or "", 0) * OF_SUPPLY
        + ACTIVITY.get(activity or "", 0) * OF_ACTIVITY
        - length * OF_DISTANCE
    )

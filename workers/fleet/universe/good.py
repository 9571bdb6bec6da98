"""What is traded."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Good:
    """`price` is what a unit is worth where it is neither made nor needed."""

    symbol: str
    price: int

    @property
    def name(self) -> str:
        return self.symbol.replace("_", " ").title()

    def as_json(self) -> dict[str, Any]:
        return {"symbol": self.symbol, "name": self.name, "description": f"{self.name}."}


FUEL = Good("FUEL", 72)
PRICES = {
    "ICE_WATER": 24,
    "IRON_ORE": 48,
    "COPPER_ORE": 56,
    "QUARTZ_SAND": 22,
    "SILICON_CRYSTALS": 38,
    "AMMONIA_ICE": 42,
    "IRON": 140,
    "COPPER": 160,
    "FERTILIZERS": 110,
    "FOOD": 230,
    "FABRICS": 260,
    "PLASTICS": 190,
    "MACHINERY": 520,
    "ELECTRONICS": 610,
    "MICROPROCESSORS": 780,
    "MEDICINE": 640,
    "CLOTHING": 880,
    "EQUIPMENT": 940,
    "FAB_MATS": 1_150,
    "ADVANCED_CIRCUITRY": 2_400,
}
GOODS = {symbol: Good(symbol, price) for symbol, price in PRICES.items()}

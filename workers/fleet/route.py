"""How far, how long and how much fuel: the API's own formulas, without a call to it."""

import math
from collections.abc import Mapping
from typing import Any

PREPARATION = 15  # seconds: docking and undocking, in every flight
DURATION = {"CRUISE": 25.0, "BURN": 12.5, "DRIFT": 250.0, "STEALTH": 30.0}  # times distance, over the speed
FUEL_A_UNIT = 100  # of a ship's tank in one unit of the good FUEL


def nearest(number: float) -> int:
    """Half goes up, as in the API; Python's own round sends it to the even neighbour."""
    return math.floor(number + 0.5)


def distance(start: Mapping[str, Any], goal: Mapping[str, Any]) -> float:
    """Between two things with `x` and `y`: waypoints, or the ends of a route."""
    return math.dist((start["x"], start["y"]), (goal["x"], goal["y"]))


def seconds(length: float, speed: float, mode: str = "CRUISE") -> int:
    """Of a flight, in the universe's time; to a moon, at the very same place, as far as one unit."""
    return nearest(nearest(max(1, length)) * DURATION[mode] / speed) + PREPARATION


def fuel(length: float, mode: str = "CRUISE") -> int:
    """What a flight burns; a ship without a tank, a probe, burns none."""
    if mode == "DRIFT":
        return 1
    cruise = max(1, nearest(length))
    return 2 * cruise if mode == "BURN" else cruise


def system_of(waypoint: str) -> str:
    """X1-UA42-B7 lies in X1-UA42."""
    return waypoint.rsplit("-", 1)[0]

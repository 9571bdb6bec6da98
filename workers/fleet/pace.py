"""How often the fleet looks, and how long it waits; from its environment."""

import os

from workers.fleet.errors import NotConfigured


def _seconds(variable: str, default: float) -> float:
    value = os.environ.get(variable) or default
    try:
        seconds = float(value)
    except ValueError:
        raise NotConfigured(f"{variable} is no number: {value!r}") from None
    if not seconds > 0:
        raise NotConfigured(f"{variable} must be above 0.")
    return seconds


EVERY = max(1.0, _seconds("FLEET_EVERY", 30.0))
"""Between two looks of a coordinator, and between two tours of a scout."""
FRESH = _seconds("FLEET_FRESH", 7_200.0)
"""For so long a price is good enough to trade on: a probe's tour of six markets takes 45 minutes of the real API."""
PATIENCE = _seconds("FLEET_PATIENCE", 5.0)
"""Until the next try, where the API or the database does not answer."""
ANSWER = _seconds("FLEET_READ_TIMEOUT", 10.0)
"""An order that was sent so long ago is not executed any more."""
AUDIT = _seconds("FLEET_AUDIT", 3_600.0)
"""Credits that could not be compared for so long, for an order was under way at each look, hold up new orders."""

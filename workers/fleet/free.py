"""Which ships may be sent somewhere now."""

from collections.abc import Iterable

from workers.fleet.hulls import IN_TRANSIT, Hull
from workers.fleet.inquiry import ANYBODY
from workers.fleet.office import Office
from workers.fleet.workflows import Workflows


def free(office: Office, able: Iterable[Hull]) -> list[Hull]:
    """Those that nobody holds, that fly nowhere, whose orders are answered, and without cargo of an open contract."""
    held, protected = office.hulls.holders(), Workflows(office.lifecycle.database, office.account).purposes()
    loaded = {
        ship
        for ship, cargo in office.ledger.cargo().items()
        if any(each.purpose != ANYBODY and each.purpose in protected for each in cargo)
    }
    unclear = {entry.ship for entry in office.ledger.left()}
    return [hull for hull in able if hull.symbol not in {*held, *loaded, *unclear} and hull.status != IN_TRANSIT]

"""Which ships may be sent somewhere now."""

from collections.abc import Iterable

from workers.fleet.hulls import IN_TRANSIT, Hull
from workers.fleet.inquiry import ANYBODY
from workers.fleet.office import Office
from workers.fleet.workflows import Workflows


def free(office: Office, able: Iterable[Hull]) -> list[Hull]:
    """Those that nobody holds, that fly nowhere, and that carry no cargo of a contract that is open."""
    held, protected = office.hulls.holders(), Workflows(office.lifecycle.database, office.account).purposes()
    loaded = {
        ship
        for ship, cargo in office.ledger.cargo().items()
        if any(each.purpose != ANYBODY and each.purpose in protected for each in cargo)
    }
    return [hull for hull in able if hull.symbol not in {*held, *loaded} and hull.status != IN_TRANSIT]

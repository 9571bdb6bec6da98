"""What ended containers have left in the books: orders nobody asks after, runs nobody closed, credits that differ."""

import logging

from workers.fleet.errors import Refused
from workers.fleet.ledger import Entry
from workers.fleet.office import Office
from workers.fleet.pace import ANSWER, AUDIT, EVERY
from workers.fleet.triplog import TripLog

log = logging.getLogger(__name__)
UNKNOWN = 404  # the API's code: it has no such ship, or contract


def tidy(office: Office) -> None:
    """For a coordinator, at each look; safe twice at once."""
    close_orders(office)
    close_runs(office)
    correct_credits(office)


def close_orders(office: Office) -> None:
    """Of ships that nobody holds; a holder asks after those of its own ship."""
    left = office.ledger.left()
    held = office.hulls.holders() if left else {}
    for entry in left:
        if entry.ship not in held and office.has_ended(entry.container_id):
            _close(office, entry)


def _close(office: Office, entry: Entry) -> None:
    """One that cannot be asked after stops no look; of what the API does not know nothing was done."""
    try:
        office.inquiry.close(entry)
    except Refused as refusal:
        log.warning("%s of %s is not asked after: %s", entry.kind, entry.ship, refusal)
        if refusal.code == UNKNOWN:
            office.ledger.void(entry, str(refusal))


def close_runs(office: Office) -> None:
    """A worker that was stopped in a flight had no slot to say so itself."""
    runs = TripLog(office.lifecycle.database, office.account.player_id)
    for container_id in runs.under_way():
        if office.has_ended(container_id):
            runs.close(container_id, office.ledger.of_lot(container_id), "ended before its trip was over")


def correct_credits(office: Office) -> None:
    """Somebody trades without these books, or an answer was lost whose price nobody remembers.

    In a busy fleet an order is under way at each look: once an audit is due, none begins until after the next look.
    """
    _, deeds = office.ledger.credits()
    if not office.ledger.left():
        office.ledger.correct(office.api.agent()["credits"], deeds, office.here.id)
    elif office.ledger.shut(EVERY + ANSWER, every=AUDIT):
        log.info("no order begins for %g s: the account's credits are to be compared", EVERY + ANSWER)

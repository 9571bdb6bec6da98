"""What ended containers have left in the books: orders nobody asks after, runs nobody closed, credits that differ."""

import logging
import math

from lifecycle import sleep
from workers.fleet.errors import Refused, Unreachable
from workers.fleet.ledger import Entry
from workers.fleet.limit import PATIENCE as LONGEST
from workers.fleet.office import Office
from workers.fleet.pace import ANSWER, AUDIT
from workers.fleet.triplog import TripLog

log = logging.getLogger(__name__)
AUDIT_TAKES = 2 * (LONGEST + ANSWER)  # seconds at most: orders under way wait for their turn and answer, then we do
MOMENT = 0.2  # seconds between two looks whether they have ended
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
    except Unreachable as error:
        log.warning("%s of %s is not asked after: %s", entry.kind, entry.ship, error)
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
    """Somebody trades without these books, or an answer was lost whose price nobody remembers."""
    if not _compare(office) and office.ledger.shut(AUDIT_TAKES, every=AUDIT):
        _audit(office)


def _audit(office: Office) -> None:
    """In a busy fleet an order is under way at each look: none begins until those have ended, and are compared."""
    log.info("no order begins, for %g s at most: the account's credits are compared", AUDIT_TAKES)
    try:
        for _ in range(math.ceil(AUDIT_TAKES / 2 / MOMENT)):
            if _compare(office):
                return
            sleep(MOMENT)
    finally:
        office.ledger.reopen()


def _compare(office: Office) -> bool:
    """False if an order is under way, or came between."""
    _, deeds = office.ledger.credits()
    if office.ledger.left():
        return False
    return office.ledger.correct(office.api.agent()["credits"], deeds, office.here.id) is not None

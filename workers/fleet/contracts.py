"""Contracts, one at a time: a coordinator that chooses a ship, and a workflow that fulfils the contract with it."""

import logging
from typing import Any

from sqlalchemy.exc import IntegrityError

from lifecycle import ContainerTask, ResourceHeld, ResourceQuarantined, finish
from workers import app
from workers.fleet.charts import nearest_first
from workers.fleet.errand import Errand, obstacle, source
from workers.fleet.free import free
from workers.fleet.hulls import Hull
from workers.fleet.ledger import Cargo
from workers.fleet.office import COORDINATOR, WORKER, Office, open_office, patiently
from workers.fleet.pace import EVERY
from workers.fleet.prices import Price
from workers.fleet.route import system_of
from workers.fleet.tidy import tidy
from workers.fleet.vessel import Vessel
from workers.fleet.workflows import ContractTaken, Workflow, Workflows, purpose

log = logging.getLogger(__name__)


@app.task(
    base=ContainerTask, container_type="CONTRACT_FLEET_COORDINATOR", holds=["contracts"], interval=EVERY, **COORDINATOR
)
def look() -> Any:
    """Have one contract worked on; a workflow that was lost is begun again with a ship that has its cargo."""
    return patiently(lambda: _look(open_office()))


@app.task(base=ContainerTask, container_type="CONTRACT_WORKFLOW", holds=["ship:{ship}"], **WORKER)
def work(ship: str) -> Any:
    """Find or negotiate a contract, buy what it asks for, deliver it, be paid."""
    return patiently(lambda: _work(open_office(), ship))


def _look(office: Office) -> None:
    tidy(office)
    flows = Workflows(office.lifecycle.database, office.account)
    flow = flows.open()
    if flow is not None and (not office.has_ended(flow.container_id) or _unclear(office, flow)):
        return
    if hull := _best(office, flow):
        _begin(office, flows, flow, hull)


def _unclear(office: Office, flow: Workflow) -> set[str]:
    """Ships with an order for its contract whose end nobody knows: another ship would give it again."""
    of_contract = "" if flow.contract is None else purpose(flow.contract)
    return {entry.ship for entry in office.ledger.left() if entry.purpose == of_contract}


def _begin(office: Office, flows: Workflows, flow: Workflow | None, hull: Hull) -> None:
    """The contract's row and its container are one transaction: neither is there without the other."""
    try:
        with office.lifecycle.database.begin() as connection:
            child = work.spawn([hull.symbol], connection=connection)
            flows.take(connection, flow, child.id)
    except (ResourceHeld, ResourceQuarantined, ContractTaken) as refusal:
        log.info("%s", refusal)
    except IntegrityError:
        log.info("another container has begun a contract")


def _best(office: Office, flow: Workflow | None) -> Hull | None:
    """The ship that carries the contract's cargo, else the closest to where it is sold, if possible with an empty hold.

    None where nothing can be done for the contract now: a ship that waits for prices or credits earns nothing.
    """
    hulls = [hull for hull in office.hulls.all(EVERY / 2) if hull.capacity > 0]
    cargo = office.ledger.cargo()
    contract = None if flow is None or flow.contract is None else office.api.contract(flow.contract)
    if contract is not None:
        loaded = [hull for hull in hulls if _carries(cargo.get(hull.symbol, []), contract["id"])]
        if loaded:
            held = office.hulls.holders()
            return next((hull for hull in loaded if hull.symbol not in held), None)
        if why := obstacle(office, contract):
            log.info("%s: %s", contract["id"], why)
            return None
    home = system_of(office.account.headquarters)
    able = [hull for hull in free(office, hulls) if hull.system == home]
    empty = [hull for hull in able if not cargo.get(hull.symbol)]
    return _closest(office, empty or able, None if contract is None else source(office, contract))


def _closest(office: Office, hulls: list[Hull], goal: Price | None) -> Hull | None:
    if goal is None or not hulls:
        return next(iter(hulls), None)
    places = office.charts.places(system_of(goal.waypoint))
    order = nearest_first(places, goal.waypoint, sorted({hull.waypoint for hull in hulls}))
    return next(hull for hull in hulls if hull.waypoint == order[0])


def _carries(cargo: list[Cargo], contract: str) -> bool:
    return any(each.purpose == purpose(contract) for each in cargo)


def _work(office: Office, symbol: str) -> Any:
    """Started by hand it takes the account's contract, if no other container does."""
    flow = _own(office, symbol)
    deeds = office.deeds(purpose(flow.contract) if flow.contract else "")
    vessel = Vessel.read(office, deeds, symbol)
    if not vessel.ship["cargo"]["capacity"]:
        return finish(f"{symbol} carries no cargo")
    return vessel.not_ready() or Errand(office, vessel, flow).go_on()


def _refuse_others(office: Office, flow: Workflow, symbol: str) -> None:
    """What is aboard another ship, or may be so soon, would be bought again."""
    if others := _unclear(office, flow) - {symbol}:
        raise ContractTaken(f"an order of {', '.join(sorted(others))} for contract {flow.contract} is not answered yet")
    for ship, cargo in office.ledger.cargo().items():
        if ship != symbol and _carries(cargo, str(flow.contract)):
            raise ContractTaken(f"{ship} carries the goods of contract {flow.contract}")


def _own(office: Office, symbol: str) -> Workflow:
    flows = Workflows(office.lifecycle.database, office.account)
    if (found := flows.of(office.here.id)) is not None:
        return found
    flow = flows.open()
    if flow is not None and not office.has_ended(flow.container_id):
        raise ContractTaken(f"container {flow.container_id} works on the contract")
    if flow is not None and flow.contract is not None:
        _refuse_others(office, flow, symbol)
    try:
        with office.lifecycle.database.begin() as connection:
            flows.take(connection, flow, office.here.id)
    except IntegrityError:
        raise ContractTaken("another container has begun a contract") from None
    taken = flows.of(office.here.id)
    assert taken is not None
    return taken

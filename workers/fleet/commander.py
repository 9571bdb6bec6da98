"""The whole fleet: a container that has scouts, arbitrage and contracts run, and is the root of their tree."""

import logging
from typing import Any

from lifecycle import ContainerTask, ResourceHeld, ResourceQuarantined
from workers import app
from workers.fleet import arbitrage, contracts, scouts
from workers.fleet.office import COORDINATOR, open_office, patiently
from workers.fleet.pace import EVERY
from workers.fleet.route import system_of

log = logging.getLogger(__name__)


@app.task(base=ContainerTask, container_type="FLEET_COORDINATOR", holds=["fleet"], interval=EVERY, **COORDINATOR)
def command(
    system: str | None = None,
    min_margin: float = 10.0,
    max_workers: int = 10,
    min_balance: int | None = None,
    ship: str | list[str] | None = None,
) -> Any:
    """Have the three coordinators run in a system, by default that of the headquarters; a lost one starts anew."""
    trade = {"min_margin": min_margin, "max_workers": max_workers, "ship": ship}
    return patiently(lambda: _command(system, min_balance, trade))


def _command(system: str | None, min_balance: int | None, trade: dict[str, Any]) -> None:
    office = open_office()
    office.keep_at_least(min_balance)
    where = {"system": system or system_of(office.account.headquarters)}
    live = {child.container_type for child in office.here.children(live=True)}
    for task, wishes in ((scouts.look, where), (arbitrage.look, {**where, **trade}), (contracts.look, {})):
        if task.type_name not in live:
            _start(task, wishes)


def _start(task: ContainerTask, wishes: dict[str, Any]) -> None:
    try:
        task.spawn((), wishes)
    except (ResourceHeld, ResourceQuarantined) as refusal:  # one that was started by hand does its work
        log.info("%s", refusal)

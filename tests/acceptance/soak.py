"""The fleet for a long time, while nodes are killed, trips and contracts stopped and answers lost.

`python3 -m tests.acceptance.soak --minutes 30` prints one line of JSON: what was done, and each violation; it exits
with 1 if there is one.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from job.servers import Postgres, Valkey
from tests.acceptance.armada import Armada
from tests.acceptance.world import eventually, migrate

SETTINGS = {"heartbeat": 1, "lease": 6, "grace": 5, "log_flush": 1, "restart_backoff": "0.5,1,2"}
UNIVERSE = {"ships": 12, "probes": 3, "recovery": 600}
NODES = ("one", "two")
SLOTS = 3
LOOK_EVERY = 5.0
STOPPED = ("ARBITRAGE_WORKER", "CONTRACT_WORKFLOW")
AUDIT = 30  # seconds: orders are held up as often, and the credits compared
ORDERS = ("navigate", "refuel", "purchase", "sell", "deliver", "accept", "fulfill")
FAULTS = ({"status": 503}, {"lost": True}, {"delay": 1.0}, {"late": 1.0})
DISCOVERED_WITHIN = 90.0


def main(words):
    told = options(words)
    with tempfile.TemporaryDirectory(prefix="soak") as folder, Valkey() as broker:
        if told.sqlite:
            return play(told, Path(folder), broker.url, f"sqlite:///{folder}/lifecycle.db")
        with Postgres() as server:
            return play(told, Path(folder), broker.url, server.create_database("soak"))


def options(words):
    parser = argparse.ArgumentParser(prog="python3 -m tests.acceptance.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--kill-every", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--compression", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--sqlite", action="store_true", help="instead of PostgreSQL")
    return parser.parse_args(words)


def play(told, folder, broker, url):
    migrate(url)
    universe = {**UNIVERSE, "seed": told.seed, "compression": told.compression}
    armada = Armada(folder / "world", broker=broker, database_url=url, universe=universe, **SETTINGS)
    armada.env["FLEET_AUDIT"] = str(AUDIT)
    try:
        report = soak(armada, told)
    finally:
        armada.close()
    sys.stdout.write(f"{json.dumps(report)}\n")
    return 1 if report["violations"] else 0


def soak(armada, told):
    chance, end = random.Random(told.seed), time.monotonic() + told.minutes * 60
    nodes = [armada.start(name, slots=SLOTS) for name in NODES]
    root = armada.begin("FLEET_COORDINATOR", max_workers=UNIVERSE["ships"])
    kills, next_kill, held = 0, time.monotonic() + told.kill_every, []
    while time.monotonic() < end:
        time.sleep(min(LOOK_EVERY, max(0.0, end - time.monotonic())))
        held += held_by_the_dead(armada)
        trouble(armada, chance)
        if time.monotonic() >= next_kill:
            victim = nodes.pop(chance.randrange(len(nodes)))
            victim.signal_all(signal.SIGKILL)
            nodes.append(armada.start(victim.name, slots=SLOTS))
            kills, next_kill = kills + 1, next_kill + told.kill_every
    held += ["the fleet has ended by itself"] if armada.lifecycle.get(root).is_ended else []
    stop(armada, root)
    return summary(armada, kills, [*held, *missing(armada)])


def missing(armada):
    """Where nothing was done nothing can have gone wrong."""
    return [f"no order {kind}" for kind in ("BUY", "SELL", "REFUEL", "DELIVER", "FULFILL") if not armada.deeds(kind)]


def trouble(armada, chance):
    """One order goes wrong, and one container that gives orders is stopped wherever it is."""
    armada.universe.fault(method="POST", path=f"/v2/my/*/{chance.choice(ORDERS)}", **chance.choice(FAULTS))
    if working := [each for kind in STOPPED for each in armada.live(kind)]:
        armada.lifecycle.stop(chance.choice(working).id, wait=False)


def held_by_the_dead(armada):
    """Assignments are given back in the transaction that ends their holder: there is no instant in between."""
    return [
        f"{each.resource} is held by {each.container_id}, which has ended"
        for each in armada.lifecycle.assignments()
        if armada.lifecycle.get(each.container_id).is_ended and each in armada.lifecycle.assignments()
    ]


def stop(armada, root):
    armada.lifecycle.stop(root, wait=False)
    eventually("all of it ended", lambda: not live(armada), DISCOVERED_WITHIN)
    armada.settle()


def live(armada):
    return [each for each in armada.lifecycle.find(limit=None) if not each.is_ended]


def summary(armada, kills, seen):
    containers = armada.lifecycle.find(limit=None)
    account = armada.rows("fleet_agents")[0]
    entries = armada.rows("fleet_entries")
    return {
        "kills": kills,
        "containers": len(containers),
        "statuses": Counter(str(each.status) for each in containers),
        "restarts": sum(each.restart_count for each in containers),
        "failures": Counter((each.exit_message or "").partition(":")[0] for each in containers if each.exit_code == 1),
        "entries": Counter(f"{entry.kind} {entry.status}" for entry in entries),
        "estimates": sum(entry.is_estimate for entry in entries),
        "contracts": Counter(row.status for row in armada.rows("fleet_contracts")),
        "trips": Counter("success" if log.success else "failure" for log in armada.rows("arbitrage_execution_logs")),
        "credits": [account.opening, account.credits, armada.api.agent()["credits"]],
        "violations": [*seen, *bought_twice(armada), *armada.violations()],
    }


def bought_twice(armada):
    """Of a contract that is fulfilled, more cargo than it asked for."""
    bought = Counter()
    for entry in armada.deeds("BUY"):
        bought[entry.purpose] += entry.units
    found = []
    for row in armada.rows("fleet_contracts"):
        if row.status == "FULFILLED":
            wanted = sum(each["unitsRequired"] for each in armada.api.contract(row.contract)["terms"]["deliver"])
            if bought[f"contract:{row.contract}"] != wanted:
                found.append(f"{row.contract}: {bought[f'contract:{row.contract}']} bought, {wanted} wanted")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

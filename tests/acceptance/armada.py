"""A fleet in a universe of its own: its server, nodes that run `workers`, and the books that tests hold to the API."""

import json
import subprocess
import sys
from collections import Counter
from functools import cached_property

import httpx
import sqlalchemy as sa

from tests.acceptance.world import HERE, World, die_with_tests, eventually
from workers.fleet.account import found_or_made
from workers.fleet.client import Client, register
from workers.fleet.inquiry import Inquiry
from workers.fleet.ledger import CORRECTION, FOUND, MISSING, Ledger
from workers.fleet.migrate import migrate
from workers.fleet.settings import Settings
from workers.fleet.tables import NOBODY, entries
from workers.fleet.tables import metadata as fleet_tables

AGENT = "TORWINDO"
MARKETS = 12
FAST = {"seed": 7, "compression": 1000, "rate": 10_000, "burst": 10_000}
HASTE = {"FLEET_RATE": 1000, "FLEET_BURST": 1000, "FLEET_EVERY": 1, "FLEET_READ_TIMEOUT": 2, "FLEET_PATIENCE": 0.5}


CLERK = """
import json, sys
from workers import app
app.loader.import_default_modules()
types = app.lifecycle.types()
for line in sys.stdin:
    order = json.loads(line)
    try:
        calls = [((), each) for each in order["calls"]]
        made = types[order["type"]].spawn_many(calls, player_id=order["player"])
        print(json.dumps([each.id for each in made]), flush=True)
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}: {error}"), flush=True)
"""


class Armada(World):
    """A world whose nodes run `workers`, with an agent registered in a universe of its own."""

    def __init__(self, folder, universe=None, player=None, **world):
        super().__init__(folder, **world)
        self.player = player
        self.universe = Space({**FAST, **(universe or {})})
        said = register(self.universe.url, AGENT)
        self.env |= {"FLEET_URL": self.universe.url, "FLEET_TOKEN": said["token"]}
        self.env |= {name: str(value) for name, value in HASTE.items()}
        migrate(self.lifecycle.database)
        self.api = Client(Settings.from_environment(self.env))
        self.system = said["agent"]["headquarters"].rsplit("-", 1)[0]

    @property
    def account(self):
        player = NOBODY if self.player is None else self.player
        return found_or_made(self.lifecycle.database, self.api.agent(), self.api.status()["resetDate"], player)

    @property
    def ledger(self):
        return Ledger(self.lifecycle.database, self.account)

    def celery(self, *words):
        return [sys.executable, "-m", "celery", "-A", "workers", *map(str, words)]

    @cached_property
    def clerk(self):
        """A process of the app that starts what tests want: a command each would take most of their time."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return dying_with_tests([sys.executable, "-c", CLERK], env=self.env, **pipes)

    def begin(self, kind, **kwargs):
        """Start one container; its id."""
        (started,) = self.begin_all(kind, [kwargs])
        return started

    def begin_all(self, kind, calls, player=None):
        """Start many at once; their ids."""
        order = {"type": kind, "calls": calls, "player": self.player if player is None else player}
        self.clerk.stdin.write(f"{json.dumps(order)}\n")
        self.clerk.stdin.flush()
        answer = json.loads(self.clerk.stdout.readline())
        assert isinstance(answer, list), answer
        return answer

    def survey(self):
        """Have scouts see every market once."""
        scouts = self.begin("SCOUT_FLEET_COORDINATOR", system=self.system)
        eventually("prices of all markets", lambda: self.seen() == MARKETS, 90)
        self.lifecycle.stop(scouts)

    def seen(self):
        return len({row.waypoint for row in self.rows("fleet_prices")})

    def best_trip(self):
        """Arguments of a worker: what gains most, by the prices that were seen."""
        return self.best_trips(1)[0]

    def best_trips(self, most):
        """As `best_trip`, the next best too: no two buy the same at one market."""
        rows, found = self.rows("fleet_prices"), {}
        pairs = [(buy, sell) for buy in rows for sell in rows if buy.good == sell.good]
        for buy, sell in sorted(pairs, key=lambda pair: pair[0].buy - pair[1].sell):
            trip = {"good": buy.good, "buy_at": buy.waypoint, "sell_at": sell.waypoint, "min_margin": -100.0}
            found.setdefault((buy.good, buy.waypoint), trip)
        return list(found.values())[:most]

    def ended(self, container_id, patience=60):
        """The container once it has ended."""
        return eventually("ended", lambda: (row := self.lifecycle.get(container_id)).is_ended and row, patience)

    def ships(self, role="HAULER"):
        return [ship["symbol"] for ship in self.api.ships() if ship["registration"]["role"] == role]

    def rows(self, table, *where):
        """Of one of the fleet's tables, oldest first."""
        chosen = fleet_tables.tables[table]
        with self.lifecycle.database.read() as connection:
            return list(connection.execute(sa.select(chosen).where(*where).order_by(*chosen.primary_key)))

    def deeds(self, *kinds):
        return self.rows("fleet_entries", entries.c.kind.in_(kinds), entries.c.status == "SETTLED")

    def of_type(self, kind, **filters):
        return self.lifecycle.find(type=kind, limit=None, **filters)

    def live(self, kind):
        return [each for each in self.of_type(kind) if not each.is_ended]

    def stop_all(self):
        for each in self.lifecycle.find(status="PENDING,RUNNING,INTERRUPTED,STOPPING", limit=None):
            if each.is_root:
                self.lifecycle.stop(each.id, force=True, wait=False)
        eventually(
            "everything ended", lambda: not [each for each in self.lifecycle.find(limit=None) if not each.is_ended]
        )

    def settle(self):
        """As the next coordinator would: what killed processes left open."""
        inquiry = Inquiry(self.api, self.ledger)
        for entry in self.ledger.left():
            eventually(f"{entry} closed", lambda entry=entry: inquiry.close(entry) or entry not in self.ledger.left())

    def violations(self):
        """What must never be, in words; the fleet is at rest."""
        ledger, agent = self.ledger, self.api.agent()
        (row,) = self.rows("fleet_agents")
        settled = self.rows("fleet_entries", entries.c.status == "SETTLED")
        found = self._purposes(settled)
        if row.credits != row.opening + sum(entry.amount for entry in settled):
            found.append("the account is not the sum of its entries")
        if row.credits != agent["credits"]:
            found.append(f"the books have {row.credits} credits, the agent {agent['credits']}")
        odd = Counter(entry.kind for entry in settled if entry.kind in {FOUND, MISSING, CORRECTION})
        found += [f"{number} entries {kind}" for kind, number in odd.items()]
        found += [f"not answered: {entry}" for entry in ledger.left()]
        held = {each.container_id for each in self.lifecycle.assignments()}
        found += [f"{each} is ended and holds" for each in held if self.lifecycle.get(each).is_ended]
        return found + self._cargo(ledger)

    def _purposes(self, settled):
        """What is aboard for each purpose is what came aboard for it, and never less than nothing."""
        sums, books = Counter(), {}
        for entry in settled:
            sums[entry.ship, entry.good, entry.purpose] += entry.aboard
        for row in self.rows("fleet_cargo"):
            books[row.ship, row.good, row.purpose] = row.units
        found = [f"{units} units of {whose}" for whose, units in sums.items() if units < 0]
        if books != {whose: units for whose, units in sums.items() if units}:
            found.append(f"the books have {books} aboard, their entries {sums}")
        return found

    def _cargo(self, ledger):
        books = ledger.cargo()
        wrong = []
        for ship in self.api.ships():
            aboard = Counter({item["symbol"]: item["units"] for item in ship["cargo"]["inventory"]})
            known = Counter()
            for cargo in books.get(ship["symbol"], ()):
                known[cargo.good] += cargo.units
            if aboard != known:
                wrong.append(f"{ship['symbol']} carries {dict(aboard)}, by the books {dict(known)}")
        return wrong

    def close(self):
        if "clerk" in vars(self):
            self.clerk.communicate()
        super().close()
        self.api.close()
        self.universe.close()


class Space:
    """`python -m workers.fleet.universe`, and what tests ask of it besides."""

    def __init__(self, options):
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "workers.fleet.universe", *words]
        self._process = dying_with_tests(command, stdout=subprocess.PIPE, text=True)
        self.url = self._process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), "the universe did not start"

    def fault(self, **what):
        httpx.post(f"{self.url.removesuffix('/v2')}/universe/faults", json=what).raise_for_status()

    def faults(self):
        """Those that nothing has met yet."""
        return httpx.get(f"{self.url.removesuffix('/v2')}/universe/faults").json()["data"]

    def calls(self):
        return httpx.get(f"{self.url.removesuffix('/v2')}/universe/calls").json()["data"]

    def close(self):
        self._process.terminate()
        self._process.wait(10)
        self._process.stdout.close()


def dying_with_tests(command, **how):
    return subprocess.Popen(command, cwd=HERE, **how, preexec_fn=die_with_tests)  # noqa: PLW1509 - as for nodes

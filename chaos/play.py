"""One run: the stage is set, the plan is played, all is healed and stopped; what was written is kept in a folder."""

import os
import time
from contextlib import ExitStack

from chaos import history
from chaos.agenda import Agenda
from chaos.clients import Clients
from chaos.diary import Diary
from chaos.fleet import Fleet
from chaos.nemesis import Nemesis
from chaos.plan import LEASE, NODES, make
from chaos.servers import BROKERS, Database, send
from job.servers import Valkey
from lifecycle.domain.status import LIVE
from lifecycle.store import schema
from lifecycle.store.engine import Database as Store

SETTINGS = {
    "heartbeat": 0.5,
    "lease": LEASE,
    "grace": 3,
    "kill_after": 2,
    "restart_backoff": "0.2,0.5,1",
    "max_restarts": 8,
    "healthy_after": 30,
    "sweep_every": 10,
    "recover_every": 5,
    "redispatch": 5,
    "quarantine_backoff": "2,3,4",
    "log_flush": 0.5,
}
TEND_EVERY = 0.5  # seconds
STUCK_AFTER = 60.0  # seconds without a change: a message that was lost more than once is looked for after 40
ENDS_WITHIN = 300.0
PATIENCE = 60.0
SILENCE = 1.0  # seconds in which whatever lives on may write


def play(folder, seed, minutes, broker_name):
    """Everything that the checker needs is in the folder afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        diary = Diary(folder / "events")
        stack.callback(diary.close)
        database = stack.enter_context(Database())
        broker = stack.enter_context(BROKERS[broker_name]())
        results = broker if isinstance(broker, Valkey) else stack.enter_context(Valkey())
        environment(folder, migrated(database), broker, results)
        run = {"seed": seed, "minutes": minutes, "broker": broker_name, "settings": SETTINGS}
        play = Play(folder, diary, run, database, broker)
        stack.callback(play.close)
        play.go()


def migrated(server):
    """The URL of a fresh database. With a short lease PostgreSQL would end a slow migration's transaction."""
    database = Store(server.create_database("chaos"))
    schema.migrate(database)
    database.dispose()
    return database.url.render_as_string(hide_password=False)


def environment(folder, url, broker, results):
    """For us and for whatever we start."""
    os.environ |= {f"LIFECYCLE_{name.upper()}": str(value) for name, value in SETTINGS.items()}
    os.environ |= {
        "LIFECYCLE_DATABASE_URL": url,
        "CHAOS_BROKER": broker.url,
        "CHAOS_RESULTS": results.url,
        "CHAOS_MARKS": str((folder / "marks").resolve()),
        "TMPDIR": str(folder.resolve()),  # billiard's folders of nodes that were killed
    }


class Play:
    """The main thread is the only one that starts processes: they die with the thread that has started them."""

    def __init__(self, folder, diary, run, database, broker):
        from chaos.app import SHOW, app, lifecycle  # reads the environment

        self._app, self._lifecycle, self._show = app, lifecycle, SHOW
        self._folder, self._diary, self._run = folder, diary, run
        self._agenda = Agenda()
        self._clients = Clients(lifecycle, diary, run["seed"])
        self._fleet = Fleet(folder, diary, NODES)
        self._nemesis = Nemesis(self._fleet, database, broker, diary, self._agenda.after)

    def go(self):
        """From the first node to the last row."""
        self._diary.start()
        self._tend()
        self._wait("nodes ready", lambda: all(node.is_ready for node in self._fleet.nodes))
        self._perform()
        self._finish()

    def close(self):
        self._clients.close()
        self._fleet.close()
        self._lifecycle.database.dispose()

    def _perform(self):
        """Act by act, and what follows of one."""
        began = time.monotonic()
        for act in make(self._run["seed"], self._run["minutes"]):
            self._agenda.at(began + act.at, lambda act=act: self._act(act.what, act.more))
        self._agenda.work(self._run["minutes"] * 60)

    def _act(self, what, more):
        if what == "fault":
            self._nemesis.strike(**more)
        elif what == "hunt":
            self._clients.choose(more, lambda prey: self._agenda.after(0, lambda: self._nemesis.hunt(prey, more)))
        elif what.endswith("command"):
            killed_after = more["after"] if what == "stop by killed command" else None
            how = (more["grace"], killed_after)
            self._clients.choose(more, lambda target: self._agenda.after(0, lambda: self._command(target.id, *how)))
        else:
            self._clients.ask(what, more)

    def _command(self, target, grace, killed_after):
        words = [] if grace is None else ["--grace", str(grace)]
        process = self._fleet.command("stop", target, "--reason", "chaos", *words)
        if killed_after is not None:
            self._agenda.after(killed_after, process.kill)

    def _tend(self):
        self._fleet.tend()
        self._agenda.after(TEND_EVERY, self._tend)

    def _finish(self):
        """Quiet: what can end by itself ends; the rest is stopped; then everything is read."""
        self._nemesis.heal()
        self._run["left"] = self._see_out()
        command = self._fleet.command("stop", "--all", "--yes")
        self._wait("the last stop", lambda: command.poll() is not None)
        self._wait("everything ended", lambda: not self._live())
        self._clients.close()
        self._agenda.work(SILENCE)
        self._run["ended"] = time.time()
        history.keep(self._folder, self._run, self._lifecycle, self._app)

    def _see_out(self):
        """Wait until all that can end by itself has ended; what has not, once nothing has changed for long."""
        seen, began = None, time.monotonic()
        while now := self._can_end():
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() > min(since + STUCK_AFTER, began + ENDS_WITHIN):
                break
            self._agenda.work(1.0)
        for each in self._live():
            if each.pid is not None:
                send(each.pid, self._show)
        return {container_id: f"{status} in epoch {epoch}" for container_id, status, epoch, _ in now}

    def _can_end(self):
        """Live containers that wait for nothing endless, and how far they are."""
        live = {each.id: each for each in self._live()}
        endless = {each.id for each in live.values() if each.container_type == "ENDLESS"}
        for each in sorted(live.values(), key=lambda each: -each.depth):
            above = live.get(each.parent_container_id)
            waits = not each.detached or (above is not None and above.container_type == "WATCHING")
            if each.id in endless and waits:
                endless.add(each.parent_container_id)
        left = (each for each in live.values() if each.id not in endless)
        return sorted((each.id, str(each.status), each.epoch, each.current_iteration) for each in left)

    def _live(self):
        return self._lifecycle.find(status=LIVE, limit=None)

    def _wait(self, what, condition):
        """Until it is so, and meanwhile do what is due."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                print(f"chaos: {what}: not within {PATIENCE:.0f} s", flush=True)
                return
            self._agenda.work(0.3)

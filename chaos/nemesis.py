"""What is done to nodes and servers; each fault is healed after its time, and noted with whom it met."""

import signal
import threading
import time

from chaos.servers import crash, go_on, halt, lose_all, send
from job.servers import Server

SERVER_ENDS = {"crash": crash, "loses all": lose_all, "restart": Server.stop}
KILLS = {"kill main": signal.SIGKILL, "term": signal.SIGTERM, "quit": signal.SIGQUIT}


class Nemesis:
    """Does as the plan says. Its faults of servers have threads of their own: a server may need its time."""

    def __init__(self, fleet, database, broker, diary, later):
        self._fleet, self._database, self._broker, self._diary, self._later = fleet, database, broker, diary, later
        self._busy = {"database": threading.Lock(), "broker": threading.Lock()}
        self._threads, self._paused = [], set()

    def strike(self, kind, seconds=0.0, node=0, child=0):
        if kind.startswith(("database", "broker")):
            thread = threading.Thread(target=self._strike_server, args=(kind, seconds), name=f"chaos-{kind}")
            self._threads.append(thread)
            thread.start()
        elif kind == "kill beat":
            self._kill(self._fleet.beat, kind, signal.SIGKILL)
        else:
            self._strike_node(self._fleet.nodes[node], kind, seconds, child)

    def hunt(self, prey, more):
        """Strike where this container executes."""
        for member in self._fleet.nodes:
            pids = member.pids()
            if prey.pid in pids:
                self._strike_node(member, more["kind"], more["seconds"], pids.index(prey.pid) - 1)

    def heal(self):
        """Whatever is still paused goes on, whatever is away comes back."""
        for thread in self._threads:
            thread.join(60)
        for pid in list(self._paused):
            send(pid, signal.SIGCONT)
        for server in (self._database, self._broker):
            if not server.process.alive:
                server.start()

    def _strike_node(self, member, kind, seconds, child):
        pids = member.pids()
        if not member.is_ready or len(pids) < 2 or pids[0] in self._paused:
            self._diary.note("missed", kind=kind, member=member.name)
        elif kind == "kill child":
            self._diary.note("fault", kind=kind, member=member.name, main=pids[0], pids=[chosen(pids, child)], **now())
            send(chosen(pids, child), signal.SIGKILL)
        elif kind == "kill group":
            self._kill(member, kind, signal.SIGKILL, pids)
        elif kind.startswith("pause"):
            self._pause(member, kind, seconds, self._meant(kind, pids, child))
        else:
            self._kill(member, kind, KILLS[kind])

    def _meant(self, kind, pids, child):
        return {"pause main": pids[:1], "pause child": [chosen(pids, child)], "pause group": pids}[kind]

    def _kill(self, member, kind, number, pids=None):
        if member.pid is None:
            return
        member.wanted_end = True
        pids = pids or [member.pid]
        self._diary.note("fault", kind=kind, member=member.name, main=member.pid, pids=pids, **now())
        for pid in pids:
            send(pid, number)

    def _pause(self, member, kind, seconds, pids):
        began, main = time.time(), member.pid
        for pid in pids:
            send(pid, signal.SIGSTOP)
        self._paused.update(pids)

        def resume():
            self._paused.difference_update(pids)
            for pid in pids:
                send(pid, signal.SIGCONT)
            self._diary.note(
                "fault", kind=kind, member=member.name, main=main, pids=pids, began=began, ended=time.time()
            )

        self._later(seconds, resume)

    def _strike_server(self, kind, seconds):
        """One fault of a server at a time."""
        which, how = kind.split(" ", 1)
        server = self._database if which == "database" else self._broker
        with self._busy[which]:
            began = time.time()
            if how == "hangs":
                halt(server)
                time.sleep(seconds)
                go_on(server)
            else:
                SERVER_ENDS[how](server)
                time.sleep(seconds)
                server.start()
            self._diary.note("fault", kind=kind, began=began, ended=time.time())


def chosen(pids, child):
    """One of the pool."""
    return pids[1 + child % (len(pids) - 1)]


def now():
    at = time.time()
    return {"began": at, "ended": at}

"""The peers in turn, each alone on the machine: 1,000 no-ops until done, a tree of 1+1,000 until nothing of it runs."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, quantiles

from benchmarks.peers.judge import CHILDREN, running
from benchmarks.peers.venv import installed
from job.processes import Failed

FEW, MANY = 2, 40  # slots
KEPT = Path("var/bench/peers.json")
ONE, ALL = "one by one", "at once"


@dataclass(frozen=True)
class Peer:
    """One system; its file is the module, and what it needs is in the pins."""

    name: str
    module: str
    needs: tuple = ()
    ways: tuple = (ONE,)
    env: dict = field(default_factory=dict)

    @property
    def is_celery(self):
        """On the project's own environment."""
        return not self.needs


PLAIN = Peer("plain Celery", "benchmarks.peers.celery")
PEERS = (
    PLAIN,
    Peer("celery-lifecycle", "benchmarks.peers.ours", ways=(ONE, ALL)),
    Peer("DBOS", "benchmarks.peers.dbos", ("dbos",), env={"DBOS_CONDUCTOR_KEY": ""}),
    Peer("Ray", "benchmarks.peers.ray", ("ray",), env={"RAY_USAGE_STATS_ENABLED": "0"}),
    Peer("Procrastinate", "benchmarks.peers.procrastinate", ("procrastinate",), ways=(ONE, ALL)),
    Peer("Dramatiq", "benchmarks.peers.dramatiq", ("dramatiq", "dramatiq-abort")),
)


class Contest:
    """What was seen, by peer; and why a peer was not seen."""

    def __init__(self, stage):
        self.stage = stage
        self.versions, self.absent, self.loads = {}, {}, []
        self.spawns, self.stops = {}, {}

    def round(self):
        for peer in PEERS:
            if peer.name in self.absent:
                continue
            try:
                self._measure(peer)
            except Failed as failure:
                if peer.is_celery:
                    raise
                self.absent[peer.name] = f"did not run: {failure}"

    def _measure(self, peer):
        self.loads.append(os.getloadavg()[0])
        with running(self.stage, peer, FEW) as found:
            self.versions[peer.name] = found.version
            for way in peer.ways:
                self.spawns.setdefault((peer.name, way), []).append(found.spawn(way))
            self._stop(found, peer, FEW)
        with running(self.stage, peer, MANY) as found:
            self._stop(found, peer, MANY)

    def _stop(self, found, peer, slots):
        self.stops.setdefault((slots, peer.name), []).append(found.stop(slots, peer.ways[-1]))

    def keep(self):
        """All figures, for who wants others than the medians."""
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        spawns = {" ".join(key): times for key, times in self.spawns.items()}
        stops = {f"{slots} {name}": [asdict(each) for each in seen] for (slots, name), seen in self.stops.items()}
        kept = {"versions": self.versions, "absent": self.absent, "load": self.loads, "spawn": spawns, "stop": stops}
        KEPT.write_text(json.dumps(kept, indent=1))


def measure(stage, wanted):
    """The peers round by round, then the medians; a peer that does not install is said, and no error."""
    contest = Contest(stage)
    for peer in PEERS:
        if peer.needs and (why := installed(*peer.needs)):
            contest.absent[peer.name] = f"did not install: {why}"
    for turn in range(1, wanted.rounds + 1):
        try:
            contest.round()
        finally:
            contest.keep()
        yield f"round {turn}", f"over, kept in {KEPT}"
    yield "versions", ", ".join(contest.versions.values())
    yield "load", f"{min(contest.loads):.1f} to {max(contest.loads):.1f}"
    yield from contest.absent.items()
    yield from _spawned(contest.spawns)
    yield from _stopped(contest.stops)


def _spawned(spawns):
    """Seconds until all have ended, and the rate by that of plain Celery in the same round."""
    plain = spawns[PLAIN.name, ONE]
    for (name, way), times in spawns.items():
        rate = median(base / each for base, each in zip(plain, times, strict=False))
        speed = f"{CHILDREN / median(times):.0f} a second"
        yield f"spawn, {name}, {way}", f"{_middle(times)} s, {speed}, {rate:.2f} of the rate of {PLAIN.name}"


def _stopped(stops):
    """Seconds from the call, and by those of plain Celery in the same round."""
    for (slots, name), seen in sorted(stops.items(), key=lambda each: each[0][0]):
        quiet, returned, recorded = (
            [getattr(each, part) for each in seen] for part in ("quiet", "returned", "recorded")
        )
        parts = [f"nothing runs after {_middle(quiet)} s", _ratio(seen, stops[slots, PLAIN.name])]
        parts += [f"call {_middle(returned)} s", f"records {_middle(recorded)} s"]
        parts += [f"began after the call: {', '.join(str(each.late) for each in seen)}"]
        yield f"stop, {slots} slots, {name}", "; ".join(parts)


def _ratio(seen, plain):
    if None in [each.quiet for each in (*seen, *plain)]:
        return "no ratio"
    ratio = median(each.quiet / base.quiet for each, base in zip(seen, plain, strict=False))
    return f"{ratio:.2f} x {PLAIN.name}"


def _middle(times):
    """The median, with the quartiles of more than two."""
    if None in times:
        return "never"
    if len(times) < 3:
        return f"{median(times):.2f}"
    first, _, third = quantiles(times, method="inclusive")
    return f"{median(times):.2f} ({first:.2f}, {third:.2f})"

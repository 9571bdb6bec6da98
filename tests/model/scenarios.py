"""Small worlds, each with one kind of trouble.

A script is what a body does: spawn X, follow X (publish X as the next step of a chain), count (an iteration without
interval), rest, return, fail. What stands after a `|` is done by the next execution.
"""

from dataclasses import dataclass, field

from tests.model.truth import Truth


@dataclass(frozen=True)
class Scenario:
    """Who runs what, who comes from outside, and what may go wrong, how often."""

    name: str
    scripts: dict[str, str]
    """By container. Those that nobody spawns are roots, and queued when the search begins."""
    outside: dict[str, str] = field(default_factory=dict)
    """Children spawned from outside, at any time, and their parents."""
    stops: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ("a",)
    lost: str | None = None
    """The node whose lease may run out."""
    fenced: bool = True
    """False: nothing kills the processes of a node whose lease ran out (a suspended machine, a taken timer)."""
    crashes: int = 0
    """How often a process dies of its own."""
    repeats: int = 0
    """How often a commit is not acknowledged, and written again."""
    looks_late: bool = False
    """A node takes an execution that has just given its slot back for one that died."""
    by_hand: bool = False
    """Interrupted containers are started again by hand."""
    detached: frozenset[str] = frozenset()
    survivors: frozenset[str] = frozenset()
    """Containers whose executions nothing can kill."""

    def words(self, container, epoch):
        """What the body of this execution does, word by word."""
        claims = self.scripts[container].split("|")
        return [word.strip() for word in claims[min(epoch, len(claims)) - 1].split(",")]

    @property
    def loses(self):
        """Something may be left undone, and a sweep has to find it."""
        return bool(self.crashes or self.repeats or self.lost)

    @property
    def roots(self):
        spawned = set(" ".join(self.scripts.values()).replace(",", "").split()) | self.outside.keys()
        return [each for each in self.scripts if each not in spawned]

    def start(self):
        return Truth(
            nodes=tuple((node, "up") for node in self.nodes),
            births=frozenset(self.outside),
            stops=frozenset(self.stops),
            crashes=self.crashes,
            repeats=self.repeats,
        )


SCENARIOS = {
    each.name: each
    for each in [
        Scenario(
            "a coordinator is stopped while it and an outsider spawn",
            {"coord": "spawn one, return", "one": "return", "late": "return"},
            outside={"late": "coord"},
            stops=("coord",),
        ),
        Scenario(
            "a body fails over its children while an outsider spawns",
            {"coord": "spawn one, fail", "one": "spawn leaf, return", "leaf": "return", "late": "return"},
            outside={"late": "coord"},
        ),
        Scenario(
            "two stops meet in one tree, and a process dies",
            {"root": "spawn sub, return", "sub": "fail"},
            stops=("root", "sub"),
            crashes=1,
        ),
        Scenario(
            "a stop spares what is detached",
            {"coord": "spawn free, spawn one, return", "free": "return", "one": "return"},
            stops=("coord",),
            detached=frozenset({"free"}),
        ),
        Scenario(
            "a chain goes on under a coordinator whose body is over",
            {"coord": "spawn one, return", "one": "follow two, return", "two": "fail"},
            stops=("coord",),
        ),
        Scenario(
            "an execution survives its kill",
            {"coord": "spawn one, return", "one": "spawn leaf, return", "leaf": "return"},
            stops=("coord",),
            survivors=frozenset({"one"}),
        ),
        Scenario(
            "processes die while a tree is stopped",
            {"root": "spawn sub, return", "sub": "spawn leaf, return", "leaf": "return"},
            stops=("root",),
            crashes=1,
        ),
        Scenario(
            "a node is lost while a tree is stopped",
            {"coord": "spawn one, return", "one": "return"},
            stops=("coord",),
            nodes=("a", "b"),
            lost="a",
            by_hand=True,
        ),
        Scenario(
            "containers rest and wake while they are stopped",
            {"coord": "spawn one, rest | spawn two, return", "one": "count, rest | return", "two": "return"},
            stops=("coord",),
        ),
        Scenario(
            "commits are not acknowledged",
            {"coord": "spawn one, rest | return", "one": "rest | return"},
            stops=("coord",),
            repeats=1,
            looks_late=True,
        ),
        Scenario(
            "an execution goes on after its lease, and its container is started again",
            {"coord": "spawn one, count, rest | return", "one": "return"},
            nodes=("a", "b"),
            lost="a",
            fenced=False,
            by_hand=True,
        ),
    ]
}

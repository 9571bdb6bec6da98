"""Small worlds, each with one kind of trouble.

A script is what a body does: spawn X, follow X (publish X as the next step of a chain), count (an iteration without
interval), rest, return, fail; leave (cut off with its node, free), retry (the same, in a minute), restart (its error
costs one); await X 2 (until X's second claim), wait (for ever). What stands after a `|` is done by the next execution.
"""

import re
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
    suspended: bool = False
    """The lost node renews its lease after all, when it has run out."""
    crashes: int = 0
    """How often a process dies of its own."""
    repeats: int = 0
    """How often a commit is not acknowledged, and written again."""
    looks_late: bool = False
    """A node takes an execution that has just given its slot back for one that died."""
    recoverers: int = 0
    """How many bring back at once what was interrupted."""
    hands: tuple[str, ...] = ()
    """Containers that an operator ends by hand, with a live child perhaps."""
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
        return bool(self.crashes or self.repeats or self.lost or self.hands)

    @property
    def roots(self):
        words = [word.strip().split() for script in self.scripts.values() for word in re.split("[,|]", script)]
        spawned = {word[1] for word in words if word[0] in {"spawn", "follow"}} | self.outside.keys()
        return [each for each in self.scripts if each not in spawned]

    def start(self):
        return Truth(
            nodes=tuple((node, "up") for node in self.nodes),
            births=frozenset(self.outside),
            stops=frozenset(self.stops),
            recovering=((),) * self.recoverers,
            hands=frozenset(self.hands),
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
            {"coord": "spawn one, return | return", "one": "return"},
            stops=("coord",),
            nodes=("a", "b"),
            lost="a",
            recoverers=1,
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
            recoverers=1,
        ),
        Scenario(
            "processes die more often than they may, over their children",
            {"coord": "spawn one, return | spawn two, return", "one": "return", "two": "return"},
            crashes=2,
            recoverers=1,
        ),
        Scenario(
            "two recoverers take up a run that was cut off while its tree is stopped",
            {"coord": "spawn one, leave | return", "one": "return"},
            stops=("coord",),
            recoverers=2,
        ),
        Scenario(
            "a process dies, two recoverers come, and its tree is stopped",
            {"coord": "spawn one, return | return", "one": "return"},
            stops=("coord",),
            crashes=1,
            recoverers=2,
        ),
        Scenario(
            "a run is cut off again and again under two recoverers",
            {"coord": "spawn one, leave | spawn two, leave | return", "one": "return", "two": "return"},
            recoverers=2,
        ),
        Scenario(
            "a child spawns while its parent's run is cut off",
            {"coord": "spawn one, leave | return", "one": "spawn leaf, return", "leaf": "return"},
            recoverers=1,
        ),
        Scenario(
            "what an outsider spawned goes on when a run is cut off",
            {"coord": "spawn one, leave | return", "one": "return", "late": "await coord 2, return"},
            outside={"late": "coord"},
            recoverers=1,
        ),
        Scenario(
            "a chain goes on while its coordinator is cut off",
            {"coord": "spawn one, rest | leave | return", "one": "follow two, return", "two": "return"},
            recoverers=1,
        ),
        Scenario(
            "children of a run that rested go on when a later one is cut off",
            {
                "coord": "spawn one, rest | spawn two, retry | return",
                "one": "await coord 2, leave | await coord 3, return",
                "two": "return",
            },
            recoverers=1,
        ),
        Scenario(
            "a run is cut off, and so are the children that it leaves",
            {
                "coord": "spawn one, spawn free, retry | return",
                "one": "leave | return",
                "free": "leave | await coord 2, return",
            },
            detached=frozenset({"free"}),
            recoverers=1,
        ),
        Scenario(
            "two recoverers come to a run whose child survives its kill",
            {"coord": "spawn one, leave | return", "one": "wait"},
            survivors=frozenset({"one"}),
            recoverers=2,
        ),
        Scenario(
            "an execution leaves, and is not told",
            {"coord": "leave | restart | return"},
            stops=("coord",),
            repeats=1,
            recoverers=1,
        ),
        Scenario(
            "an execution leaves after its lease",
            {"coord": "leave | return"},
            nodes=("a", "b"),
            lost="a",
            fenced=False,
            suspended=True,
            recoverers=1,
        ),
        Scenario(
            "a hand ends containers over their children",
            {"root": "spawn sub, spawn free, return", "sub": "wait", "free": "wait"},
            hands=("root",),
            detached=frozenset({"free"}),
        ),
        Scenario(
            "what a hand left is stopped while a sweep comes",
            {"root": "spawn sub, return", "sub": "leave | wait"},
            hands=("root",),
            stops=("sub",),
            recoverers=1,
        ),
    ]
}

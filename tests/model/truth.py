"""What is true outside the database: which processes live, who has what still to do, what may yet go wrong."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, order=True)
class Run:
    """One execution's process, from its claim until it has written its ending or died."""

    container: str
    epoch: int
    node: str
    at: int = 0
    """How many words of its script it has done."""
    raised: bool = False
    """It has met the stop: all that is left is to end STOPPED."""
    over: bool = False
    """It wrote its ending but was not told so (the connection broke), and will write it again."""
    stale: bool = False
    """Its node's lease ran out and no fence has killed it."""

    def __str__(self):
        return f"{self.container}#{self.epoch}@{self.node}"


@dataclass(frozen=True, order=True)
class Chore:
    """What a process does after its commit: `ring` after a mark, then `look` and `settle`, parent after parent."""

    do: str
    container: str
    by: str


@dataclass(frozen=True)
class Truth:
    """Hashable: a state of the search is one of these and one content of the database."""

    nodes: tuple = ()
    """Pairs of a node and how it is: up, cut (renews no more), fenced (its processes are dead), expired; then, if it
    renews after all, back (nobody had declared it dead) or gone."""
    runs: frozenset = frozenset()
    dead: frozenset = frozenset()
    """Runs that died, and whether they were killed; their node has not looked yet."""
    chores: frozenset = frozenset()
    swept: tuple = ()
    """What a sweep has read and not done yet."""
    recovering: tuple = ()
    """What each recoverer has read and not done yet, in an order of its own: they are all alike."""
    hands: frozenset = frozenset()
    """Containers that are still to be ended by hand."""
    ended_by_hand: frozenset = frozenset()
    births: frozenset = frozenset()
    """Children that are still to be spawned from outside."""
    stops: frozenset = frozenset()
    """Targets that are still to be stopped."""
    bodies: frozenset = frozenset()
    """How bodies came out: pairs of a container and the word, return or fail."""
    crashes: int = 0
    repeats: int = 0

    def but(self, **changes):
        return replace(self, **changes)

    def how(self, node):
        return dict(self.nodes)[node]

    def turn(self, node, how):
        return self.but(nodes=tuple((each, how if each == node else was) for each, was in self.nodes))

    def drop(self, run):
        return self.but(runs=self.runs - {run})

    def swap(self, run, **changes):
        return self.but(runs=self.runs - {run} | {replace(run, **changes)})

    def came(self, run, word):
        """Its body came to this."""
        return self if word == "stopped" else self.but(bodies=self.bodies | {(run.container, word)})

    def chore(self, do, container, by):
        return self.but(chores=self.chores | {Chore(do, container, by)})

    @property
    def awake(self):
        """Nodes that claim, and look at their processes."""
        return [node for node, how in self.nodes if how in {"up", "cut", "back"}]

    @property
    def living(self):
        """Runs that execute, as the store must believe; a stale one is what a fence is there to prevent."""
        return [run for run in sorted(self.runs) if not run.over and not run.stale]

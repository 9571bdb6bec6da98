"""Every order of the actors' transactions, breadth first: the first trace that breaks an invariant is a shortest."""

from dataclasses import dataclass

from tests.model import calls, invariants
from tests.model.actors import steps
from tests.model.step import Broken


class Violation(Exception):
    """An invariant that does not hold, and the steps that lead there."""

    def __init__(self, what, trace):
        self.what, self.trace = what, trace
        super().__init__("\n  ".join([what, *trace]))


@dataclass
class Found:
    """How much was looked at."""

    states: int
    transitions: int
    ends: int
    contents: int

    def __str__(self):
        return f"{self.states} states, {self.transitions} transitions, {self.ends} ends, {self.contents} contents"


def search(memory, scenario, most=100_000):
    """Look at every state of a scenario; raises Violation for the first that must not be."""
    memory.clear()
    return Search(memory, scenario, most).run()


class Search:
    def __init__(self, memory, scenario, most):
        self.memory, self.scenario, self.most = memory, scenario, most
        self.known = {}  # (contents, truth) -> number
        self.states = []
        self.came = []  # number of the state before, and the label of the step
        self.results = {}  # (contents, call) -> (contents, result): the same call on the same rows does the same
        self.idle = set()  # (what a call reads, call): it did nothing then, and will not
        self.links = []

    def run(self):
        self._enter(self._begin(), self.scenario.start(), None, "")
        ends = at = 0
        while at < len(self.states):
            ends += self._expand(at)
            at += 1
        self._check_progress()
        transitions = sum(map(len, self.links))
        return Found(len(self.states), transitions, ends, len(self.memory.contents))

    def _begin(self):
        for node in self.scenario.nodes:
            calls.call(self.memory, "register", node)
        for root in self.scenario.roots:
            calls.call(self.memory, "spawn", root, None, None, False)
        return self.memory.keep()

    def _expand(self, at):
        """Take every step from one state; True if none leads on."""
        number, truth = self.states[at]
        contents = self.memory.contents[number]
        onward, sooner = set(), {at}
        for step in steps(self.scenario, truth, contents):
            to = self._take(at, number, truth, step)
            onward.add(to)
            if not step.is_time:
                sooner.add(to)
        onward.discard(at)
        self.links.append(onward)
        if sooner == {at}:
            self._check(at, invariants.overdue(self.scenario, truth, contents))
        if not onward:
            self._check(at, invariants.stuck(self.scenario, truth, contents))
        return not onward

    def _take(self, at, number, truth, step):
        after, result = self._result(at, number, step)
        if step.then is not None:
            try:
                truth = step.then(result, after != number)
            except Broken as broken:
                self._check(at, str(broken), step.label)
        return self._enter(after, truth, at, step.label)

    def _result(self, at, number, step):
        if step.call is None:
            return number, None
        key = (number, step.call)
        if (step.reads, step.call) in self.idle:
            return number, None
        if key not in self.results:
            self.memory.put_back(number)
            try:
                result = calls.call(self.memory, *step.call)
            except Exception as error:  # noqa: BLE001 - whatever it is, no transaction may raise it
                self._check(at, f"{type(error).__name__}: {error}", step.label)
            self.results[key] = (self.memory.keep(), result)
            if step.reads is not None and result is None:
                self.idle.add((step.reads, step.call))
        return self.results[key]

    def _enter(self, number, truth, before, label):
        state = (number, truth)
        if state in self.known:
            return self.known[state]
        if len(self.states) >= self.most:
            raise OverflowError(f"more than {self.most} states: make the scenario smaller")
        at = self.known[state] = len(self.states)
        self.states.append(state)
        self.came.append((before, label))
        self._check(at, invariants.broken(self.scenario, truth, self.memory.contents[number]))
        return at

    def _check(self, at, what, *last):
        if what is not None:
            raise Violation(what, [*self._trace(at), *last])

    def _trace(self, at):
        labels = []
        while at:
            at, label = self.came[at]
            labels.append(label)
        return labels[::-1]

    def _check_progress(self):
        """No step leads back: every way comes to an end, so what holds in each end is reached in the end."""
        waits = [0] * len(self.links)
        for onward in self.links:
            for to in onward:
                waits[to] += 1
        free = [at for at, count in enumerate(waits) if not count]
        for at in free:
            for to in self.links[at]:
                waits[to] -= 1
                if not waits[to]:
                    free.append(to)
        if len(free) < len(self.links):
            at = next(at for at, count in enumerate(waits) if count)
            self._check(at, "I5: the steps from here can go round for ever")

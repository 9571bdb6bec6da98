"""What happens when: operations and faults, fixed by the seed before the run begins."""

import random
from dataclasses import dataclass, field

NODES = 3
START_EVERY, STOP_EVERY, OTHER_EVERY = 1.2, 2.0, 4.0  # seconds, on average
NODE_FAULT_EVERY, HUNT_EVERY, SERVER_FAULT_EVERY = 7.0, 6.0, 20.0
BEGIN_FAULTS_AT = 4.0
LEASE = 4.0
RESOURCES = 6

KINDS = {
    "COORDINATOR": 6,
    "BATCHING": 1,
    "TRANSACTING": 1,
    "WATCHING": 2,
    "WORKER": 6,
    "SLEEPER": 3,
    "FAILING": 3,
    "STEPS": 3,
    "SWALLOWING": 2,
    "SHIELDING": 2,
    "STUBBORN": 3,
    "CLEANING": 3,
    "RETRYING": 2,
    "RECONNECTING": 2,
    "RESTING": 2,
    "ITERATING": 2,
    "BACK_TO_BACK": 1,
    "ENDLESS": 1,
    "FINISHING": 1,
    "POISON": 1,
    "CHAINING": 1,
    "SELF_STOPPING": 1,
}
PARENTS = (
    "WATCHING",
    "COORDINATOR",
    "SLEEPER",
    "FAILING",
    "RETRYING",
    "RECONNECTING",
    "ITERATING",
    "STUBBORN",
    "SELF_STOPPING",
)
STOPS = {"stop": 8, "kill": 1, "stop by command": 1, "stop by killed command": 2}
OTHERS = {"revoke": 1, "sweep": 1, "recover": 1, "adopt": 3, "publish again": 3}
STOPPED = {"executing": 3, "root of executing": 3, "root": 1}
MET = {"executing": 1, "any": 2}
HUNTED = {"stopping": 3, "executing": 1}
NODE_FAULTS = {
    "kill child": 5,
    "kill main": 2,
    "kill group": 2,
    "pause group": 2,
    "pause main": 1,
    "pause child": 2,
    "term": 2,
    "quit": 1,
    "kill beat": 1,
}
HUNTS = {
    "kill child": 3,
    "pause child": 1,
    "kill main": 1,
    "kill group": 1,
    "pause group": 1,
    "pause main": 1,
    "term": 1,
}
SERVER_FAULTS = {
    "broker restart": 2,
    "broker loses all": 1,
    "broker hangs": 1,
    "database restart": 2,
    "database crash": 2,
    "database hangs": 3,
}


@dataclass(frozen=True, slots=True)
class Act:
    """One thing to be done `at` seconds after the begin."""

    at: float
    what: str
    more: dict = field(default_factory=dict)


def make(seed, minutes):
    """All acts of a run, in order: the same ones for the same seed and length."""
    dice = random.Random(seed)
    seconds = minutes * 60
    acts = [*operations(dice, seconds), *faults(dice, seconds)]
    return sorted(acts, key=lambda act: act.at)


def operations(dice, seconds):
    for number, at in enumerate(times(dice, START_EVERY, 0.0, seconds)):
        yield Act(at, "start", {"tree": tree(dice, f"t{number}", depth=0), "number": number})
    for at in times(dice, STOP_EVERY, 3.0, seconds):
        how = {
            "grace": dice.choice([None, None, 0.5, 2.0]),
            "wait": dice.random() < 0.3,
            "after": dice.uniform(0.3, 2.0),
        }
        yield Act(at, choose(dice, STOPS), {**target(dice, STOPPED), **how})
    for at in times(dice, OTHER_EVERY, 3.0, seconds):
        yield Act(at, choose(dice, OTHERS), target(dice, MET))


def target(dice, which):
    """Chosen when the time has come, among those that there are then."""
    return {"choose": choose(dice, which), "index": dice.randrange(1000)}


def faults(dice, seconds):
    for at in times(dice, NODE_FAULT_EVERY, BEGIN_FAULTS_AT, seconds):
        more = {"node": dice.randrange(NODES), "child": dice.randrange(1000), "seconds": pause(dice)}
        yield Act(at, "fault", {"kind": choose(dice, NODE_FAULTS), **more})
    for at in times(dice, HUNT_EVERY, BEGIN_FAULTS_AT, seconds):
        yield Act(at, "hunt", {"kind": choose(dice, HUNTS), "seconds": pause(dice), **target(dice, HUNTED)})
    for at in times(dice, SERVER_FAULT_EVERY, 2 * BEGIN_FAULTS_AT, seconds):
        yield Act(at, "fault", {"kind": choose(dice, SERVER_FAULTS), "seconds": pause(dice, long=0.35)})


def pause(dice, long=0.6):
    """Seconds: more than a lease, or less."""
    return LEASE * (dice.uniform(1.3, 2.0) if dice.random() < long else dice.uniform(0.1, 0.6))


def times(dice, every, first, last):
    at = first + dice.expovariate(1 / every)
    while at < last:
        yield at
        at += dice.expovariate(1 / every)


def choose(dice, weights):
    return dice.choices(list(weights), weights=list(weights.values()))[0]


def tree(dice, name, depth):
    """What a container does, and what those that it spawns do."""
    kind = choose(dice, KINDS)
    if depth == 0 and dice.random() < 0.5:
        kind = "COORDINATOR"
    plan = {"name": name, "kind": kind, "seconds": round(dice.uniform(0.2, 3.5), 2), "times": dice.randrange(1, 3)}
    plan |= {"steps": dice.randrange(2, 6), "gap": dice.choice([0.0, 0.0, 0.05, 0.3]), "above": dice.random() < 0.5}
    plan |= {"grace": dice.choice([1.0, 2.0, 3.0])}
    if dice.random() < 0.2:
        plan["resources"] = [f"dock:{dice.randrange(RESOURCES)}"]
    if kind in PARENTS and depth < 3:
        count = dice.choice([0, 1, 2, 3]) if depth else dice.choice([1, 2, 3, 4])
        plan["children"] = [child(dice, f"{name}.{n}", depth + 1) for n in range(count)]
    return plan


def child(dice, name, depth):
    plan = tree(dice, name, depth)
    if dice.random() < 0.12:
        plan["detach"] = True
    if dice.random() < 0.1:
        plan["countdown"] = 0.5
    return plan

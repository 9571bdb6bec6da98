"""Services as an engine would tell them, and what is decided about them: no engine, no database, no clock."""

import hashlib
from datetime import UTC, datetime, timedelta

from lifecycle.domain.recovery import Memory, Remembered
from lifecycle.domain.service import Dependency, Health, Service, Share, Snapshot, State
from lifecycle.services.plan import plan
from lifecycle.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Settings(docker_projects=("shop",))
LONG_AGO = 3_600.0  # seconds


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


def identity(word):
    return hashlib.sha256(word.encode()).hexdigest()


def service(
    name, /, *, started=LONG_AGO, created=LONG_AGO, finished=None, number="1", labels=(), project="shop", **known
):
    """A container of Compose, running for an hour."""
    compose = {"com.docker.compose.project": project, "com.docker.compose.service": name}
    made = {
        "id": identity(f"{project}-{name}-{number}"),
        "name": f"{project}-{name}-{number}",
        "project": project,
        "service": name,
        "created_at": ago(created),
        "started_at": None if started is None else ago(started),
        "finished_at": None if finished is None else ago(finished),
        "labels": {**compose, "com.docker.compose.container-number": number, **dict(labels)},
    }
    return Service(**{**made, **known})


def one_off(name, /, **known):
    """What `compose run` started: the labels of its service, a name of its own."""
    made = {"labels": {"com.docker.compose.oneoff": "True"}, "oneoff": True, "id": identity(f"run of {name}")}
    return service(name, **{"name": f"shop-{name}-run-0123", **made, **known})


def on(*names, restart=True, condition="service_started"):
    return {"depends_on": tuple(Dependency(name, condition, restart) for name in names)}


def inside(parent, share=Share.NETNS):
    """In a namespace of a container, or of one of this id."""
    return {"shares": {share: parent if isinstance(parent, str) else parent.id}}


def unhealthy(name, /, **known):
    return service(name, health=Health.UNHEALTHY, **known)


def exited(name, code=1, /, **known):
    return service(name, state=State.EXITED, exit_code=code, **{"finished": 60.0, **known})


def snapshot(*services, **known):
    return Snapshot(services={each.id: each for each in services}, taken_at=NOW, **known)


def remembered(*rows):
    """Rows by the key that they are given, or by `shop/NAME`."""
    return Memory(services={row.key: row for row in rows})


def row(name, /, **known):
    return Remembered(key=f"shop/{name}", version=1, **known)


def look(*services, memory=None, settings=SETTINGS, asked=(), **known):
    """The plan of now."""
    keys = frozenset(f"shop/{name}" for name in asked)
    return plan(snapshot(*services, **known), memory or Memory(), settings, NOW, asked=keys)


def verdicts(*services, **known):
    """Of each service of Compose, in the order of the plan."""
    return {each.service.service: str(each.verdict) for each in look(*services, **known).decisions}


def decided(target, *services, **known):
    """What is decided about one of them."""
    return next(each for each in look(target, *services, **known).decisions if each.service.id == target.id)


def actions(*services, **known):
    return [f"{each.kind} {each.key.split('/')[1]}" for each in look(*services, **known).actions]

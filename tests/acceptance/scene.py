"""Containers of one test, by short names, in a world that other tests share."""

import secrets
from contextlib import suppress
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from lifecycle.domain.status import Status
from lifecycle.errors import ContainerNotFound
from lifecycle.store import containers as store
from lifecycle.store.tables import containers
from tests.acceptance.world import PATIENCE, World, eventually

SLACK = 0.01  # seconds: SQLite's times are whole milliseconds
LEFT = {Status.COMPLETED, Status.FAILED, Status.STOPPED, Status.INTERRUPTED}


@dataclass
class Scene:
    """Containers of one test in a world that others share: short names here, unique ids there."""

    world: World
    suffix: str = field(default_factory=lambda: secrets.token_hex(3))
    allows_strays: bool = False

    @property
    def lifecycle(self):
        return self.world.lifecycle

    def id(self, name):
        return f"{name}.{self.suffix}"

    def name(self, container_id):
        return container_id.removesuffix(f".{self.suffix}")

    def plan(self, name, *children, kind=None, queue=None, detach=False, grace=None, resources=(), **kwargs):
        """What a coordinator is to spawn, and that one in turn."""
        if children:
            kwargs["children"] = list(children)
        options = {"container_id": self.id(name), "detach": detach, "resources": list(resources)}
        options |= {} if queue is None else {"queue": queue}
        options |= {} if grace is None else {"grace": grace}
        return {"type": kind or ("COORDINATOR" if children else "WORKER"), "kwargs": kwargs, "options": options}

    def start(self, plan):
        """Spawn the top of a plan from outside."""
        return self.lifecycle.start(plan["type"], plan["kwargs"], **plan["options"])

    def run(self, plan):
        """Start, and see every container of the plan at work."""
        container = self.start(plan)
        for name in names_in(plan):
            eventually(f"{name} at work", lambda name=name: self.ticks(self.name(name)))
        return container

    def stop(self, name, **wishes):
        report = self.lifecycle.stop(self.id(name), **wishes)
        return replace(
            report,
            root=self.name(report.root),
            **{part: tuple(map(self.name, getattr(report, part))) for part in ("order", "stopped", "already_ended")},
            pending=tuple(map(self.name, report.pending)),
            failed={self.name(each): why for each, why in report.failed.items()},
        )

    def get(self, name):
        return self.lifecycle.get(self.id(name))

    def status(self, *names):
        found = [str(self.get(name).status) for name in names]
        return found[0] if len(found) == 1 else found

    def ended(self, name, patience=PATIENCE):
        """The container once it has ended."""
        return eventually(f"{name} ended", lambda: (row := self.found(name)) and row.is_ended and row, patience)

    def becomes(self, name, status, patience=PATIENCE):
        return eventually(
            f"{name} {status}", lambda: (row := self.found(name)) and row.status == status and row, patience
        )

    def found(self, name):
        """Its row, once it is spawned."""
        with suppress(ContainerNotFound):
            return self.get(name)

    def history(self, name):
        return [change.to_status for change in self.lifecycle.history(self.id(name))]

    def marks(self, name, what=None):
        """What a body wrote down."""
        found = self.world.marks().get(self.id(name), [])
        return [mark for mark in found if what in (None, mark["what"])]

    def ticks(self, name):
        return self.marks(name, "tick")

    def rows(self):
        """Every container whose tree began in this scene."""
        c = containers.c
        query = sa.select(*store.COLUMNS).where(c.root_id.endswith(self.suffix)).order_by(c.created_at, c.id)
        with self.lifecycle.database.read() as connection:
            return [self.lifecycle.keep(store.from_row(row)) for row in connection.execute(query)]

    def edit(self, name, **values):
        """An operator's hand-made UPDATE."""
        with self.lifecycle.database.begin() as connection:
            connection.execute(containers.update().where(containers.c.id == self.id(name)).values(values))

    def clear(self):
        """Stop what the test left."""
        for row in self.rows():
            if not row.is_ended and (row.is_root or row.detached):
                self.lifecycle.stop(row.id, force=True, wait=False)
        eventually("the scene over", lambda: not [row for row in self.rows() if not (row.is_ended or row.stop_error)])

    def check(self):
        """What must hold whatever a test did (design, section 10)."""
        rows = {row.id: row for row in self.rows()}
        left = {}
        for row in rows.values():
            for change in self.lifecycle.history(row.id):
                if change.to_status in LEFT:
                    left.setdefault(row.id, []).append((change.epoch, change.at.timestamp()))
            above = rows.get(row.parent_container_id)
            if above is not None and not row.detached and not row.is_ended and not row.stop_error:  # I1
                assert not above.is_ended, f"{row.id} is {row.status} under {above.status} {above.id}"
            if row.is_ended:  # I3
                assert not self.lifecycle.holdings(row.id), f"{row.id} is {row.status} and holds"
        strays = [
            line for line in self.world.log().splitlines() if "stray execution killed" in line and self.suffix in line
        ]
        assert self.allows_strays or not strays, "an execution on its way out is no stray"
        for container_id, departures in left.items():  # I2
            for mark in self.world.marks().get(container_id, ()):
                for epoch, at in departures:
                    late = mark["epoch"] <= epoch and mark["at"] > at + SLACK
                    assert not late, f"{container_id} wrote {mark['what']} {mark['at'] - at:.3f} s after its row left"


def names_in(plan):
    below = [name for child in plan["kwargs"].get("children", ()) for name in names_in(child)]
    return [plan["options"]["container_id"], *below]

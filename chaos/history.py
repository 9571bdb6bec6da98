"""What a run has left: rows, marks of bodies, the diary; kept as files and read back as values."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace

TABLES = ("containers", "transitions", "stops", "assignments", "nodes")
LONG_STALL = 1.0  # seconds in one piece: a renewal may be late
TERMINAL = {"COMPLETED", "FAILED", "STOPPED"}
UNSTOPPED = {"PENDING", "RUNNING", "INTERRUPTED"}


def keep(folder, run, lifecycle, app):
    """Write the rows and Celery's results beside what was written during the run."""
    import sqlalchemy as sa

    from lifecycle.store import tables

    kept = {"run": run}
    with lifecycle.database.read() as connection:
        for name in TABLES:
            table = getattr(tables, name)
            rows = connection.execute(sa.select(table).order_by(table.c.id)).mappings()
            kept[name] = [{key: as_json(value) for key, value in row.items() if key != "message"} for row in rows]
    kept["results"] = {}
    for row in kept["containers"]:
        if row["status"] == "STOPPED":
            kept["results"][row["id"]] = app.AsyncResult(row["id"]).state
    (folder / "rows").write_text(json.dumps(kept))


def as_json(value):
    return value.timestamp() if isinstance(value, datetime) else value


@dataclass
class History:
    """A whole run; times are seconds of one clock, for database and bodies are on one machine."""

    run: dict
    rows: dict = field(default_factory=dict)
    changes: list = field(default_factory=list)
    stops: list = field(default_factory=list)
    assignments: list = field(default_factory=list)
    nodes: list = field(default_factory=list)
    marks: list = field(default_factory=list)
    events: list = field(default_factory=list)
    results: dict = field(default_factory=dict)

    @property
    def settings(self):
        return SimpleNamespace(**self.run["settings"])

    @property
    def expires(self):
        """Lease and margin."""
        return self.settings.lease * 1.1

    @cached_property
    def changes_of(self):
        """By container, in order: its row's lock makes their numbers rise."""
        return by(self.changes, lambda change: change.container_id)

    @cached_property
    def marks_of(self):
        return by(self.marks, lambda mark: mark.id)

    @cached_property
    def runs_of(self):
        """Marks of each execution: by container and epoch."""
        return by(self.marks, lambda mark: (mark.id, mark.epoch))

    @cached_property
    def children_of(self):
        """Attached ones."""
        attached = [row for row in self.rows.values() if not row.detached and row.parent_container_id]
        return by(attached, lambda row: row.parent_container_id)

    @cached_property
    def epochs_of(self):
        """By container, the epochs that wrote anything."""
        epochs = defaultdict(set)
        for mark in self.marks:
            if mark.id is not None:
                epochs[mark.id].add(mark.epoch)
        return {container: sorted(found) for container, found in epochs.items()}

    @cached_property
    def asked_by(self):
        """By stop, the changes that it made."""
        return by(self.changes, lambda change: change.stop_id)

    @cached_property
    def stalls(self):
        """Times in which this machine kept us waiting, one after the other; of the kind of a fault."""
        return [SimpleNamespace(**vars(event), kind="stall") for event in self.events if event.what == "stall"]

    @cached_property
    def waited(self):
        """Seconds waited until the beginning of each stall, and at the end."""
        return [0.0, *accumulate(each.seconds for each in self.stalls)]

    @cached_property
    def faults(self):
        """What was done to nodes and servers, and what the machine did for so long that a lease may have run out."""
        done = [event for event in self.events if event.what == "fault"]
        return done + [each for each in self.stalls if each.late >= LONG_STALL]

    @cached_property
    def outages(self):
        """Faults of the database."""
        return [fault for fault in self.faults if fault.kind.startswith("database")]

    @cached_property
    def exits(self):
        """Members of the fleet that ended though nobody wanted it."""
        return [event for event in self.events if event.what == "exited" and not event.wanted]

    @cached_property
    def starts(self):
        """Of members of the fleet."""
        return [event for event in self.events if event.what == "started"]

    @cached_property
    def mains_at_work(self):
        """Main processes of nodes that have run anything."""
        return {self.main_of.get(mark.node) for mark in self.marks if mark.what == "begin"}

    @cached_property
    def main_of(self):
        """By node, the main process it was."""
        return {node.id: node.pid for node in self.nodes}

    def seat_of(self, container_id, epoch):
        """Node and process of an execution, as far as anything says it."""
        for mark in self.runs_of.get((container_id, epoch), ()):
            if mark.what == "begin":
                return mark.node, mark.pid
        for change in self.changes_of.get(container_id, ()):
            if change.epoch == epoch and change.node:
                return change.node, None
        return None, None


def by(values, key):
    found = defaultdict(list)
    for value in values:
        found[key(value)].append(value)
    return found


def read(folder):
    """The history that a folder keeps."""
    folder = Path(folder)
    kept = json.loads((folder / "rows").read_text())
    tables = {name: [SimpleNamespace(**row) for row in kept[name]] for name in TABLES}
    return History(
        run=kept["run"],
        rows={row.id: row for row in tables["containers"]},
        changes=tables["transitions"],
        stops=tables["stops"],
        assignments=tables["assignments"],
        nodes=tables["nodes"],
        marks=lines(folder / "marks"),
        events=lines(folder / "events"),
        results=kept["results"],
    )


def lines(path):
    return [SimpleNamespace(**json.loads(line)) for line in path.read_text().splitlines()]

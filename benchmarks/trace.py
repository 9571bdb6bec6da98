"""Where a node's time goes: phases of a container's life with their SQL, or functions by cProfile.

Only a node that a benchmark starts with BENCH_TRACE has it. The phases wrap private functions by name, for the
library has no hook of its own for this: one that was renamed ends the node with its name.
"""

import cProfile
import importlib
import json
import os
import time
from contextlib import contextmanager, nullcontext
from functools import wraps

import sqlalchemy as sa
from celery.backends.base import Backend
from celery.signals import worker_process_init, worker_process_shutdown

PHASES = {  # in the order of a container's life
    "spawn": ("lifecycle.runtime.task", "launch"),
    "record": ("lifecycle.runtime.launch", "_record"),
    "publish": ("lifecycle.runtime.launch", "_publish"),
    "claim": ("lifecycle.runtime.run", "claim"),
    "body": ("lifecycle.runtime.execution", "Execution.body"),
    "end": ("lifecycle.runtime.departure", "end"),
    "settle": ("lifecycle.trees.end", "settle"),
}
RESULT, OUTSIDE = "result", "outside"
AMOUNTS = ("calls", "seconds", "processor", "statements", "commits", "sql")


class Phases:
    """Seconds by clock and processor, statements and seconds in SQL by phase, without the phases inside it."""

    def __init__(self):
        self.told, self.statements, self._stack = {}, {}, []

    def clear(self):
        """In a fork: what the parent did is not the child's."""
        self.told.clear()
        self.statements.clear()

    def add(self, phase, **amounts):
        row = self.told.setdefault(phase, dict.fromkeys(AMOUNTS, 0))
        for name, amount in amounts.items():
            row[name] += amount

    @property
    def here(self):
        return self._stack[-1][0] if self._stack else OUTSIDE

    @contextmanager
    def inside(self, phase):
        clock, processor = time.perf_counter(), time.thread_time()
        self._stack.append([phase, 0.0, 0.0])
        try:
            yield
        finally:
            clock, processor = time.perf_counter() - clock, time.thread_time() - processor
            _, clock_within, processor_within = self._stack.pop()
            self.add(phase, calls=1, seconds=clock - clock_within, processor=processor - processor_within)
            if self._stack:
                self._stack[-1][1] += clock
                self._stack[-1][2] += processor

    def add_statement(self, statement, seconds):
        """Of each phase by its text: what is asked most, and what takes longest."""
        self.add(self.here, statements=1, sql=seconds)
        row = self.statements.setdefault(f"{self.here}: {' '.join(statement.split())}", [0, 0.0])
        row[0], row[1] = row[0] + 1, row[1] + seconds

    def wrap(self, owner, name, phase):
        call = getattr(owner, name)

        @wraps(call)
        def timed(*args, **kwargs):
            with self.inside(phase):
                return call(*args, **kwargs)

        setattr(owner, name, timed)


phases = Phases()
_profiles = {}


def install(app, kind, folder):
    """In the node's main process, before it forks: the children inherit the hooks and write at their end."""
    if kind == "phases":
        _install_phases(app)
        worker_process_init.connect(lambda **_: phases.clear(), weak=False)
        worker_process_shutdown.connect(lambda **_: _write_phases(folder), weak=False)
    else:
        worker_process_init.connect(lambda **_: _begin("child"), weak=False)
        worker_process_shutdown.connect(lambda **_: _write_profiles(folder), weak=False)


def spawner():
    """Around the loop of who spawns: a profile of its own."""
    return _swapped() if _profiles else nullcontext()


def _install_phases(app):
    for phase, (module, path) in PHASES.items():
        owner = importlib.import_module(module)
        *inner, name = path.split(".")
        for part in inner:
            owner = getattr(owner, part)
        phases.wrap(owner, name, phase)
    phases.wrap(Backend, "store_result", RESULT)
    sa.event.listen(sa.Engine, "before_cursor_execute", _before)
    sa.event.listen(sa.Engine, "after_cursor_execute", _after)
    sa.event.listen(sa.Engine, "engine_connect", _time_commits)


def _before(_connection, _cursor, _statement, _parameters, context, _many):
    if context is not None:
        context.bench_begun = time.perf_counter()


def _after(_connection, _cursor, statement, _parameters, context, _many):
    begun = getattr(context, "bench_begun", None)
    if begun is not None:
        phases.add_statement(statement, time.perf_counter() - begun)


def _time_commits(connection):
    """The dialect commits, once an engine: there is no event after it."""
    dialect = connection.dialect
    if "do_commit" not in vars(dialect):
        commit = dialect.do_commit

        def timed(dbapi_connection):
            begun = time.perf_counter()
            commit(dbapi_connection)
            phases.add(phases.here, commits=1, sql=time.perf_counter() - begun)

        dialect.do_commit = timed


def _write_phases(folder):
    (folder / f"phases-{os.getpid()}.json").write_text(json.dumps([phases.told, phases.statements]))


def _begin(name):
    profile = _profiles.setdefault(name, cProfile.Profile())
    profile.enable()
    return profile


@contextmanager
def _swapped():
    _profiles["child"].disable()
    try:
        with _begin("spawner"):
            yield
    finally:
        _profiles["child"].enable()


def _write_profiles(folder):
    for name, profile in _profiles.items():
        profile.disable()
        profile.dump_stats(folder / f"{name}-{os.getpid()}.prof")

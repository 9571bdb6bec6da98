"""What a node of the benchmarks runs: `celery -A benchmarks.node worker`, told by its environment alone."""

import os
from pathlib import Path

from celery.signals import worker_ready

from benchmarks import trace
from benchmarks.tasks import make_app

app = make_app(os.environ["BENCH_BROKER"], os.environ.get("BENCH_DATABASE"), os.environ.get("BENCH_STARTED"))
if os.environ.get("BENCH_TRACE"):
    trace.install(app, os.environ["BENCH_TRACE"], Path(os.environ["BENCH_TRACES"]))


@worker_ready.connect
def say_ready(**_):
    Path(os.environ["BENCH_READY"]).touch()

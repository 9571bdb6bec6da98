"""Procrastinate: jobs are rows in PostgreSQL, without a tree; `cancel_job_by_id` with `abort` of each id."""

import asyncio
import sys

import procrastinate
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from benchmarks.peers import beats, seat

IS_WORKER = sys.argv[1:] == ["worker"]
app = App(connector=(PsycopgConnector if IS_WORKER else SyncPsycopgConnector)(conninfo=seat.DATABASE))
LIVE = "SELECT id FROM procrastinate_jobs WHERE status IN ('todo', 'doing') ORDER BY id"


@app.task(name="noop")
async def noop(path, number):
    beats.noop(path, number)


@app.task(name="linger")
async def linger(path, number):
    await beats.linger_async(path, number)


@app.task(name="parent")
async def parent(kind, way, count, path):
    child = app.tasks[kind]
    jobs = [{"path": path, "number": number} for number in range(1, count + 1)]
    if way == "at once":
        await child.batch_defer_async(*jobs)
    else:
        for each in jobs:
            await child.defer_async(**each)
    beats.spawned(path)


async def work():
    async with app.open_async():
        await app.run_worker_async(concurrency=seat.SLOTS)


class Peer:
    version = f"Procrastinate {procrastinate.__version__}"

    def __init__(self):
        app.open()
        app.schema_manager.apply_schema()
        self._worker = seat.start_worker("benchmarks.peers.procrastinate", "worker")
        self._ids = []

    def spawn(self, kind, way, count, path):
        parent.defer(kind=kind, way=way, count=count, path=path)

    def learn(self):
        self._ids = [row["id"] for row in app.connector.execute_query_all(LIVE)]

    def is_over(self):
        return not app.connector.execute_query_all(f"{LIVE} LIMIT 1")

    def stop(self):
        for each in self._ids:
            app.job_manager.cancel_job_by_id(each, abort=True)

    def close(self):
        seat.end_worker(self._worker)
        app.close()


if __name__ == "__main__":
    asyncio.run(work()) if IS_WORKER else seat.serve(Peer())

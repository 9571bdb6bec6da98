"""DBOS: workflows in one process, rows in PostgreSQL; `cancel_workflow` with `cancel_children`.

A queue looks for work once a second, so 1,000 no-ops in a queue of two would take minutes: they are started directly,
as its documentation starts children. What is to be stopped waits in a queue, and runs in a step that can be preempted.
"""

from importlib.metadata import version

from dbos import DBOS

from benchmarks.peers import beats, seat

LIVE = ["PENDING", "ENQUEUED", "DELAYED"]
QUEUE = "children"


@DBOS.workflow()
def noop(path, number):
    beats.noop(path, number)


@DBOS.step(preemptible=True)
async def work(path, number):
    await beats.linger_async(path, number)


@DBOS.workflow()
async def linger(path, number):
    await work(path, number)


@DBOS.workflow()
def noops(count, path):
    handles = [DBOS.start_workflow(noop, path, number) for number in range(1, count + 1)]
    beats.spawned(path)
    for each in handles:
        each.get_result()


@DBOS.workflow()
async def lingerers(count, path):
    for number in range(1, count + 1):
        await DBOS.enqueue_workflow_async(QUEUE, linger, path, number)
    beats.spawned(path)


class Peer:
    version = f"DBOS {version('dbos')}"

    def __init__(self):
        settings = {"name": "peers", "system_database_url": seat.DATABASE, "enable_otlp": False}
        DBOS(config={**settings, "log_level": "CRITICAL", "application_version": "1", "executor_id": "peers"})
        DBOS.launch()
        DBOS.register_queue(QUEUE, worker_concurrency=seat.SLOTS)
        self._root = None

    def spawn(self, kind, way, count, path):
        self._root = DBOS.start_workflow({"noop": noops, "linger": lingerers}[kind], count, path).workflow_id

    def learn(self):
        """Nothing: the parent's id is enough."""

    def is_over(self):
        return not DBOS.list_workflows(status=LIVE, limit=1, load_input=False, load_output=False)

    def stop(self):
        DBOS.cancel_workflow(self._root, cancel_children=True)

    def close(self):
        DBOS.destroy()


if __name__ == "__main__":
    seat.serve(Peer())

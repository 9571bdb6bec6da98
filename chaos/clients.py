"""Who uses the library: starts trees, stops them, gives children to others, delivers messages twice."""

import time
from concurrent.futures import ThreadPoolExecutor

from lifecycle.domain.status import LIVE
from lifecycle.store.containers import messages

THREADS = 6
CROWD = 70  # live containers: no more are started until some have ended
CHILD = {"name": "adopted", "kind": "WORKER", "seconds": 0.5}


class Clients:
    """Threads, for servers may be away; what fails then is noted, and nothing is promised."""

    def __init__(self, lifecycle, diary, suffix):
        self._lifecycle, self._diary, self._suffix = lifecycle, diary, suffix
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="chaos-client")
        self._roots = []
        self._verbs = {
            "start": self._start,
            "stop": self._stop,
            "sweep": lambda _: f"found {lifecycle.sweep().found}",
            "recover": lambda _: f"found {lifecycle.recover().found}",
            "adopt": self._adopt,
            "publish again": self._publish_again,
        }

    def ask(self, what, more):
        """One operation, not waited for."""
        self._threads.submit(self._operate, what, more)

    def root(self, back):
        """A tree of late, by its number from the last; None before the first."""
        roots = list(self._roots)
        return roots[-1 - back % len(roots)] if roots else None

    def close(self):
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _operate(self, what, more):
        began = time.time()
        try:
            said = self._verbs[what](more)
        except Exception as error:  # noqa: BLE001 - the library's own and the broker's
            said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        self._diary.note("operation", name=what, began=began, said=said)

    def _start(self, more):
        plan, counts = more["tree"], self._lifecycle.counts()
        if sum(counts.get(status, 0) for status in LIVE) > CROWD:
            return "crowd"
        wishes = {name: plan[name] for name in ("grace", "resources") if name in plan}
        container_id = f"{plan['name']}.{self._suffix}"
        self._roots.append(container_id)
        self._lifecycle.start(plan["kind"], {"plan": plan}, container_id=container_id, **wishes)
        self._diary.note("acknowledged", id=container_id)
        return "ok"

    def _stop(self, more):
        target = self._below(more) if more["how"] == "call below" else self.root(more["back"])
        if target is None:
            return "none"
        wishes = {"force": True} if more["how"] == "force" else {"grace": more["grace"]}
        report = self._lifecycle.stop(target, reason="chaos", wait=more["wait"], **wishes)
        return "failed" if report.failed else "ok"

    def _adopt(self, more):
        """A child given to its parent from outside."""
        parent = self._below(more)
        if parent is None:
            return "none"
        child = self._lifecycle.start("WORKER", {"plan": CHILD}, parent_container_id=parent)
        self._diary.note("acknowledged", id=child.id)
        return "ok"

    def _publish_again(self, more):
        target = self._below(more)
        if target is None:
            return "none"
        with self._lifecycle.database.read() as connection:
            message = messages(connection, [target])[target]
        self._lifecycle.doorbell.publish(target, message)
        return "ok"

    def _below(self, more):
        """Some container of a tree of late."""
        root = self.root(more["back"])
        if root is None:
            return None
        tree = self._lifecycle.tree(root)
        return tree[more["below"] % len(tree)].id

"""Who uses the library: starts trees, stops them, gives children to others, delivers messages twice."""

import time
from concurrent.futures import ThreadPoolExecutor

from lifecycle.domain.status import LIVE
from lifecycle.store.containers import messages

THREADS = 6
CROWD = 70  # live containers: no more are started until some have ended
LATE = 12  # trees
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
            "kill": lambda more: self._stop({**more, "force": True}),
            "sweep": lambda _: f"found {lifecycle.sweep().found}",
            "recover": lambda _: f"found {lifecycle.recover().found}",
            "adopt": self._adopt,
            "publish again": self._publish_again,
            "revoke": self._revoke,
        }

    def ask(self, what, more):
        """One operation, not waited for."""
        self._threads.submit(self._operate, what, more)

    def choose(self, more, then):
        """Call `then` with a container of the kind that is wanted; from a thread of ours."""

        def chosen(_):
            then(self._target(more))
            return "ok"

        self._threads.submit(self._operate, "choose", more, chosen)

    def close(self):
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _operate(self, what, more, verb=None):
        began = time.time()
        try:
            said = (verb or self._verbs[what])(more)
        except Exception as error:  # noqa: BLE001 - the library's own and the broker's
            said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        if said != "ok" or verb is None:
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
        how = {"force": True} if more.get("force") else {"grace": more["grace"]}
        report = self._lifecycle.stop(self._target(more).id, reason="chaos", wait=more["wait"], **how)
        return "failed" if report.failed else "ok"

    def _adopt(self, more):
        """A child given to its parent from outside."""
        child = self._lifecycle.start("WORKER", {"plan": CHILD}, parent_container_id=self._target(more).id)
        self._diary.note("acknowledged", id=child.id)
        return "ok"

    def _publish_again(self, more):
        target = self._target(more).id
        with self._lifecycle.database.read() as connection:
            message = messages(connection, [target])[target]
        self._lifecycle.doorbell.publish(target, message)
        return "ok"

    def _revoke(self, more):
        """As somebody who knows only Celery."""
        self._lifecycle.app.control.revoke(self._target(more).id)
        return "ok"

    def _target(self, more):
        """A container of the kind that is wanted, by its index; raises LookupError if there is none."""
        which, index = more["choose"], more["index"]
        root = self._roots[-1 - index % min(len(self._roots), LATE)] if self._roots else ""
        if which == "root":
            return self._lifecycle.get(root)
        found = self._lifecycle.tree(root) if which == "any" else self._executing(which == "stopping")
        if not found:
            raise LookupError("none executes")
        chosen = found[index % len(found)]
        return self._lifecycle.get(chosen.root_id) if which == "root of executing" else chosen

    def _executing(self, stopping):
        """Those that are being stopped, if that is wanted and there are any."""
        live = self._lifecycle.find(status="RUNNING,STOPPING", limit=None)
        found = sorted((each for each in live if each.node is not None), key=lambda each: each.id)
        return (stopping and [each for each in found if each.status == "STOPPING"]) or found

"""Stopping a tree: what would stop, the stop itself, and what came of it."""

from functools import partial
from typing import Any

from lifecycle.domain.pools import KILLABLE, LOOKS, as_option
from lifecycle.errors import LifecycleError
from lifecycle.runtime.app import Lifecycle
from lifecycle.store import containers, previews
from lifecycle.store import stops as store
from lifecycle.store.budget import reading
from lifecycle.store.engine import Connection
from lifecycle.trees import stop as stops
from lifecycle.web import texts
from lifecycle.web.api.handler import STATEMENT, Api
from lifecycle.web.body import Order, read_order
from lifecycle.web.parameters import MAX_LINE
from lifecycle.web.refusal import Refused, as_answers

LISTED = 1_000  # containers in a preview, and in each list of an outcome
RING = 3.0  # seconds that an answer waits for the broker
NO_ANSWER = "the broker has not answered yet: nodes see the stop in the database within a second"


class Stop(Api):
    """POST api/containers/<id>/stop"""

    async def post(self, container_id: str) -> None:
        order = read_order(self.request)
        if order.dry_run:
            self.send(texts.encode(await self.desk.ask(partial(look, self.lifecycle, container_id))))
            return
        wanted = stops.Request(container_id=container_id, by=self.who, reason=order.reason, grace=order.grace)
        marked, target = await self.desk.act(partial(mark, self.lifecycle, wanted, order))
        notes = await self.desk.call_briefly(partial(ring, self.lifecycle, marked, target), RING, [NO_ANSWER])
        self.desk.watch(partial(see_to, self.lifecycle, marked.stop_id))
        self.send(texts.encode({"stop": marked.stop_id, "containers": marked.count, "notes": notes}), 202)


def look(lifecycle: Lifecycle, container_id: str) -> dict[str, Any]:
    """A dry run."""
    with as_answers(), reading(lifecycle.database, STATEMENT) as connection:
        containers.get(connection, container_id)
        return preview(connection, container_id)


def preview(connection: Connection, container_id: str) -> dict[str, Any]:
    """What a stop would end now, in stop order; of a large tree the highest."""
    rows, count = previews.going(connection, container_id, LISTED)
    by_id = {row.id: row for row in rows}
    listed = [
        {"id": each, "type": by_id[each].container_type, "status": by_id[each].status, "depth": by_id[each].depth}
        for each in stops.stop_order(rows)
    ]
    return {"would_stop": listed, "count": count, "left_out": count - len(listed)}


def mark(lifecycle: Lifecycle, wanted: stops.Request, order: Order) -> Any:
    """Mark the tree, unless that marks more than was shown."""
    with as_answers():
        try:
            return stops.mark(lifecycle.database, wanted, partial(_refuse_more, expect=order.expect))
        except Grown:
            now = look(lifecycle, wanted.container_id)
    raise Refused(409, f"The tree has grown: {now['count']:,} containers would stop now.", code="grown", more=now)


class Grown(Exception):
    """More would stop than was shown."""


def _refuse_more(connection: Connection, marked: Any, *, expect: frozenset[str] | int | None) -> None:
    if expect is None:
        return
    is_more = marked.count > (expect if isinstance(expect, int) else len(expect))
    if is_more or (
        not isinstance(expect, int) and any(row.id not in expect for row in store.rows_of(connection, marked.stop_id))
    ):
        raise Grown


def ring(lifecycle: Lifecycle, marked: Any, target: Any) -> list[str]:
    """Wake the nodes; what an operator should know."""
    try:
        notes = list(stops.ring(lifecycle.database, lifecycle.doorbell, marked, target))
        with lifecycle.database.read() as connection:
            pools = store.unkillable(connection, marked.stop_id, KILLABLE)
    except LifecycleError as error:
        return [f"the stop is recorded, but: {error}"]
    for pool, number in pools.items():
        notes.append(f"{number:,} on {as_option(pool)} cannot be killed, and will stop only at the next {LOOKS}")
    return notes


def see_to(lifecycle: Lifecycle, stop_id: int) -> None:
    """Nodes drive a stop; where none lives any more it ends by what a waiting caller does."""
    settings = lifecycle.settings
    stops.watch(
        lifecycle.database, lifecycle.doorbell, stop_id, patience=settings.expires_in + 5, restarts=settings.restarts
    )


class Outcome(Api):
    """GET api/stops/<stop id>"""

    async def get(self, number: str) -> None:
        if not number.isascii() or not number.isdigit() or int(number[:20]) > MAX_LINE:
            raise Refused(404, f"no such stop: {number[:40]}")
        await self.answer(partial(outcome, stop_id=int(number)))


def outcome(connection: Connection, *, stop_id: int) -> dict[str, Any]:
    """How each container of a stop has fared; each list in stop order, and not longer than can be read."""
    asked = store.get(connection, stop_id)
    if asked is None:
        raise Refused(404, f"no such stop: {stop_id}")
    report = stops.outcome(stop_id, asked.container_id, *stops.rows_of(connection, stop_id, asked.container_id))
    lists = {
        "stopped": report.stopped,
        "pending": report.pending,
        "failed": report.failed,
        "already_ended": report.already_ended,
    }
    place = {each: place for place, each in enumerate(report.order)}
    first = {name: sorted(ids, key=lambda each: place.get(each, len(place)))[:LISTED] for name, ids in lists.items()}
    return {
        "stop": stop_id,
        "root": asked.container_id,
        "by": asked.requested_by,
        "reason": asked.reason,
        "grace": asked.grace,
        "requested_at": asked.requested_at,
        "finished_at": asked.finished_at,
        "order": report.order[:LISTED],
        **first,
        "failed": {each: report.failed[each] for each in first["failed"]},
        "counts": {name: len(ids) for name, ids in lists.items()},
        "left_out": len(report.order[LISTED:]),
    }

"""What the page and the API read: the tree, one container, a stop before and after it; how much of it, how fast."""

import json
import re
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from lifecycle.domain.ending import failed
from lifecycle.domain.search import Filters, parse_words
from lifecycle.domain.status import ACTIVE, LIVE, Status
from lifecycle.errors import ContainerNotFound, InvalidArgument, StoreUnreachable
from lifecycle.store import budget, containers, forest, logs, nodes
from lifecycle.store.clock import later, now
from lifecycle.store.tables import assignments, transitions
from lifecycle.store.tables import containers as table
from lifecycle.trees import stop
from tests.integration.conftest import request_for

pytest.importorskip("flower")

from lifecycle.web import tally as web_tally
from lifecycle.web.api import containers as web_containers
from lifecycle.web.api import stops as web_stops
from lifecycle.web.api import trees as web_trees
from lifecycle.web.api.containers import dossier, listed
from lifecycle.web.api.logs import lines
from lifecycle.web.api.stops import mark, outcome, preview
from lifecycle.web.api.trees import children, grown
from lifecycle.web.body import Order
from lifecycle.web.refusal import Refused
from lifecycle.web.tally import Tally

MOST = 300_000  # bytes of a first answer
ODD = ["<script>alert(1)</script>", "a/b", "q\"uo'te", "per%cent_", "ümläut-☃", "back\\slash", "a b"]


@contextmanager
def counted(grove):
    """The statements that go to the database meanwhile."""
    said = []
    sa.event.listen(grove.database.engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    yield said


def reader_of(grove):
    """As the API reads."""
    return lambda: budget.reading(grove.database, 4)


def tree(grove, q="", limit=200, tally=None, **asked):
    filters = Filters(**{"statuses": ACTIVE, **asked, "words": parse_words(q)})
    return json.loads(grown(reader_of(grove), tally=tally or Tally(), filters=filters, limit=limit))


def found_of(grove, container_id):
    return dossier(reader_of(grove), tally=Tally(), container_id=container_id)


def names(rows):
    """What is shown, as nested names; `(a)` is there only for what is below it."""
    return [shown(each) for each in rows]


def shown(row):
    name = row["id"] if row.get("matches", True) else f"({row['id']})"
    return (name, names(row["shown"])) if "shown" in row else name


@pytest.fixture
def wood(grove):
    """Two trees at work, and one that has ended."""
    grove.run("old")
    grove.run("coord", tags={"operation": "Arbitrage"})
    grove.run("worker-1", "coord", tags={"ship": "TOR-1"}, player_id=None)
    grove.run("worker-2", "coord", tags={"ship": "TOR-2"})
    grove.spawn("worker-3", "coord")
    grove.run("part", "worker-2")
    grove.run("gone")
    grove.end("gone", failed("ValueError: no fuel\nmore"))
    return grove


def test_the_tree_holds_what_lives_newest_first_and_counts_the_rest(wood):
    found = tree(wood)
    assert names(found["roots"]) == [("coord", ["worker-1", ("worker-2", ["part"]), "(worker-3)"]), "old"]
    assert found["more"] is False
    assert found["counts"] == {
        **dict.fromkeys(Status, 0),
        "RUNNING": 5,
        "PENDING": 1,
        "FAILED": 1,
    }
    coordinator = found["roots"][0]
    assert coordinator["children"] == {"PENDING": 1, "RUNNING": 2}
    assert coordinator["tags"] == {"operation": "Arbitrage"}
    assert coordinator["shown"][2]["why"] == "queued"


@pytest.mark.parametrize(
    ("q", "roots"),
    [
        ("worker-2", [("(coord)", ["worker-2"])]),
        ("WORKER-2", [("(coord)", ["worker-2"])]),
        ("part", [("(coord)", [("(worker-2)", ["part"])])]),
        ("ship:tor-1", [("(coord)", ["worker-1"])]),
        ("tag:ship=TOR", [("(coord)", ["worker-1", ("worker-2", ["part"])])]),
        ("ship:TOR -worker-1 -part", [("(coord)", ["worker-2"])]),
        ("-operation:arb", ["old"]),
        ("tag:operation= -worker -part", ["coord"]),
        ("work coord", ["coord"]),
        ("%", []),
        ("_art", []),
        ("nothing", []),
    ],
)
def test_a_search_shows_what_fits_and_the_way_to_it(wood, q, roots):
    found = tree(wood, q)
    assert names(found["roots"]) == roots


def test_filters_narrow_the_tree_and_its_counts(wood):
    found = tree(wood, statuses=(Status.FAILED,))
    assert names(found["roots"]) == ["gone"]
    assert found["roots"][0]["error"] == "ValueError: no fuel"
    assert found["counts"]["RUNNING"] == 5
    assert names(tree(wood, statuses=None)["roots"]) == [
        "gone",
        ("coord", ["worker-1", ("worker-2", ["part"]), "worker-3"]),
        "old",
    ]
    assert names(tree(wood, tags=(("ship", "TOR-2"),))["roots"]) == [("(coord)", [("worker-2", ["part"])])]
    assert tree(wood, container_type="OTHER")["roots"] == []
    assert tree(wood, player_id=7)["counts"] == dict.fromkeys(Status, 0)


def test_the_newest_trees_are_shown_and_the_others_counted(wood):
    found = tree(wood, limit=1)
    assert [row["id"] for row in found["roots"]] == ["coord"]
    assert found["more"] == 1


def test_of_very_many_that_have_ended_no_tree_is_missed(grove, monkeypatch):
    monkeypatch.setattr(forest, "NEWEST", (3, 100))
    for name in ("lone-1", "lone-2", "crowd", "lone-3"):
        grove.run(name)
    for n in range(6):
        grove.run(f"part-{n}", "crowd")
        grove.end(f"part-{n}", failed("no"))
    for name in ("lone-1", "lone-2", "lone-3", "crowd"):
        grove.end(name, failed("no"))
    asked = {"statuses": (Status.FAILED,)}
    for limit, tops, more in [
        (200, ["lone-3", "crowd", "lone-2", "lone-1"], False),
        (3, ["lone-3", "crowd", "lone-2"], 1),
        (1, ["lone-3"], 3),
    ]:
        found = tree(grove, limit=limit, **asked)
        assert ([row["id"] for row in found["roots"]], found["more"]) == (tops, more)
    assert [row["id"] for row in tree(grove, "lone", **asked)["roots"]] == ["lone-3", "lone-2", "lone-1"]
    monkeypatch.setattr(forest, "NEWEST", (2, 3))
    found = tree(grove, **asked)
    assert ([row["id"] for row in found["roots"]], found["more"]) == (["crowd"], 1)  # not all, and that is said


def test_what_only_lives_below_what_fits_is_not_said_to_fit(wood):
    assert names(tree(wood, statuses=(Status.RUNNING,))["roots"]) == names(tree(wood)["roots"])
    wood.mark("worker-2")
    running = tree(wood, statuses=(Status.RUNNING,))["roots"][0]
    assert names([running]) == [("coord", ["worker-1", ("(worker-2)", ["(part)"]), "(worker-3)"])]
    stopping = tree(wood, statuses=tuple(LIVE))["roots"][0]
    assert names([stopping]) == [("coord", ["worker-1", ("worker-2", ["part"]), "worker-3"])]


def test_what_is_below_the_tops_has_its_room_however_many_tops_there_are(grove, monkeypatch):
    monkeypatch.setattr(forest, "ROWS", 2)
    for n in range(3):
        grove.run(f"top-{n}")
        grove.run(f"below-{n}", f"top-{n}")
    assert sum("shown" in row for row in tree(grove)["roots"]) == 2


def test_what_has_ended_is_not_counted_again_at_once(wood, monkeypatch):
    monkeypatch.setattr(web_tally, "GOOD_FOR", 1e6)
    tally, reader = Tally(), reader_of(wood)
    first, children = tally.add_ended(reader, Filters(), {}), tally.add_ended_children(reader, ["coord", "old"], {})
    with counted(wood) as said:
        assert tally.add_ended(reader, Filters(), {}) == first
        assert tally.add_ended_children(reader, ["old", "coord"], {}) == children
        assert said == []
        assert tally.add_ended(reader, Filters(player_id=7), {})["FAILED"] == 0
        assert said != []


def test_a_child_that_lives_below_ended_ones_is_shown_with_the_way_to_it(grove):
    top = grove.run("top")
    middle = grove.run("middle", top)
    grove.run("left", middle, detached=True)
    grove.end("middle")
    grove.end("top")
    assert grove.status("top", "middle", "left") == ["COMPLETED", "COMPLETED", "RUNNING"]
    assert names(tree(grove)["roots"]) == [("(top)", [("(middle)", ["left"])])]


def test_many_children_are_folded_unless_they_are_searched_for(grove):
    grove.run("coord")
    for n in range(forest.FEW + 1):
        grove.spawn(f"worker-{n:02}", "coord")
    assert names(tree(grove)["roots"]) == ["coord"]
    found = tree(grove, "worker-1", statuses=None)
    assert names(found["roots"]) == [("(coord)", [f"worker-1{n}" for n in range(10)])]


def test_a_tree_of_any_depth_is_shown_as_far_as_is_worth_it(grove):
    deep = 300
    links = [{"id": f"c-{n:03}", "root_id": "c-000", "depth": n, "status": "RUNNING"} for n in range(deep)]
    grove.plant([{**link, "parent_container_id": f"c-{n - 1:03}" if n else None} for n, link in enumerate(links)])
    row, depth = tree(grove)["roots"][0], 0
    while "shown" in row:
        row, depth = row["shown"][0], depth + 1
    assert depth == forest.LEVELS
    assert row["children"] == {"RUNNING": 1}
    assert tree(grove, f"c-{deep - 1}")["roots"][0]["id"] == "c-000"


def test_what_no_node_holds_is_stale(grove):
    grove.register("node-2")
    grove.run("held")
    grove.spawn("lost")
    grove.claim("lost", node="node-2")
    grove.spawn("waiting")
    stale = lambda: {row["id"] for row in tree(grove, statuses=None)["roots"] if "stale" in row}  # noqa: E731
    assert stale() == set()
    grove.silence("node-2")
    assert stale() == {"lost"}
    with grove.database.begin() as connection:
        nodes.declare_dead(connection)
    assert stale() == {"lost"}
    grove.edit("lost", node="node-3")
    assert stale() == {"lost"}
    grove.mark("held")
    assert stale() == {"lost"}
    grove.edit("held", stop_deadline=later(now(), -4))
    assert stale() == {"held", "lost"}


@pytest.mark.parametrize("name", ODD)
def test_any_id_and_tag_is_found_and_told(grove, name):
    grove.run(name, tags={name: name})
    assert names(tree(grove, f'"{name}"'.replace('q"uo', "uo"))["roots"]) == [name]
    assert tree(grove, tags=((name, name),))["roots"][0]["tags"] == {name: name}
    assert found_of(grove, name)["id"] == name


def test_pages_of_a_list_hold_each_container_once(grove):
    grove.plant([{"id": f"c-{n}", "root_id": f"c-{n}"} for n in range(7)])  # all of one time
    grove.spawn("newest")
    found, before = [], None
    while True:
        page = listed(reader_of(grove), tally=Tally(), filters=Filters(), limit=3, before=before)
        found += [each["id"] for each in page["containers"]]
        if not page["more"]:
            break
        before = found[-1]
    assert found == ["newest", *(f"c-{n}" for n in range(7))]
    with pytest.raises(InvalidArgument, match="no container 'c-99'"):
        listed(reader_of(grove), tally=Tally(), filters=Filters(), limit=3, before="c-99")


def test_children_come_oldest_first_a_page_at_a_time(wood):
    asked = {"status": None, "limit": 2, "after": None}
    ask = partial(children, reader_of(wood), tally=Tally())
    first = ask(container_id="coord", query=asked)
    second = ask(container_id="coord", query={**asked, "after": "worker-2"})
    pending = ask(container_id="coord", query={**asked, "status": (Status.PENDING,)})
    with pytest.raises(ContainerNotFound):
        ask(container_id="none", query=asked)
    assert [names(first["children"]), first["more"]] == [["worker-1", "worker-2"], 1]
    assert first["children"][1]["children"] == {"RUNNING": 1}
    assert [names(second["children"]), second["more"]] == [["worker-3"], False]
    assert names(pending["children"]) == ["worker-3"]


def test_one_container_is_told_in_full(wood):
    wood.run("holder", "part", resources=("ship:X",), message={"args": [1], "kwargs": {}, "options": {}})
    wood.mark("holder", by="alice@flower", reason="why")
    found = found_of(wood, "holder")
    with pytest.raises(ContainerNotFound):
        found_of(wood, "none")
    assert [each["id"] for each in found["path"]] == ["coord", "worker-2", "part"]
    assert [each["resource"] for each in found["assignments"]] == ["ship:X"]
    assert [(each["to_status"], each["by"]) for each in found["history"]][-1] == ("STOPPING", "alice@flower")
    assert found["history"][-1]["stop_id"] == found["stop_id"]
    assert found["arguments"] == {"args": "[1]", "kwargs": "{}"}
    assert found["why"].startswith("asked to end, killed at ")
    assert (found["stale"], found["logs"], found["children"]) == (False, False, {})


def test_logs_are_of_one_or_of_all_below_it(wood):
    with wood.database.begin() as connection:
        at = connection.execute(sa.select(now())).scalar_one()
        said = {"epoch": 1, "at": at, "logger": "l", "level": "INFO", "count": 1}
        logs.append(connection, [{**said, "container_id": each, "message": each} for each in ("coord", "part", "old")])
    asked = {"after": 0, "tail": None, "level": None, "limit": 10, "with_children": False}
    with wood.database.read() as connection:
        own = lines(connection, container_id="coord", query=asked)
        both = lines(connection, container_id="coord", query={**asked, "with_children": True})
        none = lines(connection, container_id="coord", query={**asked, "after": own["last"]})
    assert found_of(wood, "coord")["logs"] is True
    assert [line["message"] for line in own["lines"]] == ["coord"]
    assert [line["message"] for line in both["lines"]] == ["coord", "part"]
    assert none == {"lines": [], "last": own["last"]}


def test_a_preview_is_what_a_stop_stops_and_in_that_order(wood):
    wood.run("aside", "coord", detached=True)
    wood.run("below-aside", "aside")
    with wood.database.read() as connection:
        shown = preview(connection, "coord")
    assert [each["id"] for each in shown["would_stop"]] == ["worker-1", "part", "worker-2", "worker-3", "coord"]
    assert (shown["count"], shown["left_out"]) == (5, 0)
    marked = wood.mark("coord", by="bob@flower", reason="enough")
    with wood.database.read() as connection:
        told = outcome(connection, stop_id=marked.stop_id)
        with pytest.raises(Refused):
            outcome(connection, stop_id=marked.stop_id + 1)
    assert list(told["order"]) == [each["id"] for each in shown["would_stop"]]
    assert (told["by"], told["reason"], told["root"]) == ("bob@flower", "enough", "coord")
    assert list(told["stopped"]) == ["worker-3"]
    assert set(told["pending"]) == {"worker-1", "part", "worker-2", "coord"}


def test_a_preview_has_what_lost_its_parent_too(wood):
    wood.edit("worker-2", status="STOPPED")
    with wood.database.read() as connection:
        shown = preview(connection, "coord")
    assert [each["id"] for each in shown["would_stop"]] == ["worker-1", "worker-3", "coord", "part"]
    assert wood.mark("coord").count == shown["count"]


def test_a_preview_of_what_has_ended_is_empty(wood):
    with wood.database.read() as connection:
        assert preview(connection, "gone") == {"would_stop": [], "count": 0, "left_out": 0}


ALL = frozenset({"coord", "worker-1", "worker-2", "worker-3", "part"})


def order_stop(grove, expect):
    return mark(grove, request_for("coord"), Order(expect=expect))


@pytest.mark.parametrize("expect", [ALL - {"part"} | {"another"}, ALL - {"part"}, frozenset(), 4, 0])
def test_a_stop_of_more_than_was_shown_stops_nothing(wood, expect):
    before = wood.status(*ALL)
    with pytest.raises(Refused) as refused:
        order_stop(wood, expect)
    assert (refused.value.status_code, refused.value.code, refused.value.more["count"]) == (409, "grown", 5)
    assert wood.status(*ALL) == before
    with wood.database.read() as connection, pytest.raises(Refused):
        outcome(connection, stop_id=1)


@pytest.mark.parametrize("expect", [ALL, ALL | {"ended since"}, 5, 6, None])
def test_a_stop_of_what_was_shown_stops_it(wood, expect):
    assert order_stop(wood, expect)[0].count == 5


@pytest.mark.parametrize("expect", [ALL, 5])
def test_a_child_of_the_last_moment_is_not_stopped_unseen(wood, monkeypatch, expect):
    known = stop.mark

    def late(*given):
        wood.spawn("late", "coord")
        return known(*given)

    monkeypatch.setattr(stop, "mark", late)
    with pytest.raises(Refused, match="6 containers would stop now"):
        order_stop(wood, expect)
    assert wood.status("late", "coord") == ["PENDING", "RUNNING"]


def test_of_a_large_stop_the_first_are_listed_and_all_counted(wood, monkeypatch):
    marked = wood.mark("coord")
    with wood.database.read() as connection:
        full = outcome(connection, stop_id=marked.stop_id)
        monkeypatch.setattr(web_stops, "LISTED", 2)
        part = outcome(connection, stop_id=marked.stop_id)
    assert full["counts"] == part["counts"] == {"stopped": 1, "pending": 4, "failed": 0, "already_ended": 0}
    assert (full["left_out"], part["left_out"]) == (0, 3)
    assert list(part["order"]) == list(full["order"][:2]) == ["worker-1", "part"]
    assert part["pending"] == ["worker-1", "part"]  # what is listed is in the list of its state
    wood.edit("part", stop_error="it hangs")
    with wood.database.read() as connection:
        assert outcome(connection, stop_id=marked.stop_id)["failed"] == {"part": "it hangs"}


def test_a_container_that_is_pruned_meanwhile_is_none(wood, monkeypatch):
    def pruned(connection, container_id):
        found = containers.get(connection, container_id)
        with wood.database.begin() as another:
            another.execute(transitions.delete().where(transitions.c.container_id == container_id))
            another.execute(table.delete().where(table.c.id == container_id))
        return found

    monkeypatch.setattr(web_containers, "containers", SimpleNamespace(get=pruned))
    with pytest.raises(ContainerNotFound):
        found_of(wood, "gone")


def test_of_a_long_history_the_latest_is_told(wood):
    added = web_containers.LATEST + 1
    with wood.database.begin() as connection:
        at = connection.execute(sa.select(now())).scalar_one()
        row = {"container_id": "old", "at": at, "from_status": "RUNNING", "to_status": "RUNNING", "epoch": 1}
        connection.execute(transitions.insert(), [{**row, "why": str(n)} for n in range(added)])
        held = {"container_id": "old", "assigned_at": at, "released_at": at}
        connection.execute(assignments.insert(), [{**held, "resource": str(n)} for n in range(added)])
    found = found_of(wood, "old")
    assert [each["why"] for each in found["history"]] == [str(n) for n in range(1, added)]
    assert [each["resource"] for each in found["assignments"]] == [str(n) for n in range(1, added)]
    assert found["more"] == {"assignments": True, "history": True}
    assert found_of(wood, "coord")["more"] == {"assignments": False, "history": False}


def test_an_answer_has_its_bounds_whatever_the_rows_hold(wood, monkeypatch):
    wood.edit("coord", stop_error="x" * 100_000)
    assert len(tree(wood)["roots"][0]["why"]) < 250
    monkeypatch.setattr(web_trees, "MOST", 300)
    found = tree(wood)
    assert ([row["id"] for row in found["roots"]], found["more"]) == (["coord"], 1)


SLOW = {
    "postgresql": "SELECT pg_sleep(20)",
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s",
}


LONG = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000) SELECT count(*) FROM s"


def test_a_statement_that_takes_too_long_is_given_up(grove):
    with pytest.raises(StoreUnreachable), budget.reading(grove.database, 0.2) as connection:
        connection.execute(sa.text(SLOW[grove.database.dialect]))
    with grove.database.read() as connection:  # and the next on that connection is not
        assert connection.execute(sa.text(LONG)).scalar_one() == 100_000


@pytest.mark.parametrize("name", ["count_ended", "ended_children"])
def test_a_count_that_takes_too_long_leaves_the_tree_and_is_not_tried_again_at_once(wood, monkeypatch, name):
    count, tally = getattr(forest, name), Tally()
    wood.run("done", "coord")
    wood.end("done", failed("no"))
    tried = []

    def slow(connection, *given):
        tried.append(given)
        connection.execute(sa.text(SLOW[wood.database.dialect]))

    def look(filters):
        reader = partial(budget.reading, wood.database, 0.5)
        return json.loads(grown(reader, tally=tally, filters=filters, limit=200))

    monkeypatch.setattr(forest, name, slow)
    for _ in range(2):
        found = look(Filters(statuses=ACTIVE))
        assert [row["id"] for row in found["roots"]] == ["coord", "old"]
        assert found["counts"]["RUNNING"] == 5
        assert found["counts"]["FAILED"] == (None if name == "count_ended" else 2)
        ended = {} if name == "ended_children" else {"FAILED": 1}
        assert found["roots"][0]["children"] == {"PENDING": 1, "RUNNING": 2, **ended}
    assert len(tried) == 1
    monkeypatch.setattr(forest, name, count)
    monkeypatch.setattr(web_tally, "GOOD_FOR", -1e9)
    assert tree(wood, tally=Tally())["counts"]["FAILED"] == 2
    assert tree(wood)["roots"][0]["children"]["FAILED"] == 1


def test_a_count_that_fails_is_told_as_it_was(wood, monkeypatch):
    monkeypatch.setattr(web_tally, "GOOD_FOR", 0)
    tally = Tally()
    first = tree(wood, tally=tally)
    slow = lambda connection, *_: connection.execute(sa.text(SLOW[wood.database.dialect]))  # noqa: E731
    for name in ("count_ended", "ended_children"):
        monkeypatch.setattr(forest, name, slow)
    reader = partial(budget.reading, wood.database, 0.5)
    assert json.loads(grown(reader, tally=tally, filters=Filters(statuses=ACTIVE), limit=200)) == first


def test_ended_children_are_not_read_at_each_look(grove, monkeypatch):
    top = {"id": "top", "root_id": "top", "parent_container_id": None, "depth": 0, "status": "RUNNING"}
    below = {"root_id": "top", "parent_container_id": "top", "depth": 1}
    gone = [{**below, "id": f"e-{n}", "status": "COMPLETED"} for n in range(30_000)]
    grove.plant([top, *gone, {**below, "id": "live", "status": "RUNNING"}])
    with grove.database.begin() as connection:
        connection.execute(sa.text("ANALYZE"))
    tally = Tally()
    monkeypatch.setattr(web_tally, "GOOD_FOR", 1e6)
    first = tree(grove, tally=tally)
    assert first["roots"][0]["children"] == {"RUNNING": 1, "COMPLETED": 30_000}
    assert names(first["roots"]) == [("top", ["live"])]
    with counted(grove) as said:
        assert tree(grove, tally=tally) == first
    counts = [each for each in said if "count(" in each]
    assert counts
    assert all("'RUNNING'" in each and "'COMPLETED'" not in each for each in counts), counts
    assert names(tree(grove, statuses=None)["roots"]) == ["top"]  # too many to be shown with it


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def forest_of_10_000(request, planted_grove):
    """500 trees of 20, with tags."""
    grove = planted_grove(request.param)
    usual = {"status": "RUNNING", "node": "node-1", "parent_container_id": None, "depth": 0}
    tops = [{**usual, "id": f"coordinator-{n:04}", "root_id": f"coordinator-{n:04}"} for n in range(500)]
    workers = [
        {
            **usual,
            "id": f"{top['id']}-worker-{n:02}",
            "root_id": top["id"],
            "parent_container_id": top["id"],
            "depth": 1,
        }
        for top in tops
        for n in range(19)
    ]
    grove.plant([*tops, *workers])
    with grove.database.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO container_tags SELECT id, 'operation', 'arbitrage-in-sector-' || id FROM containers")
        )
        connection.execute(sa.text("ANALYZE"))
    yield grove
    grove.database.dispose()


@pytest.mark.parametrize("q", ["", "worker", "operation:arb", "coordinator-0100"])
def test_ten_thousand_live_containers_are_a_small_answer_in_few_statements(forest_of_10_000, q):
    with counted(forest_of_10_000) as said:
        filters = Filters(statuses=ACTIVE, words=parse_words(q))
        body = grown(reader_of(forest_of_10_000), tally=Tally(), filters=filters, limit=200)
    assert len(body) <= MOST
    assert len(said) <= 14
    found = json.loads(body)
    assert found["counts"]["RUNNING"] == (20 if q == "coordinator-0100" else 9_500 if q == "worker" else 10_000)
    assert found["more"] == (False if q == "coordinator-0100" else 300)
    assert len(re.findall(r'"id":', body.decode())) <= 2 * forest.ROWS


def test_a_stop_of_ten_thousand_is_shown_in_part(grove):
    top = {"id": "top", "root_id": "top", "parent_container_id": None, "depth": 0}
    below = [{"id": f"w-{n}", "root_id": "top", "parent_container_id": "top", "depth": 1} for n in range(10_000)]
    grove.plant([top, *below])
    with grove.database.read() as connection:
        shown = preview(connection, "top")
    assert (shown["count"], shown["left_out"], len(shown["would_stop"])) == (10_001, 9_001, 1_000)
    assert shown["would_stop"][-1]["id"] == "top"

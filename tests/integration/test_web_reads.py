"""What the page and the API read: the tree, one container, a stop before and after it; how much of it, how fast."""

import json
import re
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from lifecycle.domain.ending import failed
from lifecycle.domain.search import Filters, parse_words
from lifecycle.domain.status import ACTIVE, Status
from lifecycle.errors import ContainerNotFound, InvalidArgument, StoreUnreachable
from lifecycle.store import budget, forest, logs, nodes, previews
from lifecycle.store.clock import later, now

pytest.importorskip("flower")

from lifecycle.web import tally as web_tally
from lifecycle.web.api.containers import dossier, listed
from lifecycle.web.api.logs import lines
from lifecycle.web.api.stops import outcome, preview
from lifecycle.web.api.trees import children, grown
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


def tree(grove, q="", limit=200, **asked):
    filters = Filters(**{"statuses": ACTIVE, **asked, "words": parse_words(q)})
    with budget.reading(grove.database, 4) as connection:
        return json.loads(grown(connection, tally=Tally(), filters=filters, limit=limit))


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
    assert names(found["roots"]) == [("coord", ["worker-1", ("worker-2", ["part"]), "worker-3"]), "old"]
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


def test_of_very_many_that_have_ended_the_newest_are_looked_at(wood, monkeypatch):
    monkeypatch.setattr(forest, "NEWEST", 2)
    found = tree(wood, statuses=None, container_type="WORK", limit=1)
    assert (len(found["roots"]), found["more"]) == (1, 1)


def test_what_has_ended_is_not_counted_again_at_once(wood, monkeypatch):
    monkeypatch.setattr(web_tally, "GOOD_FOR", 1e6)
    tally = Tally()
    with counted(wood) as said, wood.database.read() as connection:
        first = tally.read(connection, Filters())
        begun = len(said)
        assert tally.read(connection, Filters()) == first
        assert len(said) == begun + 1
        assert tally.read(connection, Filters(player_id=7))["FAILED"] == 0


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
    with grove.database.read() as connection:
        assert dossier(connection, container_id=name)["id"] == name


def test_pages_of_a_list_hold_each_container_once(grove):
    grove.plant([{"id": f"c-{n}", "root_id": f"c-{n}"} for n in range(7)])  # all of one time
    grove.spawn("newest")
    found, before = [], None
    while True:
        with grove.database.read() as connection:
            page = listed(connection, tally=Tally(), filters=Filters(), limit=3, before=before)
        found += [each["id"] for each in page["containers"]]
        if not page["more"]:
            break
        before = found[-1]
    assert found == ["newest", *(f"c-{n}" for n in range(7))]
    with grove.database.read() as connection, pytest.raises(InvalidArgument, match="no container 'c-99'"):
        listed(connection, tally=Tally(), filters=Filters(), limit=3, before="c-99")


def test_children_come_oldest_first_a_page_at_a_time(wood):
    asked = {"status": None, "limit": 2, "after": None}
    with wood.database.read() as connection:
        first = children(connection, container_id="coord", query=asked)
        second = children(connection, container_id="coord", query={**asked, "after": "worker-2"})
        pending = children(connection, container_id="coord", query={**asked, "status": (Status.PENDING,)})
        with pytest.raises(ContainerNotFound):
            children(connection, container_id="none", query=asked)
    assert [names(first["children"]), first["more"]] == [["worker-1", "worker-2"], 1]
    assert first["children"][1]["children"] == {"RUNNING": 1}
    assert [names(second["children"]), second["more"]] == [["worker-3"], False]
    assert names(pending["children"]) == ["worker-3"]


def test_one_container_is_told_in_full(wood):
    wood.run("holder", "part", resources=("ship:X",), message={"args": [1], "kwargs": {}, "options": {}})
    wood.mark("holder", by="alice@flower", reason="why")
    with wood.database.read() as connection:
        found = dossier(connection, container_id="holder")
        with pytest.raises(ContainerNotFound):
            dossier(connection, container_id="none")
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
        assert dossier(connection, container_id="coord")["logs"] is True
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


def test_a_tree_that_grew_is_noticed(wood):
    known = frozenset({"coord", "worker-1", "worker-2", "worker-3", "part"})
    with wood.database.read() as connection:
        assert not previews.beyond(connection, "coord", known)
        assert not previews.beyond(connection, "coord", known | {"ended since"})
        assert previews.beyond(connection, "coord", known - {"part"} | {"another"})
        assert previews.beyond(connection, "coord", known - {"part"})


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
    with counted(forest_of_10_000) as said, budget.reading(forest_of_10_000.database, 4) as connection:
        filters = Filters(statuses=ACTIVE, words=parse_words(q))
        body = grown(connection, tally=Tally(), filters=filters, limit=200)
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

"""Ten thousand live containers: small answers, and a page that is soon there."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.store.tables import container_tags, containers
from tests.acceptance.world import eventually

ROOTS, EACH = 800, 9
FIRST, AGAIN = 300_000, 50_000  # bytes
SOON = 5.0  # seconds: a bound for a loaded machine, no measure


@pytest.fixture(scope="module")
def crowd(still_world, still_site):
    """A Flower on 800 coordinators of nine workers each, and one of two thousand."""
    with still_world.lifecycle.database.begin() as connection:
        rows = list(trees())
        for first in range(0, len(rows), 500):
            connection.execute(containers.insert(), rows[first : first + 500])
        tags = [{"container_id": row["id"], "key": "operation", "value": "mining"} for row in rows if not row["depth"]]
        connection.execute(container_tags.insert(), tags)
    return still_site


def trees():
    for number in range(ROOTS):
        root = f"mining-coordinator-{number:04}"
        yield row(root, None, number)
        for child in range(EACH):
            yield row(f"mining-worker-{number:04}-{child}", root, number)
    yield row("the-large-one", None, ROOTS + 1)
    for child in range(2_000):
        yield row(f"of-the-large-one-{child:04}", "the-large-one", ROOTS + 1)

    yield row("above", None, ROOTS + 2)
    yield row("between", "above", ROOTS + 2)
    for child in range(25):
        yield {**row(f"below-{child:02}", "between", ROOTS + 2), "root_id": "above", "depth": 2}


def row(name, parent, second):
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    return {
        "id": name,
        "container_type": "WORKER" if parent else "COORDINATOR",
        "status": "RUNNING",
        "parent_container_id": parent,
        "root_id": parent or name,
        "depth": 1 if parent else 0,
        "wake_at": datetime(2036, 1, 1, tzinfo=UTC),
        "created_at": at,
        "started_at": at,
        "updated_at": at,
    }


def test_ten_thousand_rows_are_small_answers_and_soon_on_the_screen(crowd, new_visitor, capsys):
    visitor = new_visitor(crowd)
    page, asked = visitor.page, []
    visitor.open("/container-services")
    page.on("requestfinished", lambda request: "/api/containers/tree" in request.url and asked.append(request))
    began = time.monotonic()
    page.goto("/containers")
    visitor.row("the-large-one").wait_for()
    seconds = time.monotonic() - began
    eventually("polls", lambda: page.wait_for_timeout(200) or len(asked) >= 4)
    sizes = [request.sizes()["responseBodySize"] for request in asked]
    with capsys.disabled():
        print(f"\n10,000 rows: {sizes[0]:,} bytes, again {max(sizes[1:]):,}; drawn after {seconds:.2f} s")
    assert sizes[0] <= FIRST
    assert max(sizes[1:]) <= AGAIN
    assert seconds < SOON


def test_they_are_folded_and_a_large_group_comes_in_steps(crowd, new_visitor):
    visitor = new_visitor(crowd)
    visitor.open()
    visitor.row("the-large-one").wait_for()
    assert len(visitor.rows()) == 200, "so many trees, all folded"
    assert "2,000 running" in visitor.row("the-large-one").inner_text()
    visitor.row("the-large-one").locator("button.c-fold").click()
    visitor.row("of-the-large-one-0199").wait_for()
    assert visitor.row("of-the-large-one-0200").count() == 0
    visitor.page.get_by_role("button", name="Show 1,800 running").click()
    visitor.row("of-the-large-one-0399").wait_for()
    visitor.row("the-large-one").locator("button.c-fold").click()
    visitor.page.locator("#containers-more").click()
    eventually("more trees", lambda: len(visitor.rows()) == 400)


def test_one_of_ten_thousand_is_found(crowd, new_visitor):
    visitor = new_visitor(crowd)
    visitor.open()
    visitor.page.get_by_role("searchbox").fill("mining-worker-0007-3")
    eventually("found", lambda: visitor.rows() == ["mining-coordinator-0007", "mining-worker-0007-3"])


def test_beyond_a_thousand_children_come_the_next_instead(crowd, new_visitor):
    visitor = new_visitor(crowd)

    def shown():
        return [each for each in visitor.rows() if each.startswith("of-the-large-one")]

    visitor.open()
    visitor.row("the-large-one").locator("button.c-fold").click()
    for left in ("1,800", "1,600", "1,400", "1,200", "1,000"):
        visitor.page.get_by_role("button", name=f"Show {left} running").click()
    visitor.row("of-the-large-one-1999").wait_for()
    assert shown() == [f"of-the-large-one-{number}" for number in range(1_000, 2_000)]
    visitor.page.get_by_role("button", name="Show the 1,000 before").click()
    visitor.row("of-the-large-one-0000").wait_for()
    assert shown() == [f"of-the-large-one-{number:04}" for number in range(1_000)]


def test_nobody_asks_for_children_that_nobody_sees(crowd, new_visitor):
    visitor = new_visitor(crowd)
    page, asked = visitor.page, []
    page.on("request", lambda request: "/children" in request.url and asked.append(request.url))

    def is_quiet():
        """For a whole poll, once the look has ended that was under way."""
        for _ in range(2):
            with page.expect_response(lambda answer: "/containers/tree" in answer.url):
                asked.clear()
        return not asked

    visitor.open()
    for name in ("above", "between"):
        visitor.row(name).locator("button.c-fold").click()
    visitor.row("below-24").wait_for()
    assert not is_quiet()
    visitor.row("above").locator("button.c-fold").click()
    eventually("folded, they are not asked for", is_quiet)
    visitor.row("above").locator("button.c-fold").click()
    visitor.row("below-24").wait_for()
    page.get_by_role("searchbox").fill("mining-worker-0007-3")
    eventually("found", lambda: visitor.rows() == ["mining-coordinator-0007", "mining-worker-0007-3"])
    eventually("elsewhere, they are not asked for", is_quiet)


def test_children_that_cannot_be_read_keep_nothing_else_waiting(crowd, still_world, new_visitor):
    visitor = new_visitor(crowd)
    visitor.expected.append("503")
    visitor.open()
    busy = {"error": {"code": "database_unreachable", "message": "The database is busy"}}
    visitor.page.route("**/children?*", lambda route: route.fulfill(status=503, json=busy))
    visitor.row("the-large-one").locator("button.c-fold").click()
    visitor.page.get_by_text("Database unreachable").wait_for()
    with still_world.lifecycle.database.begin() as connection:
        connection.execute(containers.insert(), row("a-newer-one", None, ROOTS + 3))
    visitor.row("a-newer-one").wait_for()
    visitor.page.unroute("**/children?*")
    visitor.row("of-the-large-one-0199").wait_for()
    visitor.live()


def test_a_stop_of_more_than_a_thousand_names_a_thousand_and_counts_all(crowd, still_world, new_visitor):
    rows = [row("sold", None, ROOTS + 4), *(row(f"sold-{number:04}", "sold", ROOTS + 4) for number in range(1_200))]
    with still_world.lifecycle.database.begin() as connection:
        connection.execute(containers.insert(), [{**each, "status": "PENDING", "started_at": None} for each in rows])
    visitor = new_visitor(crowd)
    visitor.open("/containers?status=PENDING&q=sold")
    visitor.row("sold").locator(".c-stop").click()
    dialog = visitor.page.locator("dialog[open]")
    dialog.get_by_role("button", name="Stop 1,201 containers").click()
    dialog.get_by_role("heading", name="Stopped").wait_for()
    assert "1,201 stopped" in dialog.get_by_role("status").inner_text()
    assert dialog.locator("[data-outcome]").count() == 1_000
    assert dialog.locator("[data-outcome=waiting], [data-outcome=stopping]").count() == 0

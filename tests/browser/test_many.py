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

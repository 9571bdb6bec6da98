"""What is shown of rows that nobody touches: a lost container, and Docker services."""

from datetime import UTC, datetime

from lifecycle.store.tables import container_logs, containers, docker_actions, docker_services
from tests.acceptance.world import eventually

AT = datetime(2026, 1, 1, 12, 30, 15, tzinfo=UTC)
BAD = "<img src=x onerror=alert(1)>"


def test_a_container_whose_node_is_gone_is_stale(still_world, still_site, new_visitor):
    times = dict.fromkeys(("created_at", "started_at", "updated_at"), AT)
    named = {"id": "left-behind", "root_id": "left-behind", "container_type": "WORKER"}
    row = {**named, "status": "RUNNING", "node": "gone@nowhere-00000000", "epoch": 1, **times}
    with still_world.lifecycle.database.begin() as connection:
        connection.execute(containers.insert(), row)
    visitor = new_visitor(still_site)
    visitor.open("/containers?q=left-behind")
    visitor.row("left-behind").locator(".c-stale").wait_for()
    assert "gone@nowhere" in visitor.row("left-behind").inner_text()
    visitor.open("/containers/left-behind")
    visitor.page.locator("#container-status .c-stale").wait_for()


def test_services_are_shown_with_verdict_reason_and_what_was_done(still_world, still_site, new_visitor):
    visitor = new_visitor(still_site)
    visitor.open("/container-services")
    visitor.page.get_by_text("No Docker service is recovered here").wait_for()
    with still_world.lifecycle.database.begin() as connection:
        about = {"verdict": "circuit open", "reason": f"unhealthy {BAD}", "recoveries": 3, "failures": 1}
        connection.execute(
            docker_services.insert(), {"engine": "desk", "key": "shop/vpn", "name": "shop-vpn-1", **about}
        )
        action = {"engine": "desk", "key": "shop/vpn", "container_id": "4f0c", "kind": "restart", "reason": "unhealthy"}
        action |= {"begun_at": AT, "ended_at": AT, "by": "watch@desk", "error": "the engine said no"}
        connection.execute(docker_actions.insert(), action)
    page = visitor.page
    service = page.locator("#services-all tbody tr")
    service.wait_for()
    said = service.inner_text()
    assert all(word in said for word in ("shop/vpn", "shop-vpn-1", "circuit open", BAD, "3, 1 failed")), said
    done = page.locator("#services-actions tbody tr").inner_text()
    assert all(word in done for word in ("restart", "the engine said no", "watch@desk")), done
    page.get_by_role("link", name="Containers", exact=True).last.click()
    visitor.live()


def test_a_line_that_was_written_late_takes_its_place_and_a_repeated_one_its_count(
    still_world, still_site, new_visitor
):
    """Writers take ids before they commit."""
    times = dict.fromkeys(("created_at", "started_at", "stopped_at", "updated_at"), AT)
    row = {"id": "told", "root_id": "told", "container_type": "WORKER", "status": "COMPLETED", **times}
    line = {"container_id": "told", "epoch": 1, "at": AT, "level": "INFO", "logger": "ship", "count": 1}
    with still_world.lifecycle.database.begin() as connection:
        connection.execute(containers.insert(), row)
        connection.execute(container_logs.insert(), {**line, "id": 5_000, "message": "second"})
    visitor = new_visitor(still_site)
    visitor.open("/containers/told")
    messages = visitor.page.locator(".c-message")
    eventually("one", lambda: messages.all_inner_texts() == ["second"])
    with still_world.lifecycle.database.begin() as connection:
        connection.execute(container_logs.insert(), {**line, "id": 4_990, "message": "first"})
        connection.execute(container_logs.update().where(container_logs.c.id == 5_000).values(count=3))
    eventually("both", lambda: messages.all_inner_texts() == ["first", "second\u00d73"])

"""What was drawn stays while the database or Flower is away, and the page comes back by itself."""

import signal

import pytest

from job.servers import Postgres
from tests.acceptance.world import migrate
from tests.browser.site import LOGIN
from tests.conftest import started

AWAY = r"503|Failed to load resource"


@pytest.fixture(scope="module")
def server():
    server = started(Postgres())
    yield server
    server.close()


def test_the_database_goes_away_and_comes_back(new_world, server, new_site, new_visitor):
    url = server.create_database("pages")
    migrate(url)
    world = new_world(database_url=url)
    world.lifecycle.start("WORKER", container_id="patient", queue="nobody")
    visitor = new_visitor(new_site(world, LOGIN))
    visitor.expected.append(AWAY)
    visitor.open("/containers")
    visitor.page.get_by_text("Nothing is running").wait_for()
    assert "container start TYPE" in visitor.page.locator("#containers-empty").inner_text(), "a next step"
    visitor.page.get_by_role("button", name="Show 1 pending").click()
    visitor.row("patient").wait_for()
    server.stop()
    visitor.page.get_by_text("Database unreachable").wait_for()
    assert visitor.rows() == ["patient"], "what was known is still shown"
    visitor.row("patient").locator(".c-stop").click()
    dialog = visitor.page.locator("dialog[open]")
    dialog.get_by_role("alert").filter(has_text="database").wait_for()
    visitor.page.keyboard.press("Escape")
    server.start()
    visitor.live()
    world.lifecycle.start("WORKER", container_id="another", queue="nobody")
    visitor.row("another").wait_for()


def test_flower_goes_away_and_comes_back(scene, visitor, page):
    visitor.expected.append(r"Failed to load resource|ERR_FAILED")
    scene.run(scene.plan("steady"))
    visitor.open(f"/containers?q={scene.suffix}")
    visitor.row(scene.id("steady")).wait_for()
    page.route("**/api/containers/**", lambda route: route.abort())
    page.get_by_text("Disconnected").wait_for()
    assert visitor.rows() == [scene.id("steady")]
    page.unroute("**/api/containers/**")
    visitor.live()


def test_a_flower_that_hangs_is_not_live(visitor, page, site):
    """The page does not wait for ever; here it waits a tenth as long."""
    hurry = "const timeout = AbortSignal.timeout; AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms / 10)"
    page.add_init_script(hurry)
    visitor.open()
    site.signal(signal.SIGSTOP)
    try:
        page.get_by_text("Disconnected").wait_for()
    finally:
        site.signal(signal.SIGCONT)
    visitor.live()

"""Hostile text is text; who may not act cannot; other sites cannot act for who may."""

import http.server
import threading
from contextlib import suppress

import pytest

from tests.acceptance.world import eventually
from tests.browser.site import LOGIN, USER

BAD = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'&amp;"


def test_hostile_text_is_shown_as_it_is(scene, visitor, page):
    """In ids, types' tags, reasons, errors and log lines; an alert would fail the visit."""
    plan = scene.plan(f"<b>{BAD}/../?#%2F", kind="SHOUTING", text=BAD)
    plan["options"]["tags"] = {BAD: BAD}
    container = scene.start(plan)
    eventually("it shouts", lambda: scene.lifecycle.logs([container.id]))
    visitor.open()
    page.get_by_role("searchbox").fill(scene.suffix)
    eventually("found", lambda: visitor.rows() == [container.id])
    row = page.locator(".c-tree tbody tr")
    assert row.locator(".c-id").inner_text() == container.id
    assert BAD in row.locator(".c-tag").inner_text()
    row.locator(".c-stop").click()
    dialog = page.locator("dialog[open]")
    dialog.get_by_role("button", name="Stop 1 container").wait_for()
    assert dialog.locator(".c-list .c-id").inner_text() == container.id
    dialog.get_by_label("Reason").fill(BAD)
    dialog.get_by_role("button", name="Stop 1 container").click()
    dialog.get_by_role("heading", name="Stopped").wait_for()
    assert BAD in dialog.inner_text()
    page.goto(f"/containers?status=all&q={scene.suffix}")
    page.locator(".c-tree .c-id").click()
    visitor.live()
    assert page.get_by_role("heading", level=1).inner_text() == container.id
    page.locator(".c-log").first.wait_for()
    assert BAD in page.locator(".c-message").first.inner_text()
    assert BAD in page.locator("#container-facts").inner_text()
    assert page.locator(".c-page img, .c-page script").count() == 0


def test_without_a_login_everybody_reads_and_nobody_stops(scene, world, new_site, new_visitor):
    scene.run(scene.plan("watched"))
    visitor = new_visitor(new_site(world), login=None)
    visitor.open(f"/containers?q={scene.suffix}")
    stop = visitor.row(scene.id("watched")).locator(".c-stop")
    assert stop.is_disabled()
    assert "No login is configured" in stop.get_attribute("title")
    visitor.row(scene.id("watched")).focus()
    visitor.page.keyboard.press("x")
    assert visitor.page.locator("dialog[open]").count() == 0
    visitor.expected.append("401")
    assert posted(visitor.page, scene.id("watched")) == 401
    assert scene.status("watched") == "RUNNING"


def test_a_read_only_flower_stops_nothing(scene, world, new_site, new_visitor):
    scene.run(scene.plan("kept"))
    visitor = new_visitor(new_site(world, LOGIN, "--read_only=true", "--url_prefix=ops"))
    visitor.open(f"/ops/containers?q={scene.suffix}")
    assert visitor.row(scene.id("kept")).locator(".c-stop").is_disabled()
    visitor.expected.append("403")
    assert posted(visitor.page, scene.id("kept"), "/ops") == 403
    visitor.row(scene.id("kept")).locator("a").click()
    visitor.live()
    assert "/ops/containers/" in visitor.page.url
    assert visitor.page.locator("#container-stop").is_disabled()


@pytest.mark.parametrize("login", [None, (USER, "guess")])
def test_nobody_comes_in_without_the_password(site, new_visitor, login):
    visitor = new_visitor(site, login)
    visitor.expected += ["401", "ERR_INVALID_AUTH_CREDENTIALS"]
    for path in ("/containers", "/containers/x", "/container-services", "/api/containers/tree", "/api/containers/x"):
        assert site.ask(path)[0] == 401, path
        assert site.ask(path)[1]["WWW-Authenticate"].startswith("Basic"), path
    with suppress(Exception):
        visitor.page.goto("/containers")
    assert visitor.page.locator("#containers").count() == 0


def test_a_deep_link_asks_once_for_the_password_and_then_stops(scene, visitor, page):
    """The browser has the password for /containers/ only, until the API asks for it by itself."""
    scene.run(scene.plan("deep"))
    visitor.open(f"/containers/{scene.id('deep')}")
    page.get_by_role("button", name="Stop", exact=True).first.click()
    page.get_by_role("button", name="Stop 1 container").click()
    page.locator("dialog").get_by_role("heading", name="Stopped").wait_for()


def test_a_page_of_another_site_stops_nothing(scene, visitor, page, site):
    """It sends what a browser with the visitor's password sends along: a form, and a fetch."""
    scene.run(scene.plan("lured"))
    visitor.open()
    target = f"{site.url}/api/containers/{scene.id('lured')}/stop"
    with other_site(target) as elsewhere:
        visitor.expected += ["another host", "403", "415", "401", "CORS", "Failed to load", "favicon"]
        for how, refused in (("form", {403}), ("fetch", {401, 403})):  # a browser may keep the password to itself
            with page.expect_response(lambda answer: answer.url == target) as answer:
                page.goto(f"{elsewhere}/{how}")
            assert answer.value.status in refused, how
    assert scene.status("lured") == "RUNNING"
    assert scene.get("lured").stop_by is None


def posted(page, container_id, prefix=""):
    """The status that a script on the page itself gets."""
    ask = """([url]) => fetch(url, {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"})
             .then(answer => answer.status)"""
    return page.evaluate(ask, [f"{prefix}/api/containers/{container_id}/stop"])


class other_site:  # noqa: N801 - reads as a context
    """Pages on another host name that post to a Flower as soon as they are opened."""

    def __init__(self, target):
        form = f'<form method=post action="{target}" enctype=text/plain><input name="{{}}" value=""></form>'
        fetch = f'fetch("{target}", {{method: "POST", mode: "no-cors", credentials: "include", body: "{{}}"}})'
        pages = {"/form": f"{form}<script>document.forms[0].submit()</script>", "/fetch": f"<script>{fetch}</script>"}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(pages.get(self.path, "").encode())

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://localhost:{self._server.server_port}"

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def test_an_upgrade_reaches_every_browser(site, visitor, page):
    """What is named by its version is kept; modules, which have none in their names, are asked for each time."""
    with page.expect_response(lambda answer: answer.url.endswith("/containers-static/tree.js")) as module:
        visitor.open()
    assert module.value.headers["cache-control"] == "no-cache"
    source = page.locator("script[type=module]").get_attribute("src")
    assert "?v=" in source
    assert "max-age" in site.ask(source)[1]["Cache-Control"]

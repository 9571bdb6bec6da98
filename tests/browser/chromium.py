"""Debian's Chromium, driven by Playwright, and a visitor who notes all that goes wrong on the way."""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from job.binaries import ServerMissing

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 20_000  # ms


class Chromium:
    """A browser without a window; each visitor has a session of its own in it."""

    def start(self):
        binary = Path(os.environ.get("TEST_CHROMIUM", "/usr/bin/chromium"))
        if not binary.is_file():
            raise ServerMissing("No Chromium here: apt-get install chromium, or set TEST_CHROMIUM")
        if not all(map(find_spec, ("playwright", "flower"))):
            raise ServerMissing("No Playwright or no Flower here: pip install '.[dev,flower]'")
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=binary, args=ARGUMENTS)

    def visitor(self, site, login=None, **options):
        options.setdefault("viewport", {"width": 1280, "height": 800})
        if login:
            options["http_credentials"] = {"username": login[0], "password": login[1]}
        return Visitor(site, self._browser.new_context(base_url=site.url, **options))

    def close(self):
        if hasattr(self, "_playwright"):
            self._browser.close()
            self._playwright.stop()


class Visitor:
    """One page; `expected` are patterns of what may go wrong in a test that breaks something."""

    def __init__(self, site, context):
        self.site, self.context = site, context
        self.expected, self._wrong = [], []
        context.set_default_timeout(PATIENCE)
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self._wrong.append(f"page error: {error}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.on("response", self._response)
        self.page.on("dialog", lambda dialog: (self._wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def open(self, path="/containers"):
        self.page.goto(path)
        self.live()

    def live(self):
        """Once the page says so."""
        self.page.locator(".refresh-status[data-live=true]").wait_for()

    def row(self, container_id):
        return self.page.locator(f'tr[data-id="{container_id}"]')

    def rows(self):
        """Ids from the top, as they are drawn."""
        return self.page.eval_on_selector_all(".c-tree tr[data-id]", "rows => rows.map(row => row.dataset.id)")

    def focused(self):
        """The id of the row that has the focus."""
        return self.page.evaluate("document.activeElement?.closest('tr')?.dataset.id ?? null")

    def check(self):
        """Nothing went wrong that the test did not expect."""
        wrong = [each for each in self._wrong if not any(re.search(pattern, each) for pattern in self.expected)]
        assert not wrong, "\n".join(wrong)

    def close(self):
        self.context.close()

    def _console(self, message):
        if message.type in {"error", "warning"}:
            self._wrong.append(f"console: {message.text} {message.location.get('url', '')}")

    def _request(self, request):
        if urlsplit(request.url).scheme in {"http", "https"} and not request.url.startswith(self.site.url):
            self._wrong.append(f"another host: {request.url}")

    def _response(self, response):
        if response.status >= 400:
            self._wrong.append(f"answer {response.status}: {response.request.method} {response.url}")

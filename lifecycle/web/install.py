"""Into Flower: our pages and our API among its own, before it makes its application."""

import logging
from typing import Any

from celery import current_app

from lifecycle.runtime.app import Lifecycle

log = logging.getLogger("lifecycle.flower")
NAME = "containers"
PATIENCE = 0.1  # seconds: a scrape waits in Flower's event loop
OVERLAID = ("navbar.html", "task.html", "containers.html", "container.html", "services.html")


def install(lifecycle: Lifecycle | None = None) -> bool:
    """Give Flower a Containers tab, and its `/metrics` ours; False, with one warning, where it is not as we know it.

    lifecycle: that of Celery's current app, if it is not given. Safe to call twice. To be called before Flower makes
    its application: as the app is imported, or in `flowerconfig.py`.
    """
    try:
        from flower import urls  # noqa: PLC0415 - an extra, and what may fail

        if any(getattr(each, "name", None) == NAME for each in urls.handlers):
            return True
        _add(urls)
        _register(lifecycle)
    except Exception:  # whatever has changed in Flower, it is to start
        log.warning("the Containers page is not in this Flower", exc_info=True)
        return False
    return True


def _add(urls: Any) -> None:
    """All is made, and every template compiled, before anything of Flower's is touched."""
    from lifecycle.web.overlay import Overlay  # noqa: PLC0415 - needs tornado
    from lifecycle.web.routes import handlers  # noqa: PLC0415 - needs flower

    overlay = Overlay(urls.settings["template_path"])
    for name in OVERLAID:
        overlay.load(name)
    ours = handlers()
    urls.handlers[0:0] = ours
    urls.settings["template_loader"] = overlay


def _register(lifecycle: Lifecycle | None) -> None:
    from lifecycle.runtime.metrics import register  # noqa: PLC0415 - needs prometheus_client

    register(lambda: lifecycle or getattr(current_app, "lifecycle", None) or Lifecycle(current_app), PATIENCE)

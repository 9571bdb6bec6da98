"""Alerts: a line in the log, and a POST to whoever wants to know; never a reason to wait for long, or to fail."""

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from lifecycle.domain.recovery import Alert, Tone

log = logging.getLogger("lifecycle.docker")
TIMEOUT = 5.0  # seconds, for all alerts of one pass
MOST = 100  # alerts of one pass that are posted
NO_HTTPX = "alerts are only logged: lifecycle_docker_webhook needs httpx, which is not installed"
THREAD = "lifecycle-alerts"


def tell(alerts: Iterable[Alert], webhook: str | None) -> None:
    """Log each alert, and post each once; what cannot be posted within TIMEOUT is logged, and lost."""
    told = list(alerts)
    for alert in told:
        level = logging.ERROR if alert.tone is Tone.BROKEN else logging.INFO
        log.log(level, "alert %s name=%s: %s", alert.tone, alert.name, alert.text)
    if webhook and told:
        _post(told[:MOST], webhook)


def _post(alerts: list[Alert], webhook: str) -> None:
    """In a thread that is left behind: a listener may answer a byte a second for as long as it likes."""
    try:
        import httpx  # noqa: PLC0415 - an optional part: without it alerts are logged
    except ModuleNotFoundError:
        log.warning(NO_HTTPX)
        return
    logging.getLogger("httpx").addFilter(_names_no_secret)
    lost = [*alerts]
    end = time.monotonic() + TIMEOUT

    def post() -> None:
        with httpx.Client(timeout=TIMEOUT) as client:
            for alert in alerts:
                if time.monotonic() < end and _is_taken(httpx, client, webhook, alert):
                    lost.remove(alert)

    thread = threading.Thread(target=post, name=THREAD, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    if lost:
        log.warning("alerts not posted count=%d%s", len(lost), " in time" if thread.is_alive() else "")


def _is_taken(httpx: Any, client: Any, webhook: str, alert: Alert) -> bool:
    """The errors of httpx have the URL in their text, which is as good as a password: only their class is told."""
    try:
        with client.stream("POST", webhook, json=asdict(alert)) as answer:
            if answer.is_success:
                return True
            log.warning("alert refused status=%d", answer.status_code)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log.warning("alert not posted error=%s", type(error).__name__)
    return False


def _names_no_secret(record: logging.LogRecord) -> bool:
    """Httpx logs each request with its URL."""
    return record.threadName != THREAD

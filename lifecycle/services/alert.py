"""Alerts: a line in the log, and a POST to whoever wants to know; never a reason to wait for long, or to fail."""

import logging
from collections.abc import Iterable
from dataclasses import asdict

from lifecycle.domain.recovery import Alert, Tone

log = logging.getLogger("lifecycle.docker")
TIMEOUT = 5.0  # seconds
MOST = 100  # alerts of one pass that are posted
NO_HTTPX = "alerts are only logged: lifecycle_docker_webhook needs httpx, which is not installed"


def tell(alerts: Iterable[Alert], webhook: str | None) -> None:
    """Log each alert, and post each once; what cannot be posted is logged, and lost."""
    told = list(alerts)
    for alert in told:
        level = logging.ERROR if alert.tone is Tone.BROKEN else logging.INFO
        log.log(level, "alert %s name=%s: %s", alert.tone, alert.name, alert.text)
    if webhook and told:
        _post(told[:MOST], webhook)


def _post(alerts: list[Alert], webhook: str) -> None:
    try:
        import httpx  # noqa: PLC0415 - an optional part: without it alerts are logged
    except ModuleNotFoundError:
        log.warning(NO_HTTPX)
        return
    try:
        with httpx.Client(timeout=TIMEOUT) as client:
            for alert in alerts:
                client.post(webhook, json=asdict(alert)).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log.warning("alerts not posted count=%d error=%s", len(alerts), error)

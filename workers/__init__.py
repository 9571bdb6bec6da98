"""The main job's Celery app: `celery -A workers …`."""

import os
from importlib.util import find_spec

from celery import Celery

from lifecycle import Lifecycle

CRAWL = ["workers.crawl"]
FLEET = ["workers.fleet.arbitrage", "workers.fleet.contracts", "workers.fleet.scouts", "workers.fleet.commander"]
HAS_FLEET = all(find_spec(needed) for needed in ("httpx", "httpx_retries"))  # the extra `fleet`
redis_url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
app = Celery("workers", broker=redis_url, backend=redis_url, include=CRAWL + (FLEET if HAS_FLEET else []))
Lifecycle(app)

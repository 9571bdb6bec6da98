"""The main job's Celery app: `celery -A workers …`."""

import os

from celery import Celery

from lifecycle import Lifecycle

redis_url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
app = Celery("workers", broker=redis_url, backend=redis_url, include=["workers.crawl"])
Lifecycle(app)

"""Containers on Celery: the app, the task, the node and what runs in its pool."""

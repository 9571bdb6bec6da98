"""What happens to a tree of containers: spawned, ended, stopped, swept, dispatched. Knows no Celery."""

"""Recovery of Docker services: what depends on what, what is to be done, and doing it. Knows no Celery."""

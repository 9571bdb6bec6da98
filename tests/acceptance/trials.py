"""Bodies of test_django.py: Celery tasks of any app, found by their shared names."""

import time

from celery import shared_task
from django.contrib.auth.models import User
from django.db import transaction

from lifecycle import ContainerTask, checkpoint


class Torn(transaction.Atomic):
    """A transaction whose end takes for ever: so the stop is raised inside of it, before it has left anything."""

    def __exit__(self, *_):
        checkpoint(torn=True)
        time.sleep(3600)


@shared_task(base=ContainerTask)
def tear() -> None:
    with Torn(using=None, savepoint=True, durable=False):
        User.objects.create_user("torn")


@shared_task(base=ContainerTask)
def look(name: str) -> bool:
    return User.objects.filter(username=name).exists()


@shared_task(base=ContainerTask)
def parent() -> None:
    with transaction.atomic():
        look.spawn_on_commit(["child"], queue="trials")
        User.objects.create_user("child")

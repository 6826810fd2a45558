"""Celery's doors, on the queue `registry`."""

from celery import shared_task

from apps.registry import creates, garbage
from apps.streams import jobs

jobs.handler("create")(creates.run)


@shared_task(ignore_result=True)
def collect_garbage() -> None:
    garbage.collect()

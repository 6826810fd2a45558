"""Celery's doors to the jobs."""

import uuid

import structlog
from celery import shared_task

from apps.streams import jobs
from apps.streams.running import AWAY

logger = structlog.get_logger(__name__)


@shared_task(name=jobs.TASK)
def run_job(job_id: str) -> None:
    jobs.run(uuid.UUID(job_id))


@shared_task(name="apps.streams.tasks.reap_jobs")
def reap_jobs() -> None:
    try:
        jobs.reap()
    except AWAY as error:
        logger.warning("server_away", error=repr(error))  # the next sweep comes in a few seconds

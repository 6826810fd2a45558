"""Jobs: started by a door, run by a worker of the queue "registry", followed by anyone who may read their log.

The row decides and the log tells: a job ends in the database first and then with its last frame, so both agree.
What dies in between is put right by `reap`.
"""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import redis
import structlog
from celery import current_app
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from apps.errors import Problem
from apps.streams import leases, log
from apps.streams.models import CANCELLED, DONE, FAILED, QUEUED, Job
from apps.streams.running import Cancelled, Running, insist

__all__ = ["Cancelled", "Job", "Running", "cancel", "handler", "reap", "run", "start"]

QUEUE: Final = "registry"
TASK: Final = "apps.streams.tasks.run_job"
REPUBLISH_SECONDS: Final = 30
ANNOUNCE_SECONDS: Final = 2  # how long a job that ended has for its own last frame
STEADY_SECONDS: Final = 12
SWEPT_KEY: Final = "jobs:swept"

Handler = Callable[[Running], None]
HANDLERS: dict[str, Handler] = {}

logger = structlog.get_logger(__name__)


def handler(kind: str) -> Callable[[Handler], Handler]:
    """Declares who does the jobs of a kind. Belongs into an app's tasks.py, which every worker imports."""

    def register(function: Handler) -> Handler:
        HANDLERS[kind] = function
        return function

    return register


def start(*, kind: str, user_id: int | None, params: dict[str, Any], key: str = "") -> Job:
    """A new job, or the live one of the same kind and (non-empty) key. Its log can be tailed at once.

    The task is sent when the transaction commits. Raises Problem("unavailable") while the event log is away.
    """
    job = _live(kind, key)
    while job is None:
        try:
            with transaction.atomic():
                return _create(Job(kind=kind, user_id=user_id, params=params, key=key))
        except IntegrityError:
            if not key:
                raise
            job = _live(kind, key)  # somebody was quicker; None if that one has ended already
    return job


def _live(kind: str, key: str) -> Job | None:
    return Job.objects.live().filter(kind=kind, key=key).first() if key else None


def _create(job: Job) -> Job:
    job.save(force_insert=True)
    try:
        log.default().create(job.log_id, owner=job.user_id, ttl=leases.LOG_SECONDS)
    except redis.exceptions.RedisError as error:
        logger.warning("server_away", error=repr(error))
        raise Problem("unavailable", "the event store does not answer, please try again", retry_after=5) from error
    transaction.on_commit(lambda: _publish(job.id))
    return job


def _publish(job_id: uuid.UUID) -> None:
    """Sends the task; one that cannot be sent now is sent by `reap`."""
    try:
        current_app.send_task(TASK, args=[str(job_id)], queue=QUEUE, retry=False)
    except (BrokerError, redis.exceptions.RedisError, OSError) as error:
        logger.warning("job_not_published", job=str(job_id), error=repr(error))
        return
    Job.objects.filter(id=job_id).update(published_at=timezone.now())


def cancel(job_id: uuid.UUID) -> None:
    """A queued job ends at once, a running one when its handler looks. Nothing happens to one that has ended."""
    job = Job.objects.filter(id=job_id).first()
    if job is None:
        raise Problem("not_found", "there is no such job")
    problem = Cancelled()
    if job.state == QUEUED and Job.objects.filter(state=QUEUED).finish(
        job, state=CANCELLED, now=timezone.now(), error=problem.as_data()
    ):
        transaction.on_commit(lambda: _announce_soon(job))
        return
    Job.objects.live().filter(id=job_id).update(cancel_asked=True)
    try:
        log.default().cancel(job.log_id)
    except redis.exceptions.RedisError as error:
        logger.warning("server_away", error=repr(error))  # the lease's thread will see the row's flag


def run(job_id: uuid.UUID) -> None:
    """Does a queued job, in this thread, to its end. One that is not queued (its task came twice) is left alone."""
    now = timezone.now()
    job = insist(lambda: Job.objects.take(job_id, worker=leases.WORKER, now=now, lease_until=leases.until(now)))
    if job is None:
        return
    running = Running(job)
    with leases.held(running):
        problem = _work(running, job.kind)
        insist(lambda: _finish(job, problem))


def _work(running: Running, kind: str) -> Problem | None:
    """Why it failed, as a sentence for the caller; what was not foreseen is for the server's log."""
    started = structlog.contextvars.bind_contextvars(job=str(running.id))
    try:
        if not insist(lambda: log.default().claim(running.log_id, running.attempt)):
            return Problem("internal", "the job's event log was lost before it began")
        HANDLERS[kind](running)
    except Problem as problem:
        return problem
    except Exception:
        logger.exception("job_failed", kind=kind)
        return Problem("internal", f"the {kind} job failed unexpectedly; the server's log says why")
    finally:
        structlog.contextvars.reset_contextvars(**started)
    return None


def _finish(job: Job, problem: Problem | None) -> None:
    """Row, then frame. May be repeated: an end that was written before is left as it is."""
    state = DONE if problem is None else CANCELLED if problem.code == "cancelled" else FAILED
    Job.objects.finish(job, state=state, now=timezone.now(), error=problem.as_data() if problem else None)
    _announce(Job.objects.get(id=job.id), fence=job.attempt)


def _announce(job: Job, *, fence: int) -> None:
    """Writes the last frame of a job that has ended, as the row says. Under a lost fence it is left to the reaper."""
    kind, data = ("end", {}) if job.state == DONE else ("error", job.error or {})
    events = log.default()
    if events.end(job.log_id, fence, kind, data) or events.over(job.log_id):
        Job.objects.filter(id=job.id).update(announced=True)


def _announce_soon(job: Job) -> None:
    """The same for a job that no worker holds (any more); if the log is away, the next sweep does it."""
    job.refresh_from_db()
    try:
        log.default().claim(job.log_id, job.attempt + 1)
        _announce(job, fence=job.attempt + 1)
    except redis.exceptions.RedisError as error:
        logger.warning("server_away", error=repr(error))


def reap() -> None:
    """Ends the jobs of dead workers, writes last frames that are missing, sends tasks that got lost."""
    now = timezone.now()
    lapsed = list(Job.objects.lapsed(now))
    if _steady():
        for job in lapsed:
            _interrupt(job)
    for job in Job.objects.unannounced(now - timedelta(seconds=ANNOUNCE_SECONDS)):
        _announce_soon(job)
    for job in Job.objects.unpublished(now - timedelta(seconds=REPUBLISH_SECONDS)):
        log.default().renew(job.log_id, leases.LOG_SECONDS)
        _publish(job.id)


def _steady() -> bool:
    """Whether the sweep before this one is not long past. After an outage every lease has lapsed though its worker
    may live: one sweep is let pass, so that it can renew."""
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=log.TIMEOUT_SECONDS)
    try:
        return client.set(SWEPT_KEY, 1, ex=STEADY_SECONDS, get=True) is not None
    finally:
        client.close()


def _interrupt(job: Job) -> None:
    problem = Problem("internal", f"the {job.kind} job was interrupted: its worker is gone; please start it again")
    now = timezone.now()
    if Job.objects.lapsed(now).finish(job, state=FAILED, now=now, error=problem.as_data()):
        logger.warning("job_interrupted", job=str(job.id), worker=job.worker)
        _announce_soon(job)

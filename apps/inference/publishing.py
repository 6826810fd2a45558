"""Publishes what placement decided, after its commit. A message carries ids and an attempt, nothing else.

A message that cannot be sent is not lost work: the run stays admitted, and upkeep republishes it under a new attempt.
"""

import base64
import json
import uuid
from functools import cache
from typing import Any, NamedTuple

import redis
import structlog
from celery import current_app
from django.conf import settings
from kombu import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.inference.placement import Outcome

log = structlog.get_logger(__name__)
HAND_OVER = "apps.inference.tasks.hand_over"
RECONCILE = "apps.inference.tasks.reconcile"
TIMEOUT_SECONDS = 2.0
# Stand-ins, as apps/compiled.py has them for statements.
_TASK, _RUN, _BODY, _ATTEMPT = "<the task>", "<the run>", "<the body>", 2_000_000_001


def publish(outcome: Outcome) -> None:
    for queue, run_id, attempt in outcome.hand_overs:
        _send(HAND_OVER, queue, run_id, attempt)
    for queue in outcome.reconcile:
        _send(RECONCILE, queue)


def _send(task: str, queue: str, run_id: str = "", attempt: int = 0) -> None:
    try:
        _client().lpush(queue, _form(task, queue).filled(run_id, attempt))
    except redis.exceptions.RedisError as error:
        log.warning("publish_failed", task=task, queue=queue, error=str(error))


class Form(NamedTuple):
    """A message with stand-ins: the JSON that lies in its queue, and the body, which that holds in base64."""

    message: str
    body: str

    def filled(self, run_id: str, attempt: int) -> str:
        values = {str(_ATTEMPT): str(attempt), _RUN: run_id, _TASK: str(uuid.uuid4())}  # ids last: they hold digits
        body = base64.b64encode(_replaced(self.body, values).encode()).decode()
        return _replaced(self.message, {**values, _BODY: body})


def _replaced(text: str, values: dict[str, str]) -> str:
    for stand_in, value in values.items():
        text = text.replace(stand_in, value)
    return text


@cache
def _form(task: str, queue: str) -> Form:
    """How Celery writes a message of this task: written once, as that takes a millisecond, and filled in each time.

    Kombu's transport in memory makes the same messages as the one for Redis, and lets them be taken out.
    """
    arguments = [_RUN, _ATTEMPT] if task == HAND_OVER else []
    with Connection("memory://") as nowhere:
        current_app.send_task(task, args=arguments, queue=queue, task_id=_TASK, retry=False, connection=nowhere)
        channel: Any = nowhere.default_channel  # what all of kombu's virtual transports have is only half typed
        message = channel._get(queue)
    body = base64.b64decode(message["body"]).decode()
    headers = {**message["headers"], "root_id": _TASK, "parent_id": None}  # not whichever task needed the form first
    return Form(json.dumps({**message, "headers": headers, "body": _BODY}), body)


@cache
def _client() -> redis.Redis:
    """A message that is sent twice, as its answer got lost, does no harm: the second one is let drop."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )

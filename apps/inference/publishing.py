"""Publishes what placement decided, after its commit. A message carries ids and an attempt, nothing else.

A message that cannot be sent is not lost work: the run stays admitted, and upkeep republishes it under a new attempt.
"""

import structlog
from celery import current_app
from kombu.exceptions import OperationalError

from apps.inference.placement import Outcome

log = structlog.get_logger(__name__)
HAND_OVER = "apps.inference.tasks.hand_over"
RECONCILE = "apps.inference.tasks.reconcile"


def publish(outcome: Outcome) -> None:
    for queue, run_id, attempt in outcome.hand_overs:
        _send(HAND_OVER, [run_id, attempt], queue)
    for queue in outcome.reconcile:
        _send(RECONCILE, [], queue)


def _send(task: str, args: list[object], queue: str) -> None:
    try:
        current_app.send_task(task, args=args, queue=queue, retry=False)
    except OperationalError as error:
        log.warning("publish_failed", task=task, queue=queue, error=str(error))

"""Celery's doors to inference: each knocks and returns."""

from typing import Any

import structlog
from celery import shared_task
from celery.signals import celeryd_after_setup, worker_shutdown
from django.conf import settings

from apps.inference import upkeep
from apps.inference.agent import Agent
from apps.inference.models import queue_of

log = structlog.get_logger(__name__)
_agents: list[Agent] = []  # one in an inference worker's process, none elsewhere


@shared_task
def hand_over(run_id: str, attempt: int) -> None:
    """A run was admitted to a replica of this worker."""
    _agents[0].take(run_id, attempt)


@shared_task
def reconcile() -> None:
    """A replica of this worker is to be loaded or unloaded."""
    _agents[0].reconcile()


@shared_task
def keep_house() -> None:
    """Beat's knock: keep-alive expiry, the dead, what was lost."""
    upkeep.keep_house()


@celeryd_after_setup.connect
def start_agent(instance: Any, **_: object) -> None:
    """Only the process that reads an inference queue has an agent, and has it before it reads the first message."""
    if queue_of(settings.WORKER_NAME) not in instance.app.amqp.queues.consume_from:
        return
    agent = Agent(settings.WORKER_NAME)
    try:
        agent.start()
    except Exception:
        log.exception("agent_not_started")
        raise SystemExit(1) from None  # Celery would log it and go on without one
    _agents.append(agent)


@worker_shutdown.connect
def stop_agent(**_: object) -> None:
    while _agents:
        _agents.pop().stop()

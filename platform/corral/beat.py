"""Celery's beat, without its hurry.

Celery wakes beat ten milliseconds before a task is due, and until then beat asks without a pause whether it is: with a
task every other second half a percent of a core, taken from whoever computes there.
"""

from typing import Any

from celery.beat import PersistentScheduler

LATE = 0.01  # seconds


class Scheduler(PersistentScheduler):
    def adjust(self, n: Any, drift: float = LATE) -> float:
        """The pause before a task: a moment longer than it must be, so that the task is due when it is over."""
        return super().adjust(n, drift)

"""Which scheduler beat runs. That it sleeps until a task is due was measured only (docs/benchmarks.md)."""

from celery.utils.imports import symbol_by_name
from corral.beat import Scheduler
from corral.celery import app


def test_our_scheduler_is_the_one_that_beat_takes() -> None:
    assert symbol_by_name(app.conf.beat_scheduler) is Scheduler
    assert Scheduler.adjust(Scheduler.__new__(Scheduler), 3.0) > 3.0, "it wakes when the task is due, not before"

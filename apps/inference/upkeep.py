"""What beat asks for every few seconds: expiry, the dead, the late, the untold. Safe to run twice at once."""

import time
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.errors import Problem
from apps.inference import endings, placement
from apps.inference.models import LEASE, Replica, Run, RunState, Worker
from apps.inference.publishing import publish
from apps.inference.runs import cancel
from apps.streams import presence

log = structlog.get_logger(__name__)


@dataclass
class Patience:
    """While Postgres was away nobody could beat: the dead are counted only after it was back for a lease's time."""

    last_pass: float = field(default_factory=time.monotonic)
    calm_since: float = field(default_factory=time.monotonic)

    def may_reap(self) -> bool:
        now = time.monotonic()
        if now - self.last_pass > LEASE.total_seconds():
            self.calm_since = now
        self.last_pass = now
        return now - self.calm_since >= LEASE.total_seconds()


_patience = Patience()
_missing: dict[str, float] = {}  # readers that were not there, and since when (monotonic seconds)
MISSING_GRACE = 5.0


def keep_house() -> None:
    _unload_expired()
    if _patience.may_reap():
        _bury_dead_workers()
    _republish_late()
    _cancel_abandoned()
    _end_overdue()
    endings.retell()


def _unload_expired() -> None:
    with transaction.atomic():
        placement.lock()
        over = placement.expire()
        outcome = placement.admit()
    outcome.reconcile |= {replica.worker.queue for replica in over}
    publish(outcome)


def _bury_dead_workers() -> None:
    for worker in Worker.objects.dead().filter(replicas__in=Replica.objects.present()).distinct():
        log.warning("worker_dead", worker=worker.name)
        with transaction.atomic():
            placement.lock()
            left = list(Run.objects.active().filter(replica__worker=worker).select_related("user"))
            placement.mark_gone(worker.replicas.present(), why="its worker died")
        endings.reap(left)


def _republish_late() -> None:
    for run in placement.late():
        endings.requeue(run)


def _cancel_abandoned() -> None:
    """Runs whose caller waited at a web process that is gone."""
    readers = set(Run.objects.open().exclude(reader="").values_list("reader", flat=True))
    absent = readers - presence.present(readers)
    now = time.monotonic()
    for name in absent:
        _missing.setdefault(name, now)
    for name in set(_missing) - absent:
        del _missing[name]
    gone = [name for name, since in _missing.items() if now - since >= MISSING_GRACE]
    for run in Run.objects.open().filter(reader__in=gone):
        cancel(run.pk, why="the web process that its caller waited at is gone")


def _end_overdue() -> None:
    """A run past its time to live: its log has expired, and nobody can read its answer."""

    limit = timezone.now() - timedelta(seconds=settings.RUN_TTL_SECONDS)
    for run in Run.objects.open().filter(created_at__lt=limit).select_related("user"):
        if run.state == RunState.QUEUED:
            cancel(run.pk, why="waited longer than CORRAL_RUN_TTL")
        else:
            endings.lose(run, Problem("internal", "this run took longer than CORRAL_RUN_TTL allows"))

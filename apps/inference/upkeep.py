"""What beat asks for every few seconds: expiry, the dead, the late, the untold. Safe to run twice at once."""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apps.compiled import Compiled, together
from apps.errors import Problem
from apps.inference import endings, placement
from apps.inference.models import HEARTBEAT_SECONDS, LEASE, Replica, Run, RunState, Worker
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
TELL_GRACE = 2 * timedelta(seconds=HEARTBEAT_SECONDS)  # more than a worker that lives takes to note what it told


def keep_house() -> None:
    """One round trip says what there is to do, as mostly there is nothing. Who does it asks again, under the lock."""
    now = timezone.now()
    lease_over, start_over, tell_over = now - LEASE, now - placement.START_GRACE, now - TELL_GRACE
    time_to_live_over = now - timedelta(seconds=settings.RUN_TTL_SECONDS)
    over, waiting, dead, late, readers, overdue, untold = together(
        _OVER.ask(before=now),
        _WAITING.ask(),
        _DEAD.ask(before=lease_over),
        _LATE.ask(before=start_over),
        _READERS.ask(),
        _OVERDUE.ask(before=time_to_live_over),
        _UNTOLD.ask(before=tell_over),
    )
    if over or waiting:
        _unload_expired()
    if _patience.may_reap() and dead:
        _bury_dead_workers(lease_over)
    if late:
        _republish_late(start_over)
    _cancel_abandoned({reader for (reader,) in readers})
    if overdue:
        _end_overdue(time_to_live_over)
    if untold:
        endings.retell(tell_over)


def _dead(before: datetime) -> QuerySet[Worker]:
    """Workers not heard of since, with replicas that say they are there."""
    return Worker.objects.filter(heartbeat_at__lte=before, replicas__in=Replica.objects.present()).distinct()


def _overdue(before: datetime) -> QuerySet[Run]:
    return Run.objects.open().filter(created_at__lt=before)


_OVER = Compiled(lambda before: placement.over(before).values_list("pk"), before=datetime)
_WAITING = Compiled(lambda: Run.objects.queued().values_list("pk")[:1])
_DEAD = Compiled(lambda before: _dead(before).values_list("pk"), before=datetime)
_LATE = Compiled(lambda before: placement.late(before).values_list("pk"), before=datetime)
_READERS = Compiled(lambda: Run.objects.open().exclude(reader="").values_list("reader"))
_OVERDUE = Compiled(lambda before: _overdue(before).values_list("pk"), before=datetime)
_UNTOLD = Compiled(lambda before: endings.untold(before).values_list("pk"), before=datetime)


def _unload_expired() -> None:
    with transaction.atomic():
        placement.lock()
        over = placement.expire()
        outcome = placement.admit()
    outcome.reconcile |= {replica.worker.queue for replica in over}
    publish(outcome)


def _bury_dead_workers(before: datetime) -> None:
    for worker in _dead(before):
        log.warning("worker_dead", worker=worker.name)
        with transaction.atomic():
            placement.lock()
            left = list(Run.objects.active().filter(replica__worker=worker))
            placement.mark_gone(worker.replicas.present(), why="its worker died")
        endings.reap(left)


def _republish_late(before: datetime) -> None:
    for run in placement.late(before):
        endings.requeue(run)


def _cancel_abandoned(readers: set[str]) -> None:
    """Runs whose caller waited at a web process that is gone."""
    absent = readers - presence.present(readers)
    now = time.monotonic()
    for name in absent:
        _missing.setdefault(name, now)
    for name in set(_missing) - absent:
        del _missing[name]
    gone = [name for name, since in _missing.items() if now - since >= MISSING_GRACE]
    for run in Run.objects.open().filter(reader__in=gone) if gone else ():
        cancel(run.pk, why="the web process that its caller waited at is gone")


def _end_overdue(before: datetime) -> None:
    """Runs past their time to live: their logs have expired, and nobody can read their answers."""
    for run in _overdue(before):
        if run.state == RunState.QUEUED:
            cancel(run.pk, why="waited longer than CORRAL_RUN_TTL")
        else:
            endings.lose(run, Problem("internal", "this run took longer than CORRAL_RUN_TTL allows"))

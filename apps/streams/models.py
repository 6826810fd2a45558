"""Jobs: work that takes longer than a request, with a row, an event log and a lease."""

import uuid
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import models
from django.db.models import F, Q

QUEUED: Final = "queued"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
STATES: Final = [(state, state) for state in (QUEUED, RUNNING, DONE, FAILED, CANCELLED)]
LIVE: Final = (QUEUED, RUNNING)


class JobQuerySet(models.QuerySet["Job"]):
    def visible_to(self, user: Any) -> "JobQuerySet":
        """An admin sees all, everyone else their own."""
        return self if user.is_superuser and user.is_active else self.filter(user_id=user.pk)

    def live(self) -> "JobQuerySet":
        return self.filter(state__in=LIVE)

    def held_by(self, worker: str) -> "JobQuerySet":
        return self.filter(state=RUNNING, worker=worker)

    def lapsed(self, now: datetime) -> "JobQuerySet":
        """Running, but nobody has renewed the lease: the worker is dead or cut off."""
        return self.filter(state=RUNNING, lease_until__lt=now)

    def unannounced(self, before: datetime) -> "JobQuerySet":
        """Ended in the database, and not yet (or not surely) in the event log."""
        return self.exclude(state__in=LIVE).filter(announced=False, ended_at__lt=before)

    def unpublished(self, before: datetime) -> "JobQuerySet":
        """Queued, and no task was sent since `before`: it got lost, or its queue is long."""
        return self.filter(Q(published_at=None) | Q(published_at__lt=before), state=QUEUED, created_at__lt=before)

    def take(self, job_id: uuid.UUID, *, worker: str, now: datetime, lease_until: datetime) -> "Job | None":
        """The queued job as a new attempt of `worker`, or None if it is not queued (any more)."""
        taken = self.filter(id=job_id, state=QUEUED).update(
            state=RUNNING, worker=worker, attempt=F("attempt") + 1, started_at=now, lease_until=lease_until
        )
        return self.get(id=job_id) if taken else None

    def finish(self, job: "Job", *, state: str, now: datetime, error: dict[str, Any] | None = None) -> bool:
        """Ends the live job in the attempt that `job` knows. False if somebody else was quicker."""
        same = self.filter(id=job.id, state__in=LIVE, attempt=job.attempt)
        return bool(same.update(state=state, error=error, ended_at=now, lease_until=None))


class Job(models.Model):
    """`attempt` is the fence under which a worker writes the log. `key` makes equal live jobs one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=300, blank=True, default="")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    params = models.JSONField(default=dict)
    state = models.CharField(max_length=12, choices=STATES, default=QUEUED)
    attempt = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=120, blank=True, default="")
    lease_until = models.DateTimeField(null=True)
    cancel_asked = models.BooleanField(default=False)
    announced = models.BooleanField(default=False)
    error = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    published_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "key"], condition=Q(state__in=LIVE) & ~Q(key=""), name="one_live_job_a_key"
            )
        ]
        indexes = [
            models.Index(fields=["state", "lease_until"], condition=Q(state__in=LIVE), name="live_jobs"),
            models.Index(fields=["ended_at"], condition=Q(announced=False), name="unannounced_jobs"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def log_id(self) -> str:
        return f"job-{self.id}"

"""Workers, replicas and runs: who can run models, which are loaded where, and what is being answered.

Slots and reservations are leased: a row whose lease ran out belongs to a process that is gone.
"""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone

from apps.compiled import Compiled, Question, columns, instance, together
from apps.inference import layers

LEASE = timedelta(seconds=6)
HEARTBEAT_SECONDS = 2.0


class WorkerQuerySet(models.QuerySet["Worker"]):
    def live(self) -> "WorkerQuerySet":
        return self.filter(heartbeat_at__gt=timezone.now() - LEASE)


class Worker(models.Model):
    """A Celery worker that hosts runners. `incarnation` changes with every start of its process."""

    name = models.CharField(max_length=200, unique=True)
    incarnation = models.UUIDField(default=uuid.uuid4)
    host = models.CharField(max_length=255)
    devices = models.JSONField(default=list)
    memory_bytes = models.BigIntegerField(default=0, help_text="What replicas may use in all.")
    accepts = models.BooleanField(default=True, help_text="Untick to let it finish what it has and take nothing new.")
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(default=timezone.now, db_index=True)

    objects = WorkerQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    @property
    def queue(self) -> str:
        return queue_of(self.name)


def queue_of(worker_name: str) -> str:
    """The Celery queue that only this worker reads."""
    return f"inference.{worker_name}"


class ReplicaState(models.TextChoices):
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"  # finishes its runs, takes no new ones
    UNLOADING = "unloading"  # its process is being stopped
    GONE = "gone"


class ReplicaQuerySet(models.QuerySet["Replica"]):
    def present(self) -> "ReplicaQuerySet":
        """Those that hold memory, or are about to."""
        return self.exclude(state=ReplicaState.GONE)

    def loaded(self) -> "ReplicaQuerySet":
        return self.filter(state__in=(ReplicaState.READY, ReplicaState.DRAINING))


class Replica(models.Model):
    """One loaded copy of a version with its load options, in one runner process.

    `expires_at` is when an idle replica unloads (null: not while it loads, or never); `keep_alive` is in seconds,
    negative for ever.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    worker = models.ForeignKey(Worker, on_delete=models.CASCADE, related_name="replicas")
    weights = models.CharField(max_length=100, db_index=True, help_text="See layers.key.")
    model = models.CharField(max_length=600, help_text="The name that it was loaded by.")
    version = models.CharField(max_length=64, help_text="The manifest that it was loaded for.")
    options = models.JSONField(default=dict)
    context = models.PositiveIntegerField(help_text="Tokens a slot.")
    slots = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=ReplicaState.choices, default=ReplicaState.LOADING, db_index=True)
    need_bytes = models.BigIntegerField(help_text="Estimated before loading.")
    used_bytes = models.BigIntegerField(default=0, help_text="What it then took.")
    vram_bytes = models.BigIntegerField(default=0)
    keep_alive = models.FloatField()
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)
    ready_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_why = models.TextField(blank=True)

    objects = ReplicaQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.model} on {self.worker_id} ({self.state})"

    @property
    def weights_blob(self) -> str:
        """The digest of the weights alone."""
        return layers.weights_of(self.weights)

    @property
    def held_bytes(self) -> int:
        return max(self.need_bytes, self.used_bytes)


class RunState(models.TextChoices):
    QUEUED = "queued"
    ADMITTED = "admitted"
    RUNNING = "running"
    ENDED = "ended"


ACTIVE = (RunState.ADMITTED, RunState.RUNNING)
OPEN = (RunState.QUEUED, *ACTIVE)


class RunQuerySet(models.QuerySet["Run"]):
    def open(self) -> "RunQuerySet":
        return self.filter(state__in=OPEN)

    def active(self) -> "RunQuerySet":
        return self.filter(state__in=ACTIVE)

    def queued(self) -> "RunQuerySet":
        return self.filter(state=RunState.QUEUED)

    def handed_over(self, run_id: str, *, attempt: int) -> "Run | None":
        """The run of a message, if it is admitted and this attempt is current."""
        rows = _HANDED_OVER(run=uuid.UUID(run_id), attempt=attempt)
        return instance(self.model, rows[0]) if rows else None

    def begin(self, run_id: str, *, attempt: int) -> bool:
        """Marks an admitted run as running. False if this attempt is not current, or began before."""
        sql = f"""
            UPDATE {self.model._meta.db_table} SET state = %s, started_at = now()
            WHERE id = %s AND attempt = %s AND state = %s RETURNING 1
        """
        (rows,) = together(Question(sql, [RunState.RUNNING, uuid.UUID(run_id), attempt, RunState.ADMITTED]))
        return bool(rows)

    def give_back(self, run_id: str, *, attempt: int) -> None:
        """Undoes `begin`, should its commit have gone through although no answer came: upkeep hands the run over
        again."""
        mine = self.filter(pk=run_id, attempt=attempt, state=RunState.RUNNING)
        mine.update(state=RunState.ADMITTED, started_at=None)


class Run(models.Model):
    """One request and its answer's course. `request` holds the prompt and is erased at the end.

    `attempt` counts admissions; frames and usage of an older attempt are refused by its fencing number.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="runs")
    key_id = models.BigIntegerField(null=True, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    kind = models.CharField(max_length=10)
    model = models.CharField(max_length=600)
    version = models.CharField(max_length=64)
    weights = models.CharField(max_length=100, help_text="See layers.key.")
    context = models.PositiveIntegerField()
    options = models.JSONField(default=dict, help_text="Load options asked for by name; the others are free.")
    sizing = models.JSONField(default=dict, help_text="What a memory estimate needs to know of the weights.")
    keep_alive = models.FloatField(null=True, blank=True)
    request = models.TextField(null=True, blank=True, help_text="JSON; as text, since jsonb refuses NUL characters.")
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.QUEUED)
    outcome = models.CharField(max_length=20, blank=True)
    error = models.TextField(blank=True)
    attempt = models.PositiveIntegerField(default=0)
    replica = models.ForeignKey(Replica, null=True, blank=True, on_delete=models.SET_NULL, related_name="runs")
    reader = models.CharField(max_length=80, blank=True, help_text="The web process that the caller waits at.")
    told = models.BooleanField(default=False, help_text="Whether the log's last entry is known to be written.")
    created_at = models.DateTimeField(default=timezone.now)
    admitted_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    prompt_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)

    objects = RunQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["created_at"], condition=models.Q(state__in=OPEN), name="open_runs"),
            models.Index(fields=["ended_at"], condition=models.Q(state=RunState.ENDED, told=False), name="untold_runs"),
            models.Index(fields=["user", "-created_at"], name="runs_of_user"),
        ]

    def __str__(self) -> str:
        return f"run {self.id} ({self.state})"

    @property
    def log_id(self) -> str:
        return f"run-{self.id}"

    @property
    def fence(self) -> int:
        """The runner's fencing number in this attempt; the reaper's is the next one, the web's is 0."""
        return fence_of(self.attempt)


_HANDED_OVER = Compiled(
    lambda run, attempt: Run.objects.filter(pk=run, attempt=attempt, state=RunState.ADMITTED).values_list(
        *columns(Run)
    ),
    run=uuid.UUID,
    attempt=int,
)


def fence_of(attempt: int) -> int:
    return 2 * attempt


def forever() -> datetime:
    """Ollama shows 'for ever' as an expiry some 292 years ahead (contract, section 6.1)."""
    return timezone.now() + timedelta(days=292 * 365)

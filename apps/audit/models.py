"""Who did what to which thing. Rows are added and never changed: a trigger refuses (migration 0002)."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone


class Entry(models.Model):
    """The actor is kept as plain values, not as a foreign key: history outlives the people in it.

    No actor means the machine's own operator (a command, the supervisor).
    """

    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=80, blank=True)
    action = models.CharField(max_length=64)
    target = models.TextField()
    detail = models.JSONField(default=dict, encoder=DjangoJSONEncoder)

    class Meta:
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["actor_id", "-id"], name="audit_by_actor"),
            models.Index(fields=["action", "-id"], name="audit_by_action"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name or 'operator'} {self.action} {self.target}"

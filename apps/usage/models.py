"""The ledger: one row for every run that ended, whatever its outcome. Rows outlive models, keys and users' names."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class Usage(models.Model):
    run_id = models.UUIDField(unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="usage")
    user_name = models.CharField(max_length=150)
    key_id = models.BigIntegerField(null=True, blank=True)
    model = models.CharField(max_length=600)
    version = models.CharField(max_length=64)
    kind = models.CharField(max_length=10)
    outcome = models.CharField(max_length=20)
    prompt_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0, help_text="Prompt tokens that were not prefilled again.")
    output_tokens = models.PositiveIntegerField(default=0)
    queue_ms = models.PositiveIntegerField(default=0)
    load_ms = models.PositiveIntegerField(default=0)
    prompt_ms = models.PositiveIntegerField(default=0)
    eval_ms = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name_plural = "usage"
        indexes = [models.Index(fields=["user", "-created_at"], name="usage_of_user")]

    def __str__(self) -> str:
        return f"{self.user_name}: {self.model} {self.prompt_tokens}+{self.output_tokens}"

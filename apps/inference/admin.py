from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.inference import runs
from apps.inference.models import Replica, Run, Worker


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ["name", "host", "accepts", "memory_bytes", "started_at", "heartbeat_at"]
    readonly_fields = ["name", "incarnation", "host", "devices", "memory_bytes", "started_at", "heartbeat_at"]


@admin.register(Replica)
class ReplicaAdmin(ReadOnlyAdmin):
    list_display = [
        "model",
        "worker",
        "state",
        "slots",
        "context",
        "used_bytes",
        "expires_at",
        "ended_why",
    ]
    list_filter = ["state", "worker"]

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Who runs what. The request itself is nobody's business but the caller's and is not shown."""

    list_display = ["created_at", "user", "model", "kind", "state", "outcome", "prompt_tokens", "output_tokens"]
    list_filter = ["state", "outcome", "kind"]
    ordering = ["-created_at"]
    search_fields = ["user__username", "model", "request_id"]
    exclude = ["request"]
    actions = ["cancel"]

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @admin.action(description="Cancel the chosen runs", permissions=["view"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        for run in queryset:
            runs.cancel(run.pk, why=f"cancelled by {request.user}")

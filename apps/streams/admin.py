"""Jobs in the admin: to be looked at and cancelled, not edited."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.streams import jobs
from apps.streams.models import Job


@admin.register(Job)
class JobAdmin(admin.ModelAdmin[Job]):
    list_display = ["id", "kind", "user", "state", "attempt", "created_at", "started_at", "ended_at"]
    list_filter = ["state", "kind"]
    list_select_related = ["user"]
    search_fields = ["id", "key", "user__username"]
    date_hierarchy = "created_at"
    actions = ["cancel_jobs"]

    @admin.action(description="Cancel the chosen jobs")
    def cancel_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        for job in queryset:
            jobs.cancel(job.id)
        messages.success(request, f"{len(queryset)} jobs were asked to stop.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

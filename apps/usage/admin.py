from django.contrib import admin
from django.http import HttpRequest

from apps.usage.models import Usage


@admin.register(Usage)
class UsageAdmin(admin.ModelAdmin[Usage]):
    list_display = [
        "created_at",
        "user_name",
        "model",
        "kind",
        "outcome",
        "prompt_tokens",
        "cached_tokens",
        "output_tokens",
    ]
    list_filter = ["outcome", "kind"]
    search_fields = ["user_name", "model"]
    date_hierarchy = "created_at"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Usage | None = None) -> bool:
        return False

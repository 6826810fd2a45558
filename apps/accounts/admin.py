"""The admin's rooms for people and keys. Secrets cannot be read here: they are kept nowhere. Changes are recorded."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group as UnusedGroup
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from apps import audit
from apps.accounts import client_keys, keys
from apps.accounts.models import ApiKey, ClientKey, Group, Membership, User

admin.site.unregister(UnusedGroup)


def actor_of(request: HttpRequest) -> User | None:
    return request.user if isinstance(request.user, User) else None


@admin.register(User)
class PeopleAdmin(UserAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Nobody is deleted here: a disabled user keeps the name, so that no newcomer inherits what refers to it."""

    fieldsets = (
        (None, {"fields": ("username", "password", "email")}),
        ("Rights", {"fields": ("is_active", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    list_display = ("username", "email", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")
    search_fields = ("username", "email")
    ordering = ("username",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """The one who is signed in cannot lock the door behind himself."""
        fixed = ("username",) if obj else ()
        own = ("is_active", "is_superuser") if obj and obj.pk == request.user.pk else ()
        return (*self.readonly_fields, *fixed, *own)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm[User], change: bool) -> None:
        super().save_model(request, obj, form, change)
        action = "user.change" if change else "user.create"
        # Names of fields only: a new password is among them.
        audit.record(actor=actor_of(request), action=action, target=f"user:{obj}", detail={"fields": form.changed_data})


class MembershipInline(admin.TabularInline[Membership, Group]):
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(Group)
class GroupAdmin(admin.ModelAdmin[Group]):
    list_display = ("name", "created_at")
    search_fields = ("name",)
    inlines = (MembershipInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> tuple[str, ...]:
        return ("name",) if obj else ()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        group: Group = form.instance
        members = {row.user.username: row.role for row in group.memberships.select_related("user")}
        action = "group.change" if change else "group.create"
        audit.record(actor=actor_of(request), action=action, target=f"group:{group}", detail={"members": members})

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        audit.record(actor=actor_of(request), action="group.delete", target=f"group:{obj}")
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        for group in queryset:
            self.delete_model(request, group)


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin[ApiKey]):
    """Keys are made over REST or by `manage.py create_key`, which can show the secret once; here they are ended."""

    list_display = ("name", "user", "prefix", "scopes", "expires_at", "last_used_at", "revoked_at")
    list_filter = ("revoked_at",)
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__username")
    readonly_fields = (
        "user", "name", "prefix", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at",
    )  # fmt: skip
    actions = ("revoke",)

    @admin.action(description="Revoke the selected keys")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset.select_related("user"):
            keys.revoke(key, actor=actor_of(request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False


@admin.register(ClientKey)
class ClientKeyAdmin(admin.ModelAdmin[ClientKey]):
    list_display = ("name", "user", "fingerprint", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("name", "fingerprint", "user__username")
    readonly_fields = ("user", "name", "public_key", "fingerprint", "created_at", "last_used_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: ClientKey) -> None:
        client_keys.remove(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ClientKey]) -> None:
        for key in queryset.select_related("user"):
            client_keys.remove(key, actor=actor_of(request))

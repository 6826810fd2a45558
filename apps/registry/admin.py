"""The library's shelves. Bytes and manifests are shown and never changed by hand; curation goes through grants.py."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest

from apps import audit
from apps.accounts.models import User
from apps.registry import deletes, grants
from apps.registry.models import Blob, Grant, Layer, Manifest, Model


class ReadOnly(admin.ModelAdmin[Any]):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class GrantInline(admin.TabularInline[Grant, Model]):
    model = Grant
    extra = 0
    fields = ("user", "group", "created_at")
    readonly_fields = ("created_at",)
    autocomplete_fields = ("user", "group")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LayerInline(admin.TabularInline[Layer, Manifest]):
    model = Layer
    extra = 0
    can_delete = False
    fields = readonly_fields = ("position", "media_type", "blob")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Model)
class ModelAdmin(admin.ModelAdmin[Model]):
    list_display = ("__str__", "owner", "published", "size", "modified_at")
    list_filter = ("published", "host")
    search_fields = ("namespace", "name", "tag")
    list_select_related = ("manifest", "owner_user", "owner_group")
    fields = ("host", "namespace", "name", "tag", "owner_user", "owner_group", "published", "manifest", "modified_at")
    readonly_fields = ("host", "namespace", "name", "tag", "published", "manifest", "modified_at")
    autocomplete_fields = ("owner_user", "owner_group")
    inlines = (GrantInline,)
    actions = ("publish", "unpublish")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(empty_value="the library")
    def owner(self, model: Model) -> str | None:
        holder = model.owner_user or model.owner_group
        return str(holder) if holder else None

    @admin.display(ordering="manifest__size")
    def size(self, model: Model) -> int:
        return model.manifest.size

    @admin.action(description="Publish: every user may use it")
    def publish(self, request: HttpRequest, chosen: QuerySet[Model]) -> None:
        self._set_published(request, chosen, True)

    @admin.action(description="Unpublish: only its owner and those it is granted to")
    def unpublish(self, request: HttpRequest, chosen: QuerySet[Model]) -> None:
        self._set_published(request, chosen, False)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not {"owner_user", "owner_group"} & set(form.changed_data):
            return
        owner = {"owner": self.owner(obj) or "library"}
        audit.record(actor=_actor(request), action="model.owner", target=str(obj), detail=owner)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Grants are given and withdrawn as everywhere else, so that the audit trail has them."""
        by = _actor(request)
        if by is None:
            raise PermissionDenied
        given = formset.save(commit=False)
        for grant in formset.deleted_objects:
            grants.withdraw(model=grant.model, to=grant.user or grant.group, by=by)
        for grant in given:
            grants.give(model=grant.model, to=grant.user or grant.group, by=by)

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        deletes.remove(obj, actor=_actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> None:
        for model in queryset.select_related("manifest"):
            deletes.remove(model, actor=_actor(request))

    def _set_published(self, request: HttpRequest, chosen: QuerySet[Model], published: bool) -> None:
        for model in chosen:
            grants.publish(model=model, by=_actor(request), published=published)


@admin.register(Manifest)
class ManifestAdmin(ReadOnly):
    list_display = ("digest", "size", "created_at")
    search_fields = ("digest",)
    fields = ("digest", "size", "config_blob", "config", "capabilities", "created_at")
    inlines = (LayerInline,)


@admin.register(Blob)
class BlobAdmin(ReadOnly):
    list_display = ("digest", "size", "created_at", "touched_at")
    search_fields = ("digest",)
    fields = ("digest", "size", "created_at", "touched_at")


def _actor(request: HttpRequest) -> User | None:
    return request.user if isinstance(request.user, User) else None

"""Who else may use a model: grants to a user or a group, and publishing to everybody who is signed in."""

from typing import Any

from django.db import transaction

from apps import audit
from apps.accounts.models import Group, User
from apps.errors import Problem
from apps.registry import resolve
from apps.registry.models import Grant, Model


def give(*, model: Model, to: User | Group, by: User) -> Grant:
    """Lets `to` use the model. Given twice is given once. Raises Problem "forbidden" when `by` may not share it."""
    _require_owner(model, by)
    with transaction.atomic():
        grant, created = Grant.objects.get_or_create(model=model, **_holder(to))
        if created:
            audit.record(actor=by, action="grant.give", target=str(model), detail={"to": str(to)})
    return grant


def withdraw(*, model: Model, to: User | Group, by: User) -> None:
    _require_owner(model, by)
    with transaction.atomic():
        deleted, _ = Grant.objects.filter(model=model, **_holder(to)).delete()
        if deleted:
            audit.record(actor=by, action="grant.withdraw", target=str(model), detail={"to": str(to)})


def publish(*, model: Model, by: User | None, published: bool = True) -> None:
    """Shows the model to every user, or only to its owner and those it is granted to. By an admin (None: a command)."""
    if by is not None and not by.is_admin:
        raise Problem("forbidden", "only an admin may publish a model")
    with transaction.atomic():
        Model.objects.filter(pk=model.pk).update(published=published)
        audit.record(actor=by, action="model.publish" if published else "model.unpublish", target=str(model))
    model.published = published


def _require_owner(model: Model, by: User) -> None:
    if not Model.objects.visible_to(by).filter(pk=model.pk).exists():
        raise resolve.not_found(str(model))
    if not Model.objects.writable_by(by).filter(pk=model.pk).exists():
        raise Problem("forbidden", f"model '{model}' belongs to somebody else")


def _holder(to: User | Group) -> dict[str, Any]:
    return {"user" if isinstance(to, User) else "group": to}

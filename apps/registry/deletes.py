"""Taking a name away (wire contract, section 10.2). A loaded instance keeps running."""

from django.db import transaction

from apps import audit
from apps.accounts.models import User
from apps.errors import Problem
from apps.registry import garbage, resolve
from apps.registry.models import Model
from apps.registry.names import ModelName


def delete(text: str, *, user: User) -> None:
    """Removes the model, and what nothing else uses of it.

    Raises Problem: "invalid" for a malformed name, "not_found" out of sight, "forbidden" in sight but another's.
    """
    if not text:
        raise Problem("invalid", "model is required")
    try:
        ModelName.parse(text)
    except Problem:
        raise Problem("invalid", f'name "{text}" is invalid') from None
    remove(resolve.writable(text, user), actor=user)


def remove(model: Model, *, actor: User | None) -> None:
    manifest_id = model.manifest_id
    with transaction.atomic():
        audit.record(actor=actor, action="model.delete", target=str(model), detail={"digest": model.manifest.digest})
        model.delete()
        transaction.on_commit(lambda: garbage.release(manifest_id), robust=True)

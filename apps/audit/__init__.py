"""The audit trail: `audit.record(...)` inside the transaction of the change that it tells of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps as installed

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def record(*, actor: AbstractBaseUser | None, action: str, target: str, detail: dict[str, Any] | None = None) -> None:
    """Adds one row. `actor` None is the operator at the command line; `action` reads like "key.revoke".

    `detail` must be JSON and must hold no secret and no prompt text.
    """
    # The registry is asked at call time: an app's package is imported before its models may be.
    installed.get_model("audit", "Entry")._default_manager.create(
        actor_id=actor.pk if actor else None,
        actor_name=actor.get_username() if actor else "",
        action=action,
        target=target,
        detail=detail or {},
    )

"""What a view asks of its caller. A refusal says which scope is missing, or how to sign in."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.accounts import access as accesses
from apps.errors import Problem

if TYPE_CHECKING:  # rest_framework.views itself imports this module, as the settings name it
    from rest_framework.views import APIView


class SignedIn(BasePermission):
    scope: ClassVar[str | None] = None

    def has_permission(self, request: Request, view: APIView) -> bool:
        access = accesses.of(request)
        if self.scope and self.scope not in access.scopes:
            raise Problem("forbidden", self.refusal(access))
        return True

    def refusal(self, access: accesses.Access) -> str:
        return f"this needs the scope '{self.scope}', which your key does not have"


class CanInfer(SignedIn):
    scope = "infer"


class CanManageModels(SignedIn):
    scope = "models"


class IsAdmin(SignedIn):
    scope = "admin"

    def refusal(self, access: accesses.Access) -> str:
        return super().refusal(access) if access.user.is_admin else "only an admin may do this"

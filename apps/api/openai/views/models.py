"""Which models there are, as OpenAI lists them (contract, section 13.5)."""

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from apps.accounts import access
from apps.accounts.permissions import SignedIn
from apps.api.openai import lookup, wire
from apps.api.openai.views.door import Door
from apps.registry import names
from apps.registry.models import Model


class Models(Door):
    permission_classes = (SignedIn,)
    http_method_names = ["get"]

    def get(self, request: Request) -> HttpResponse:
        """All that the caller may see, newest first; none is an empty list (Ollama says null)."""
        user = access.of(request).user
        rows = list(Model.objects.visible_to(user))
        short = names.shorten((row.full_name for row in rows), user.username)
        rows.sort(key=lambda row: (-int(row.modified_at.timestamp()), short[row.full_name]))
        return wire.reply({"object": "list", "data": [shown(short[row.full_name], row) for row in rows]})


class OneModel(Door):
    """A name may hold slashes, encoded or not."""

    permission_classes = (SignedIn,)
    http_method_names = ["get"]

    def get(self, request: Request, name: str) -> HttpResponse:
        return wire.reply(shown(name, lookup.model(name, request)))


def shown(name: str, model: Model) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(model.modified_at.timestamp()),
        "owned_by": model.namespace,
    }

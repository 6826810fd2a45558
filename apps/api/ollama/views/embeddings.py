"""embed and embeddings: everything about the request is checked; the vectors come with a later release."""

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from apps.accounts.permissions import CanInfer
from apps.api.ollama import lookup
from apps.api.ollama.bodies import EmbeddingRequest, EmbedRequest
from apps.api.ollama.views.door import Door, read
from apps.errors import Problem
from apps.inference import options

NOT_YET = "this server does not serve embeddings yet"


class Embed(Door):
    permission_classes = (CanInfer,)
    http_method_names = ["post"]

    def post(self, request: Request) -> HttpResponse:
        body = read(EmbedRequest, request)
        _check_input(body.input)
        version = lookup.version(
            body.model, request, unnamed=lookup.unknown(body.model), unknown=lookup.unknown_to_embed
        )
        options.merge(version.params, body.options or {})
        raise Problem("unsupported", NOT_YET)


class Embeddings(Door):
    """The older endpoint: one text, one vector."""

    permission_classes = (CanInfer,)
    http_method_names = ["post"]

    def post(self, request: Request) -> HttpResponse:
        body = read(EmbeddingRequest, request)
        version = lookup.version(body.model, request, unnamed=lookup.required(), unknown=lookup.unknown_to_embed)
        options.merge(version.params, body.options or {})
        raise Problem("unsupported", NOT_YET)


def _check_input(value: Any) -> None:
    texts = value if isinstance(value, list) else [value]
    if value is not None and not all(isinstance(text, str) for text in texts):
        raise Problem("invalid", "invalid input type")

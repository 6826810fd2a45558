"""embed and the older embeddings: texts to vectors, in one object. Any model may be asked (contract, section 7)."""

from dataclasses import replace
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from apps.api import inference
from apps.api.ollama import lookup
from apps.api.ollama.bodies import EmbeddingRequest, EmbedRequest
from apps.api.ollama.embedding_renderers import EmbedRenderer, LegacyRenderer
from apps.api.ollama.renderers import LoadRenderer
from apps.api.ollama.views.door import read
from apps.api.ollama.views.inference import Inference
from apps.errors import Problem
from apps.inference import options, types
from apps.registry.resolve import Version


class Embed(Inference):
    def post(self, request: Request) -> HttpResponse:
        body = read(EmbedRequest, request)
        inputs = _texts(body.input)
        unnamed = lookup.unknown(body.model)
        version = lookup.version(body.model, request, unnamed=unnamed, unknown=lookup.unknown_to_embed)
        plan = _plan(body, version, inputs)
        if not inputs:
            return self.load(request, version, plan, LoadRenderer({"model": body.model, "embeddings": []}))
        limits = replace(plan.limits, truncate=body.truncate is not False)
        plan = replace(plan, limits=limits, dimensions=max(0, body.dimensions))
        renderer = EmbedRenderer(body.model, started_ns=self.started_ns)
        return inference.start(request, version, plan, renderer, streaming=True)


class Embeddings(Inference):
    """The older endpoint: one text, one vector."""

    def post(self, request: Request) -> HttpResponse:
        body = read(EmbeddingRequest, request)
        version = lookup.version(body.model, request, unnamed=lookup.required(), unknown=lookup.unknown_to_embed)
        plan = _plan(body, version, (body.prompt,) if body.prompt else ())
        if not plan.inputs:
            return self.load(request, version, plan, LoadRenderer({"embedding": []}))
        renderer = LegacyRenderer(body.model, started_ns=self.started_ns)
        return inference.start(request, version, plan, renderer, streaming=True)


def _plan(body: EmbedRequest | EmbeddingRequest, version: Version, inputs: tuple[str, ...]) -> types.Request:
    _, limits, load = options.merge(version.params, body.options or {})
    return types.Request(kind="embed", inputs=inputs, limits=limits, load=load, keep_alive=body.keep_alive)


def _texts(value: Any) -> tuple[str, ...]:
    """The `input` of embed: a text, empty as if there were none, or a list of texts that may be empty."""
    if value is None or value == "":
        return ()
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise Problem("invalid", "invalid input type")
    return tuple(texts)

"""generate and chat: check, start a run, hand its log to the caller. The model answers elsewhere."""

from django.http import HttpResponse
from rest_framework.request import Request

from apps.accounts import access
from apps.accounts.permissions import CanInfer
from apps.api import inference
from apps.api.ollama import lookup, requests, wire
from apps.api.ollama.bodies import ChatRequest, GenerateRequest
from apps.api.ollama.renderers import DebugRenderer, GenerationRenderer, LoadRenderer, json_reply
from apps.api.ollama.views.door import Door, read
from apps.inference import runs, types
from apps.registry.resolve import Version
from apps.streams import presence

Body = GenerateRequest | ChatRequest


class Inference(Door):
    permission_classes = (CanInfer,)
    http_method_names = ["post"]

    def answer(self, request: Request, body: Body, version: Version, plan: types.Request) -> HttpResponse:
        """Starts the run and leaves its log to be tailed. An empty prompt loads, a prompt to be shown is one object."""
        reply = self.reply(body)
        if requests.is_empty(body):
            return self.load(request, version, plan, LoadRenderer(reply.idle("load")))
        if plan.render_only:
            return inference.start(request, version, plan, DebugRenderer(reply), streaming=False)
        streaming = body.stream is not False
        return inference.start(request, version, plan, GenerationRenderer(reply), streaming=streaming)

    def load(self, request: Request, version: Version, plan: types.Request, renderer: LoadRenderer) -> HttpResponse:
        run = runs.load(
            access=access.of(request),
            version=version,
            load=plan.load,
            keep_alive=plan.keep_alive,
            request_id=inference.request_id(),
            reader=presence.here(),
        )
        return inference.answer(run, renderer, streaming=False)

    def unload(self, request: Request, body: Body, version: Version) -> HttpResponse:
        runs.unload(access=access.of(request), version=version)
        return json_reply(self.reply(body).idle("unload"))

    def reply(self, body: Body) -> wire.Reply:
        return wire.Reply(body.model, chat=isinstance(body, ChatRequest), started_ns=self.started_ns)


class Generate(Inference):
    def post(self, request: Request) -> HttpResponse:
        body = read(GenerateRequest, request)
        requests.check_top_logprobs(body)
        version = lookup.version(body.model, request, unnamed=lookup.unknown(""), unknown=lookup.unknown)
        if requests.is_unload(body):
            return self.unload(request, body, version)
        return self.answer(request, body, version, requests.generate(body, version))


class Chat(Inference):
    def post(self, request: Request) -> HttpResponse:
        body = read(ChatRequest, request)
        requests.check_top_logprobs(body)
        version = lookup.version(body.model, request, unnamed=lookup.required(), unknown=lookup.unknown)
        if requests.is_unload(body):
            return self.unload(request, body, version)
        return self.answer(request, body, version, requests.chat(body, version))

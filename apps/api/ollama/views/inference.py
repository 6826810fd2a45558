"""generate and chat: check, start a run, hand its log to the caller. The model answers elsewhere."""

from collections.abc import Callable

from django.http import HttpResponse
from rest_framework.request import Request

from apps.accounts import access
from apps.accounts.permissions import CanInfer
from apps.api.ollama import lookup, requests, wire
from apps.api.ollama.bodies import ChatRequest, GenerateRequest
from apps.api.ollama.renderers import GenerationRenderer, LoadRenderer, json_reply
from apps.api.ollama.views.door import Door, read, request_id
from apps.inference import runs, types
from apps.inference.models import Run
from apps.registry.resolve import Version
from apps.streams import presence
from apps.streams.pending import PendingStream

Body = GenerateRequest | ChatRequest


class Inference(Door):
    permission_classes = (CanInfer,)
    http_method_names = ["post"]

    def answer(self, request: Request, body: Body, version: Version, plan: types.Request) -> HttpResponse:
        """Loads for an empty prompt; else starts the run and leaves its log to be tailed."""
        caller = access.of(request)
        reply = self.reply(body)
        if requests.is_empty(body):
            run = runs.load(
                access=caller,
                version=version,
                load=plan.load,
                keep_alive=plan.keep_alive,
                request_id=request_id(),
                reader=presence.here(),
            )
            return pending(run, LoadRenderer(reply.idle("load")), streaming=False)
        run = runs.start(access=caller, version=version, request=plan, request_id=request_id(), reader=presence.here())
        return pending(run, GenerationRenderer(reply), streaming=body.stream is not False)

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


def pending(run: Run, renderer: GenerationRenderer | LoadRenderer, *, streaming: bool) -> PendingStream:
    return PendingStream(run.log_id, renderer, streaming=streaming, on_abandon=_canceller(run))


def _canceller(run: Run) -> Callable[[], None]:
    return lambda: runs.cancel(run.pk, why="the client went away")

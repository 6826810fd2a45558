"""Chats, completions, responses, embeddings: check, start the runs, hand their logs to the caller."""

from collections.abc import Sequence

from django.http import HttpResponse
from rest_framework.request import Request

from apps.accounts import access
from apps.accounts.permissions import CanInfer
from apps.api import inference
from apps.api.openai import chats, completions, embeddings, lookup, responses
from apps.api.openai.chat_replies import ChatRenderer
from apps.api.openai.completion_replies import CompletionRenderer
from apps.api.openai.completions import Completion
from apps.api.openai.embedding_replies import EmbeddingRenderer, LoadRenderer
from apps.api.openai.replies import ChoicesRenderer, Style
from apps.api.openai.response_replies import ResponseRenderer
from apps.api.openai.views.door import Door, read
from apps.errors import Problem
from apps.inference import options, runs, types
from apps.inference.models import Run
from apps.registry.resolve import Version
from apps.streams import presence
from apps.streams.joined import JoinedStream
from apps.streams.pending import PendingStream


class Inference(Door):
    permission_classes = (CanInfer,)
    http_method_names = ["post"]


class ChatCompletions(Inference):
    def post(self, request: Request) -> HttpResponse:
        chat = chats.read(read(request))
        version = lookup.version(chat.model, request)
        style = Style(
            chat.model,
            choices=chat.choices,
            per_prompt=chat.choices,
            include_usage=chat.include_usage,
            single_call=chat.tools.single,
            logprobs=chat.logprobs is not None,
        )
        plans = chats.several(chats.plan(chat, version), chat.choices)
        return answer(request, version, plans, ChatRenderer(style), streaming=chat.stream)


class Completions(Inference):
    def post(self, request: Request) -> HttpResponse:
        completion = completions.read(read(request))
        version = lookup.version(completion.model, request, unnamed=lookup.unknown(""))
        plans = completions.plans(completion, version)
        if completion.only_loads:
            return load(request, version, completion)
        prefixes = [prompt for prompt in completion.prompts for _ in range(completion.choices)]
        style = Style(
            completion.model,
            choices=len(plans),
            per_prompt=completion.choices,
            include_usage=completion.include_usage,
            logprobs=completion.logprobs is not None,
            prefixes=tuple(prefixes) if completion.echo else (),
        )
        return answer(request, version, plans, CompletionRenderer(style), streaming=completion.stream)


class Responses(Inference):
    def post(self, request: Request) -> HttpResponse:
        response = responses.read(read(request))
        version = lookup.version(response.model, request)
        renderer = ResponseRenderer(
            response.model,
            response.echo,
            logprobs=response.logprobs is not None,
            single_call=response.tools.single,
        )
        plan = responses.plan(response, version)
        return inference.start(request, version, plan, renderer, streaming=response.stream)


class Embeddings(Inference):
    def post(self, request: Request) -> HttpResponse:
        embedding = embeddings.read(read(request))
        version = embeddable(embedding.model, request)
        renderer = EmbeddingRenderer(embedding.model, as_base64=embedding.base64)
        return inference.start(request, version, embeddings.plan(embedding, version), renderer, streaming=False)


def embeddable(typed: str, request: Request) -> Version:
    """An unknown name is answered in the words of the embedding endpoints."""
    try:
        return lookup.version(typed, request, unnamed=lookup.unknown(""))
    except Problem as problem:
        if problem.code == "not_found" and typed.strip():
            raise embeddings.unknown(typed) from problem
        raise


def answer(
    request: Request, version: Version, plans: Sequence[types.Request], renderer: ChoicesRenderer, *, streaming: bool
) -> PendingStream:
    """One run, or several whose logs are joined; all of them end when the client goes away or one of them fails."""
    if len(plans) == 1:
        return inference.start(request, version, plans[0], renderer, streaming=streaming)
    started: list[Run] = []
    try:
        for plan in plans:
            started.append(_start(request, version, plan))
    except BaseException:
        _cancel(started)
        raise
    reply = JoinedStream(
        [run.log_id for run in started], renderer, streaming=streaming, on_abandon=lambda: _cancel(started)
    )
    reply.renderer = inference.Announcing(renderer, reply)
    return reply


def load(request: Request, version: Version, completion: Completion) -> PendingStream:
    """An empty prompt only loads the model."""
    run = runs.load(
        access=access.of(request),
        version=version,
        load=options.merge(version.params, {})[2],
        keep_alive=None,
        request_id=inference.request_id(),
        reader=presence.here(),
    )
    return inference.answer(run, LoadRenderer(completion.model), streaming=completion.stream)


def _start(request: Request, version: Version, plan: types.Request) -> Run:
    return runs.start(
        access=access.of(request),
        version=version,
        request=plan,
        request_id=inference.request_id(),
        reader=presence.here(),
    )


def _cancel(started: Sequence[Run]) -> None:
    for run in started:
        inference.canceller(run)()

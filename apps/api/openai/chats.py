"""A body of /v1/chat/completions -> requests of inference (contract, section 13.2)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from apps.api.openai import asking, lookup, messages, tools
from apps.api.openai.errors import Refusal
from apps.api.openai.fields import Fields
from apps.api.openai.tools import Tools
from apps.inference import options
from apps.inference.types import Format, Message, Request
from apps.registry.resolve import Version

MAX_CHOICES: Final = 16
UNSERVED: Final = {
    "logit_bias": "this server cannot weigh single tokens",
    "functions": "send 'tools'",
    "function_call": "send 'tool_choice'",
    "audio": "this server makes no speech",
    "web_search_options": "this server searches nothing",
}


@dataclass(frozen=True)
class Chat:
    """A body that holds by itself; whether the model can do it is asked in `plan`."""

    model: str
    messages: tuple[Message, ...]
    tools: Tools
    format: Format | None
    think: bool | str | None
    logprobs: int | None
    options: Mapping[str, Any]
    choices: int
    stream: bool
    include_usage: bool


def read(body: Fields) -> Chat:
    asking.refuse(body, UNSERVED)
    _check_modalities(body)
    form = body.inner("response_format")
    return Chat(
        model=body.text("model"),
        messages=messages.read(body),
        tools=tools.read(body, flat=False),
        format=asking.answer_format(form, form and form.inner("json_schema")),
        think=asking.think(body),
        logprobs=_logprobs(body),
        options=asking.sampling(body, num_predict=_limit(body), stop=asking.stop(body, strict=False)),
        choices=choices(body),
        stream=body.flag("stream"),
        include_usage=include_usage(body),
    )


def plan(chat: Chat, version: Version) -> Request:
    lookup.needs(
        version,
        chat.model,
        "chat",
        tools=bool(chat.tools.definitions),
        thinking=bool(chat.think),
        vision=messages.has_images(chat.messages),
    )
    sampling, limits, load = options.merge(version.params, chat.options)
    return Request(
        kind="chat",
        messages=messages.checked(chat.messages),
        tools=chat.tools.definitions,
        tool_choice=chat.tools.choice,
        strict_tools=chat.tools.strict,
        think=asking.thinking(chat.think, version),
        format=chat.format,
        logprobs=chat.logprobs,
        sampling=sampling,
        limits=limits,
        load=load,
    )


def several(request: Request, count: int) -> list[Request]:
    """`count` requests that differ in their seed alone: with one and the same they would all say the same."""
    seed = request.sampling.seed
    if seed < 0:
        return [request] * count
    return [replace(request, sampling=replace(request.sampling, seed=seed + at)) for at in range(count)]


def choices(body: Fields) -> int:
    count = body.between("n", 1, MAX_CHOICES)
    return 1 if count is None else count


def include_usage(body: Fields) -> bool:
    stream_options = body.inner("stream_options")
    return stream_options.flag("include_usage") if stream_options else False


def _limit(body: Fields) -> int | None:
    """OpenAI's newer name wins over the older one."""
    newer, older = body.integer("max_completion_tokens"), body.integer("max_tokens")
    return older if newer is None else newer


def _logprobs(body: Fields) -> int | None:
    top = body.integer("top_logprobs")
    if top is not None and not 0 <= top <= asking.TOP_LOGPROBS:
        raise Refusal("top_logprobs must be between 0 and 20", param="top_logprobs")
    return (top or 0) if body.flag("logprobs") else None


def _check_modalities(body: Fields) -> None:
    if any(kind != "text" for kind in body.list("modalities")):
        raise Refusal("this server answers in text only", param="modalities", name="unsupported_parameter")

"""A body of /v1/responses -> a request of inference, and what the reply echoes of it (contract, section 13.6).

Nothing is stored: a client sends the whole conversation each time. `truncation` means what OpenAI means by it: unless
it is "auto", a conversation that does not fit is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from apps.api.openai import asking, items, lookup, messages, tools
from apps.api.openai.errors import Refusal
from apps.api.openai.fields import Fields
from apps.api.openai.tools import Tools
from apps.inference import options
from apps.inference.types import Format, Message, Request
from apps.registry.resolve import Version

NOT_STORED: Final = "this server stores no responses; send the whole conversation as 'input'"
UNSERVED: Final = {
    "previous_response_id": NOT_STORED,
    "conversation": NOT_STORED,
    "prompt": "this server stores no prompts; send 'instructions' and 'input'",
    "background": "responses are not kept for later; read the stream",
}
LOGPROBS: Final = "message.output_text.logprobs"


@dataclass(frozen=True)
class Response:
    """A body that holds by itself; whether the model can do it is asked in `plan`. `echo` goes into the reply."""

    model: str
    messages: tuple[Message, ...]
    tools: Tools
    format: Format | None
    think: bool | str | None
    logprobs: int | None
    options: Mapping[str, Any]
    truncate: bool
    stream: bool
    echo: Mapping[str, Any]


def read(body: Fields) -> Response:
    asking.refuse(body, UNSERVED)
    text = body.inner("text")
    form = text.inner("format") if text else None
    limit = body.integer("max_output_tokens")
    wanted = {**asking.sampling(body, num_predict=limit), "top_p": body.number("top_p")}
    return Response(
        model=body.text("model"),
        messages=items.read(body),
        tools=tools.read(body, flat=True),
        format=asking.answer_format(form, form),
        think=asking.think(body),
        logprobs=_logprobs(body),
        options=wanted,
        truncate=_truncation(body) == "auto",
        stream=body.flag("stream"),
        echo=_echo(body, limit),
    )


def plan(response: Response, version: Version) -> Request:
    lookup.needs(
        version,
        response.model,
        "chat",
        tools=bool(response.tools.definitions),
        thinking=bool(response.think),
        vision=messages.has_images(response.messages),
    )
    sampling, limits, load = options.merge(version.params, response.options)
    return Request(
        kind="chat",
        messages=messages.checked(response.messages),
        tools=response.tools.definitions,
        tool_choice=response.tools.choice,
        strict_tools=response.tools.strict,
        think=asking.thinking(response.think, version),
        format=response.format,
        logprobs=response.logprobs,
        sampling=sampling,
        limits=replace(limits, truncate=response.truncate),
        load=load,
    )


def _truncation(body: Fields) -> str:
    given = body.text("truncation", "disabled")
    if given not in {"auto", "disabled"}:
        raise Refusal(
            f"Invalid value: '{given}'. Supported values are: 'auto' and 'disabled'.",
            param="truncation", name="invalid_value",
        )  # fmt: skip
    return given


def _logprobs(body: Fields) -> int | None:
    top = body.integer("top_logprobs")
    if top is not None and not 0 <= top <= asking.TOP_LOGPROBS:
        raise Refusal("top_logprobs must be between 0 and 20", param="top_logprobs")
    return (top or 0) if top or LOGPROBS in body.list("include") else None


def _echo(body: Fields, limit: int | None) -> dict[str, Any]:
    """The reply's fields that repeat the request, or hold the defaults."""
    reasoning, metadata = body.inner("reasoning"), body.inner("metadata")
    temperature, top_p = body.number("temperature"), body.number("top_p")
    return {
        "instructions": body.given("instructions"),
        "tools": body.list("tools"),
        "tool_choice": body.given("tool_choice") or "auto",
        "truncation": _truncation(body),
        "parallel_tool_calls": body.flag("parallel_tool_calls", True),
        "text": body.given("text") or {"format": {"type": "text"}},
        "top_p": 1 if top_p is None else top_p,
        "presence_penalty": body.number("presence_penalty") or 0,
        "frequency_penalty": body.number("frequency_penalty") or 0,
        "top_logprobs": body.integer("top_logprobs") or 0,
        "temperature": 1 if temperature is None else temperature,
        "reasoning": reasoning and {"effort": reasoning.given("effort"), "summary": reasoning.given("summary")},
        "max_output_tokens": limit,
        "max_tool_calls": body.integer("max_tool_calls"),
        "metadata": metadata.data if metadata else {},
        "safety_identifier": body.given("safety_identifier"),
        "prompt_cache_key": body.given("prompt_cache_key"),
    }

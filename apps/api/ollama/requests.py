"""Bodies of generate and chat -> the one request of inference: the checks and texts of contract sections 3 to 6.

What this server does not serve yet is refused with a sentence; it is never ignored. Empty values count as absent.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.api.ollama import wire
from apps.api.ollama.bodies import ChatRequest, GenerateRequest
from apps.api.ollama.bodies import Message as BodyMessage
from apps.api.ollama.quoting import quoted
from apps.errors import Problem
from apps.inference import options
from apps.inference.types import Message, Request
from apps.registry.resolve import Version

TOP_LOGPROBS = range(0, 21)
NO_FORMAT: tuple[Any, ...] = (None, "")


def check_top_logprobs(body: GenerateRequest | ChatRequest) -> None:
    """Asked before anything is known of the model."""
    if body.top_logprobs not in TOP_LOGPROBS:
        raise Problem("invalid", "top_logprobs must be between 0 and 20")


def is_unload(body: GenerateRequest | ChatRequest) -> bool:
    return is_empty(body) and body.keep_alive == 0


def is_empty(body: GenerateRequest | ChatRequest) -> bool:
    """Nothing to answer: the model is only to be loaded or unloaded."""
    return not (body.prompt if isinstance(body, GenerateRequest) else body.messages)


def generate(body: GenerateRequest, version: Version) -> Request:
    if body.raw and (body.template or body.system or body.context):
        raise Problem("invalid", "raw mode does not support template, system, or context")
    _check_capabilities(body, version, "generate", {"insert": bool(body.suffix)})
    if body.prompt:
        _refuse_unserved(body, version, {"template": body.template, "suffix": body.suffix}, body.images)
    return _sampled(
        body,
        version,
        Request(kind="generate", prompt=body.prompt, system=body.system, raw=body.raw, context=body.context),
    )


def chat(body: ChatRequest, version: Version) -> Request:
    _check_capabilities(body, version, "chat", {"tools": bool(body.tools)})
    if body.messages:
        images = tuple(image for message in body.messages for image in message.images)
        _refuse_unserved(body, version, {"tools": body.tools, **_unserved_in(body.messages)}, images)
    messages = tuple(Message(role=message.role.lower(), content=message.content) for message in body.messages)
    return _sampled(body, version, Request(kind="chat", messages=messages))


def _sampled(body: GenerateRequest | ChatRequest, version: Version, request: Request) -> Request:
    sampling, limits, load = options.merge(version.params, body.options or {})
    limits = replace(limits, truncate=body.truncate is not False, shift=body.shift is not False)
    return replace(request, sampling=sampling, limits=limits, load=load, keep_alive=body.keep_alive)


def _check_capabilities(
    body: GenerateRequest | ChatRequest, version: Version, verb: str, needs: Mapping[str, bool]
) -> None:
    if "completion" not in version.capabilities:
        raise Problem("invalid", f"{quoted(body.model)} does not support {verb}")
    if body.think and "thinking" not in version.capabilities:
        raise Problem("invalid", f"{quoted(body.model)} does not support thinking")
    for capability, needed in needs.items():
        if needed and capability not in version.capabilities:
            raise Problem("invalid", f"{version.canonical} does not support {capability}")


def _unserved_in(messages: tuple[BodyMessage, ...]) -> dict[str, Any]:
    """Fields of messages that carry tools and thinking: the first message that has one counts."""
    names = ("thinking", "tool_calls", "tool_name", "tool_call_id")
    return {
        f"messages.{name}": next((getattr(message, name) for message in messages if getattr(message, name)), None)
        for name in names
    }


def _refuse_unserved(
    body: GenerateRequest | ChatRequest, version: Version, fields: Mapping[str, Any], images: tuple[bytes, ...]
) -> None:
    if any(images) and "vision" not in version.capabilities:
        raise Problem("invalid", f"{quoted(body.model)} does not support images")
    if body.format not in NO_FORMAT and body.format != "json" and not isinstance(body.format, dict):
        text = f'invalid format: {quoted(wire.dumps(body.format))}; expected "json" or a valid JSON Schema object'
        raise Problem("invalid", text, status=500)
    unserved = {
        **fields,
        "images": any(images),
        "think": body.think,
        "format": body.format not in NO_FORMAT,
        "logprobs": body.logprobs,
        "_debug_render_only": body.debug_render_only,
    }
    for name, value in unserved.items():
        if value:
            raise Problem("invalid", f"{quoted(name)} is not served yet; send the request without it")

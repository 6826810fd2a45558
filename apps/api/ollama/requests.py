"""Bodies of generate and chat -> the one request of inference: the checks and texts of contract sections 3 to 6.

Empty values count as absent. Where this server knows better than to guess, it refuses with a sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from apps.api import images, inference
from apps.api.ollama import wire
from apps.api.ollama.bodies import ChatRequest, GenerateRequest
from apps.api.ollama.bodies import Message as BodyMessage
from apps.api.ollama.quoting import quoted
from apps.errors import Problem
from apps.inference import options
from apps.inference.prompt.gotemplate import Template, TemplateError
from apps.inference.types import Format, Message, Request, ToolCall
from apps.registry import capabilities
from apps.registry.names import ModelName
from apps.registry.resolve import Version

Body = GenerateRequest | ChatRequest

TOP_LOGPROBS = range(0, 21)
NO_FORMAT: tuple[Any, ...] = (None, "")
HARMONY = ("gptoss", "gpt-oss")  # families whose highest level of thinking is "high"
NO_SHIFT = ("deepseek2",)  # families whose context is not slid unless the caller asks for it
PULL_AGAIN = ". Pull the model again to get the latest version with full thinking support"
OLD_VISION = (
    "'llama3.2-vision' is no longer compatible with your version of Ollama and has been replaced by a newer version. "
    "To re-download, run 'ollama pull llama3.2-vision'"
)
ONE_IMAGE = "this model only supports one image while more than one image requested"


def check_top_logprobs(body: Body) -> None:
    """Asked before anything is known of the model."""
    if body.top_logprobs not in TOP_LOGPROBS:
        raise Problem("invalid", "top_logprobs must be between 0 and 20")


def is_unload(body: Body) -> bool:
    return is_empty(body) and body.keep_alive == 0


def is_empty(body: Body) -> bool:
    """Nothing to answer: the model is only to be loaded or unloaded."""
    return not (body.prompt if isinstance(body, GenerateRequest) else body.messages)


def generate(body: GenerateRequest, version: Version) -> Request:
    if body.raw and (body.template or body.system or body.context):
        raise Problem("invalid", "raw mode does not support template, system, or context")
    _check_capabilities(body, version, "generate", {inference.INSERT: bool(body.suffix)})
    plan = _planned(body, version, Request(kind="generate"))
    if is_empty(body):
        return plan
    (shown,) = _checked_images(body, version, [body.images])
    return replace(
        plan,
        prompt=body.prompt,
        system=body.system,
        raw=body.raw,
        context=body.context,
        template=_template(body.template),
        suffix=body.suffix,
        images=shown,
        format=_format(body.format),
    )


def chat(body: ChatRequest, version: Version) -> Request:
    _check_capabilities(body, version, "chat", {capabilities.TOOLS: bool(body.tools)})
    plan = _planned(body, version, Request(kind="chat"))
    if is_empty(body):
        return plan
    shown = _checked_images(body, version, [message.images for message in body.messages])
    return replace(
        plan,
        messages=tuple(map(_message, body.messages, shown)),
        tools=tuple(map(_tool, body.tools)),
        format=_format(body.format),
    )


def _planned(body: Body, version: Version, request: Request) -> Request:
    """What generate and chat have alike."""
    sampling, limits, load = options.merge(version.params, body.options or {})
    shift = _family(version) not in NO_SHIFT if body.shift is None else body.shift
    return replace(
        request,
        think=_think(body.think, version),
        logprobs=body.top_logprobs if body.logprobs else None,
        render_only=body.debug_render_only,
        sampling=sampling,
        limits=replace(limits, truncate=body.truncate is not False, shift=shift),
        load=load,
        keep_alive=body.keep_alive,
    )


# --- What the model can do ----------------------------------------------------------------------------------------


def _check_capabilities(body: Body, version: Version, verb: str, asked: Mapping[str, bool]) -> None:
    """In the order of the contract, each with its own words."""
    if body.think:
        inference.needs(version, capabilities.THINKING, words=lambda _: _no_thinking(body, version))
    inference.needs(
        version,
        capabilities.COMPLETION,
        words=lambda _: Problem("invalid", f"{quoted(body.model)} does not support {verb}"),
    )
    inference.needs(
        version,
        *[capability for capability, needed in asked.items() if needed],
        words=lambda capability: Problem("invalid", f"{version.canonical} does not support {capability}"),
    )
    if _family(version) == "mllama" and version.projectors:
        raise Problem("invalid", OLD_VISION, status=500)


def _no_thinking(body: Body, version: Version) -> Problem:
    """Two families had no template for it when they came out; both have one now."""
    outdated = _family(version) == "qwen3" or ModelName.parse(version.name).model.lower() == "deepseek-r1"
    return Problem("invalid", f"{quoted(body.model)} does not support thinking{PULL_AGAIN if outdated else ''}")


def _family(version: Version) -> str:
    return str(version.info.get("general.architecture", "")).lower()


def _think(asked: bool | str | None, version: Version) -> bool | str | None:
    """A model that can think does so unless it is told not to."""
    if asked is None:
        return True if capabilities.THINKING in version.capabilities else None
    return "high" if asked == "max" and _family(version) in HARMONY else asked


# --- What is said to it -------------------------------------------------------------------------------------------


def _format(value: Any) -> Format | None:
    if value in NO_FORMAT:
        return None
    if value == "json":
        return Format("json")
    if isinstance(value, dict):
        return Format("schema", value)
    text = f'invalid format: {quoted(wire.dumps(value))}; expected "json" or a valid JSON Schema object'
    raise Problem("invalid", text, status=500)


def _template(text: str) -> str:
    """A request's own template; what is none is the contract's 500, before anything is loaded."""
    try:
        Template.parse(text)
    except TemplateError as error:
        raise Problem("invalid", str(error), status=500) from error
    return text


def _checked_images(body: Body, version: Version, sent: Sequence[tuple[bytes, ...]]) -> list[tuple[str, ...]]:
    """The images of each message, looked at and bounded; none of no bytes."""
    full = [[image for image in group if image] for group in sent]
    if any(full):
        inference.needs(
            version,
            capabilities.VISION,
            words=lambda _: Problem("invalid", f"{quoted(body.model)} does not support images"),
        )
    if _family(version) == "mllama" and any(len(group) > 1 for group in full):
        raise Problem("invalid", ONE_IMAGE, status=500)
    images.check_all([image for group in full for image in group])
    return [tuple(map(images.check, group)) for group in full]


def _message(message: BodyMessage, shown: tuple[str, ...]) -> Message:
    return Message(
        role=message.role.lower(),
        content=message.content,
        thinking=message.thinking,
        images=shown,
        tool_calls=tuple(
            ToolCall(call.function.name, call.function.arguments or {}, call.id) for call in message.tool_calls
        ),
        tool_name=message.tool_name,
        tool_call_id=message.tool_call_id,
    )


def _tool(definition: dict[str, Any]) -> dict[str, Any]:
    """Every definition has a type and a function with a name, as templates count on. Nothing changes its place."""
    function = _with({"name": ""}, definition.get("function", {}))
    return {**_with({"type": "function"}, definition), "function": function}


def _with(missing: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in missing.items() if name not in given}, **given}

"""A body of /v1/messages or /v1/messages/count_tokens -> a request of inference (contract, section 14)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from apps.api.anthropic import conversation, lookup, tools, wire
from apps.api.anthropic.errors import Refusal
from apps.api.anthropic.fields import Fields
from apps.api.anthropic.tools import Tools
from apps.inference import options
from apps.inference.types import Format, Message, Request
from apps.registry import capabilities
from apps.registry.resolve import Version

KINDS: Final = ("enabled", "disabled", "adaptive")  # of thinking
EFFORTS: Final[Mapping[str, str]] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}
HARMONY: Final = ("gptoss", "gpt-oss")  # families whose highest level of thinking is "high"
UNSERVED: Final = {
    "mcp_servers": "this server calls no other servers",
    "container": "this server runs no code",
}


@dataclass(frozen=True)
class Asked:
    """A body that holds by itself; whether the model can do it is asked in `plan`. None leaves `think` to the model."""

    model: str
    messages: tuple[Message, ...]
    tools: Tools
    format: Format | None
    think: bool | str | None
    options: Mapping[str, Any]
    stream: bool
    shows_thinking: bool

    @property
    def estimate(self) -> int:
        """Of the prompt, in tokens: Ollama's four characters each."""
        said = sum(len(message.content) + len(message.thinking) for message in self.messages)
        return max(1, (said + sum(len(wire.dumps(tool)) for tool in self.tools.definitions) + 3) // 4)


def read(body: Fields, *, counting: bool = False) -> Asked:
    """`counting` needs no max_tokens."""
    if not body.text("model").strip():
        raise Refusal("model is required")
    limit = body.integer("max_tokens")
    if not counting and (limit is None or limit <= 0):
        raise Refusal("max_tokens is required and must be positive")
    _refuse(body, UNSERVED)
    body.inner("metadata")
    return Asked(
        model=body.text("model"),
        messages=conversation.read(body),
        tools=tools.read(body),
        format=_format(body),
        think=_think(body),
        options=_options(body, limit),
        stream=body.flag("stream"),
        shows_thinking=_shows_thinking(body),
    )


def plan(asked: Asked, version: Version) -> Request:
    lookup.check(
        version,
        asked.model,
        tools=bool(asked.tools.definitions),
        vision=conversation.has_images(asked.messages),
    )
    sampling, limits, load = options.merge(version.params, asked.options)
    return Request(
        kind="chat",
        messages=conversation.checked(asked.messages),
        tools=asked.tools.definitions,
        tool_choice=asked.tools.choice,
        strict_tools=asked.tools.strict,
        think=_level(asked.think, version),
        format=asked.format,
        sampling=sampling,
        limits=limits,
        load=load,
    )


def counted(request: Request) -> Request:
    """The same prompt, rendered and counted, and answered by nobody. An image counts as one token."""
    return replace(request, render_only=True)


def _refuse(body: Fields, reasons: Mapping[str, str]) -> None:
    """Fields that would change the answer and are not served; empty values count as absent."""
    for name, why in reasons.items():
        if body.given(name) not in (None, False, "", [], {}):
            raise Refusal(f"{name}: {why}")


def _options(body: Fields, limit: int | None) -> dict[str, Any]:
    """By their native names; what is not given is left to the model."""
    return {
        "num_predict": limit,
        "temperature": body.number("temperature"),
        "top_p": body.number("top_p"),
        "top_k": body.integer("top_k"),
        "stop": body.texts("stop_sequences") or None,
    }


def _think(body: Fields) -> bool | str | None:
    thinking, effort = body.inner("thinking"), _effort(body)
    if thinking is None:
        return effort
    kind = thinking.needed("type")
    if kind not in KINDS:
        raise thinking.wrong("type", _either(KINDS))
    thinking.integer("budget_tokens")
    return effort if kind == "adaptive" else kind == "enabled"


def _effort(body: Fields) -> str | None:
    config = body.inner("output_config")
    effort = config.text("effort") if config else ""
    if config and effort and effort not in EFFORTS:
        raise config.wrong("effort", _either(EFFORTS))
    return EFFORTS[effort] if effort else None


def _shows_thinking(body: Fields) -> bool:
    thinking = body.inner("thinking")
    return thinking is None or thinking.text("display") != "omitted"


def _format(body: Fields) -> Format | None:
    """`output_config.format`, or `output_format` as its beta called it."""
    config = body.inner("output_config")
    form = (config.inner("format") if config else None) or body.inner("output_format")
    if form is None:
        return None
    if form.needed("type") != "json_schema":
        raise form.wrong("type", "'json_schema'")
    schema = form.inner("schema")
    if schema is None:
        raise form.missing("schema")
    return Format("schema", schema.data)


def _level(asked: bool | str | None, version: Version) -> bool | str | None:
    """A model that can think does so unless it is told not to; one that cannot is not asked to (Ollama, this route)."""
    if capabilities.THINKING not in version.capabilities:
        return None
    family = str(version.info.get("general.architecture", "")).lower()
    return "high" if asked == "max" and family in HARMONY else asked if asked is not None else True


def _either(words: Iterable[str]) -> str:
    *others, last = (f"'{word}'" for word in words)
    return f"{', '.join(others)} or {last}"

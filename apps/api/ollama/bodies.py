"""The request bodies of the native API, declared: attribute -> Go type (contract, sections 3 to 12).

None of an optional field means absent or null. Names follow the wire; `from` and `_debug_render_only` are spelled
for Python.
"""

from dataclasses import dataclass
from typing import Any

from apps.api.ollama.decode import (
    ANY,
    BOOL,
    IMAGES,
    INT,
    OPTIONS,
    RAW,
    STRING,
    STRING_MAP,
    GoType,
    Path,
    go,
    list_of,
    map_of,
    mismatch,
    record,
    struct,
)
from apps.api.ollama.quoting import quoted
from apps.errors import Problem
from apps.inference import keepalive

THINK_LEVELS = ("high", "medium", "low", "max")
_THINK = '"high", "medium", "low", "max", true, or false'


def _read_keep_alive(value: Any, path: Path) -> float | None:
    return keepalive.parse(ANY.read(value, path))


def _read_think(value: Any, path: Path) -> bool | str:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise Problem("invalid", f"think must be a boolean or string ({_THINK})")
    if value not in THINK_LEVELS:
        raise Problem("invalid", f"invalid think value: {quoted(STRING.read(value, path))} (must be {_THINK})")
    return value


def _read_arguments(value: Any, path: Path) -> dict[str, Any]:
    read = ANY.read(value, path)
    if not isinstance(read, dict):
        raise Problem("invalid", "Value looks like object, but can't find closing '}' symbol")
    return read


def _read_licenses(value: Any, path: Path) -> tuple[str, ...]:
    """One text or a list of texts; Go leaves this to the handler, so the type's name is our own."""
    read = ANY.read(value, path)
    texts = [read] if isinstance(read, str) else read
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise mismatch(value, path, "string or []string")
    return tuple(text for text in texts if text)


def _read_property_type(value: Any, path: Path) -> str | list[str]:
    """One word or a list of words; a list of one is written back as the word."""
    words: list[str] = list(list_of(STRING).read([value] if isinstance(value, str) else value, path))
    return words[0] if len(words) == 1 else words


def listed(kind: GoType) -> GoType:
    """A Go slice, as a list: it stands inside of values that stay as plain as JSON."""
    slice_of = list_of(kind)
    return GoType(slice_of.name, lambda value, path: list(slice_of.read(value, path)), zero=[])


KEEP_ALIVE = GoType("api.Duration", _read_keep_alive, null=None)
THINK = GoType("api.ThinkValue", _read_think, null=None)
ARGUMENTS = GoType("api.ToolCallFunctionArguments", _read_arguments, null=None)
PROPERTY_TYPE = GoType("api.PropertyType", _read_property_type, zero="")
LICENSES = GoType("interface {}", _read_licenses, zero=(), null=())


@dataclass(frozen=True)
class ToolCallFunction:
    name: str = go(STRING)
    arguments: dict[str, Any] | None = go(ARGUMENTS)
    index: int = go(INT)


@dataclass(frozen=True)
class ToolCall:
    id: str = go(STRING)  # noqa: A003  (the wire's name)
    function: ToolCallFunction = go(struct(ToolCallFunction))


@dataclass(frozen=True)
class Message:
    role: str = go(STRING)
    content: str = go(STRING)
    thinking: str = go(STRING)
    images: tuple[bytes, ...] = go(IMAGES)
    tool_calls: tuple[ToolCall, ...] = go(list_of(struct(ToolCall)))
    tool_name: str = go(STRING)
    tool_call_id: str = go(STRING)


# Definitions of tools stay plain, in the order given, without the keywords that Ollama has no field for.
_PROPERTY: dict[str, GoType] = {}
PROPERTY = record("api.ToolProperty", _PROPERTY)
_PROPERTY |= {
    "anyOf": listed(PROPERTY),
    "type": PROPERTY_TYPE,
    "items": ANY,
    "description": STRING,
    "enum": listed(ANY),
    "properties": map_of(PROPERTY),
    "required": listed(STRING),
}
PARAMETERS = record(
    "api.ToolFunctionParameters",
    {
        "type": STRING,
        "$defs": ANY,
        "items": ANY,
        "required": listed(STRING),
        "properties": map_of(PROPERTY),
    },
)
FUNCTION = record("api.ToolFunction", {"name": STRING, "description": STRING, "parameters": PARAMETERS})
TOOL = record("api.Tool", {"type": STRING, "items": ANY, "function": FUNCTION})
MESSAGES = list_of(struct(Message, alias="Alias"), "[]api.Message")


@dataclass(frozen=True)
class GenerateRequest:
    model: str = go(STRING)
    prompt: str = go(STRING)
    suffix: str = go(STRING)
    system: str = go(STRING)
    template: str = go(STRING)
    context: tuple[int, ...] = go(list_of(INT))
    stream: bool | None = go(BOOL, optional=True)
    raw: bool = go(BOOL)
    format: Any = go(RAW)
    keep_alive: float | None = go(KEEP_ALIVE)
    images: tuple[bytes, ...] = go(IMAGES)
    options: dict[str, Any] | None = go(OPTIONS)
    think: bool | str | None = go(THINK)
    truncate: bool | None = go(BOOL, optional=True)
    shift: bool | None = go(BOOL, optional=True)
    logprobs: bool = go(BOOL)
    top_logprobs: int = go(INT)
    debug_render_only: bool = go(BOOL, name="_debug_render_only")


@dataclass(frozen=True)
class ChatRequest:
    model: str = go(STRING)
    messages: tuple[Message, ...] = go(MESSAGES)
    tools: tuple[dict[str, Any], ...] = go(list_of(TOOL, "api.Tools"))
    stream: bool | None = go(BOOL, optional=True)
    format: Any = go(RAW)
    keep_alive: float | None = go(KEEP_ALIVE)
    options: dict[str, Any] | None = go(OPTIONS)
    think: bool | str | None = go(THINK)
    truncate: bool | None = go(BOOL, optional=True)
    shift: bool | None = go(BOOL, optional=True)
    logprobs: bool = go(BOOL)
    top_logprobs: int = go(INT)
    debug_render_only: bool = go(BOOL, name="_debug_render_only")


@dataclass(frozen=True)
class EmbedRequest:
    model: str = go(STRING)
    input: Any = go(ANY)
    truncate: bool | None = go(BOOL, optional=True)
    dimensions: int = go(INT)
    options: dict[str, Any] | None = go(OPTIONS)
    keep_alive: float | None = go(KEEP_ALIVE)


@dataclass(frozen=True)
class EmbeddingRequest:
    model: str = go(STRING)
    prompt: str = go(STRING)
    options: dict[str, Any] | None = go(OPTIONS)
    keep_alive: float | None = go(KEEP_ALIVE)


@dataclass(frozen=True)
class CreateRequest:
    """Both shapes: the current one, and the guide's `name`, `modelfile`, `path`."""

    model: str = go(STRING)
    name: str = go(STRING)
    base: str = go(STRING, name="from")
    modelfile: str = go(STRING)
    path: str = go(STRING)
    files: dict[str, str] | None = go(STRING_MAP)
    adapters: dict[str, str] | None = go(STRING_MAP)
    draft_files: dict[str, str] | None = go(STRING_MAP)
    draft_quantize: str = go(STRING)
    template: str = go(STRING)
    system: str = go(STRING)
    license: tuple[str, ...] = go(LICENSES)
    parameters: dict[str, Any] | None = go(OPTIONS)
    messages: tuple[Message, ...] = go(MESSAGES)
    quantize: str = go(STRING)
    quantization: str = go(STRING)
    renderer: str = go(STRING)
    parser: str = go(STRING)
    requires: str = go(STRING)
    info: dict[str, Any] | None = go(OPTIONS)
    remote_host: str = go(STRING)
    stream: bool | None = go(BOOL, optional=True)


@dataclass(frozen=True)
class CopyRequest:
    source: str = go(STRING)
    destination: str = go(STRING)


@dataclass(frozen=True)
class DeleteRequest:
    model: str = go(STRING)
    name: str = go(STRING)


@dataclass(frozen=True)
class ShowRequest:
    model: str = go(STRING)
    name: str = go(STRING)
    system: str = go(STRING)
    template: str = go(STRING)
    verbose: bool = go(BOOL)
    options: dict[str, Any] | None = go(OPTIONS)


@dataclass(frozen=True)
class PullRequest:
    model: str = go(STRING)
    name: str = go(STRING)
    insecure: bool = go(BOOL)
    username: str = go(STRING)
    password: str = go(STRING)
    stream: bool | None = go(BOOL, optional=True)


@dataclass(frozen=True)
class PushRequest:
    model: str = go(STRING)
    name: str = go(STRING)
    insecure: bool = go(BOOL)
    username: str = go(STRING)
    password: str = go(STRING)
    stream: bool | None = go(BOOL, optional=True)
